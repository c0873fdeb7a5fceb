"""Poll, record, assess, reconcile, enqueue: the first five steps, which are the product."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import ceil
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.exc import OperationalError

from quota_watch.clock import Clock
from quota_watch.daemon.enqueue import enqueue
from quota_watch.daemon.errands import ClosedDays, Errands
from quota_watch.daemon.hearing import hear
from quota_watch.daemon.polling import in_batches
from quota_watch.domain.alerts import Transition, reconcile
from quota_watch.domain.assess import assess
from quota_watch.domain.limits import Account
from quota_watch.domain.periods import BillingCycle, CalendarMonth, Period, previous
from quota_watch.domain.rules import Closed, Observation, Watch
from quota_watch.domain.schedule import next_slot
from quota_watch.domain.source import ErrorKind, NotYet, Organization, Source, UpstreamError
from quota_watch.domain.usage import DayCounts, Usage, count, is_over
from quota_watch.logs import get_logger
from quota_watch.notify.channel import Channel
from quota_watch.storage import record, silences, stories
from quota_watch.storage.accounts import agreed, known_limit, reported_limit
from quota_watch.storage.claims import Claim, give_back
from quota_watch.storage.closed import closed_period, mark_dropped, record_closed
from quota_watch.storage.database import Database

log = get_logger(__name__)

_LONGEST_WAIT_SECONDS = 3600.0

_FALL_SHARE, _FALL_LEAST = 0.05, 100  # of what was used, and events; less is late correction


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What one request brought: days or an error, and the one `at` that judges it.

    `wait` where nothing was asked yet: it says for how long. `account` and `closed` are what was
    asked beside, None where nothing was.
    """

    claim: Claim
    watch: Watch
    period: Period
    at: datetime
    days: tuple[DayCounts, ...] = ()
    error: UpstreamError | None = None
    wait: timedelta | None = None
    account: Account | UpstreamError | None = None
    closed: ClosedDays | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one claimed organization; `was_failing` tells how its last poll went.

    `watch` is what was agreed of it by then, with the limit that upstream says.
    """

    poll: Poll
    watch: Watch
    seen: Observation
    transitions: tuple[Transition, ...]
    was_failing: bool


class Watcher:
    """Takes claimed organizations through the five steps.

    `pace` tells how often each is polled, every `interval` where it is not given. Without
    `errands` nothing is asked but the days of the period.
    """

    def __init__(
        self,
        *,
        database: Database,
        source: Source,
        watches: Mapping[int, Watch],
        channels: Mapping[str, Channel],
        clock: Clock,
        interval: timedelta,
        concurrency: int,
        cycle: BillingCycle | None = None,
        pace: Callable[[Organization], timedelta] | None = None,
        errands: Errands | None = None,
    ) -> None:
        self._database = database
        self._source = source
        self._watches = watches
        self._channels = channels
        self._clock = clock
        self._interval = interval
        self._concurrency = concurrency
        self._cycle = cycle or CalendarMonth()
        self._pace = pace or (lambda _: interval)
        self._errands = errands

    def watch(self, claims: Iterator[Claim]) -> Iterator[tuple[list[Poll], list[Outcome]]]:
        """Take each claimed organization from its poll to the outbox: this is the product.

        A few threads poll, each one organization at a time. The answers come in batches, and one
        transaction records, assesses, reconciles and enqueues a batch; after it the polls whose
        claims have ended are yielded with what became of them. An organization whose claim was
        taken over meanwhile is left to the other worker; one that can't be asked yet is put off;
        one that raises fails alone, and goes through the steps again as a failed poll. Raises
        `StorageError`.
        """
        for batch in in_batches(claims, self._poll, threads=self._concurrency):
            done: list[Outcome] = []
            with self._database.write() as transaction:
                rows = record.lock_claimed(transaction, [poll.claim for poll in batch])
                polls = self._put_off(
                    transaction, [poll for poll in batch if poll.claim.pk in rows]
                )
                told = stories.stories_of(transaction, *self._scope(polls))
                silenced = silences.silences_of(transaction, rows, now=self._clock.now())
                for poll in polls:
                    row = rows[poll.claim.pk]
                    with self._failing_alone(transaction, poll, row, polls):
                        watch, seen = self._record(transaction, poll, row)
                        findings = assess(watch, seen, told[row.pk])
                        transitions = reconcile(
                            findings,
                            told[row.pk],
                            organization=watch.organization,
                            now=seen.at,
                            silences=silenced[row.pk],
                        )
                        enqueue(transaction, transitions, row.pk, watch, seen, self._channels)
                        was_failing = row.failing_since is not None
                        done.append(Outcome(poll, watch, seen, tuple(transitions), was_failing))
            _log(done)
            yield batch, done

    def _poll(self, claim: Claim) -> Poll:
        watch, now = self._watches[claim.pk], self._clock.now()
        poll = Poll(claim=claim, watch=watch, period=self._cycle.period_of(now.date()), at=now)
        try:
            days = tuple(self._source.days(watch.organization, poll.period.start, now.date()))
            return self._with_errands(replace(poll, days=days))
        except UpstreamError as error:
            return replace(poll, error=error)
        except NotYet as not_yet:
            return replace(poll, wait=timedelta(milliseconds=ceil(not_yet.seconds * 1000)))
        except Exception:  # the boundary of a job: a defect of ours must not stop the others
            log.exception("poll raised", organization=watch.organization.id)
            return _as_failure_of_ours(poll)

    def _with_errands(self, poll: Poll) -> Poll:
        errands, watch, claim = self._errands, poll.watch, poll.claim
        if errands is None:
            return poll
        used = _count(poll, watch).used
        return replace(
            poll,
            account=errands.account(watch, claim, used=used, now=poll.at),
            closed=errands.closed(watch, claim, period=poll.period, now=poll.at),
        )

    def _put_off(self, transaction: Connection, polls: Sequence[Poll]) -> list[Poll]:
        """Give back what can't be asked yet, until it can, and return the other polls."""
        next_at = {
            poll.claim: poll.at + min(poll.wait, self._interval)
            for poll in polls
            if poll.wait is not None
        }
        give_back(transaction, next_at, next_at=next_at)
        return [poll for poll in polls if poll.wait is None]

    def _scope(self, polls: Sequence[Poll]) -> tuple[dict[int, Organization], date]:
        """Name the stories that matter: those of this and the last period of these polls."""
        organizations = {poll.claim.pk: poll.watch.organization for poll in polls}
        periods = {previous(self._cycle, poll.period).start for poll in polls}
        return organizations, min(periods, default=date.max)

    def _record(
        self, transaction: Connection, poll: Poll, row: Row[Any]
    ) -> tuple[Watch, Observation]:
        if poll.error is None:
            return self._record_counts(transaction, poll, row)
        watch = agreed(poll.watch, known_limit(row, poll.watch), reported_limit(row))
        last_known = self._last_known(transaction, poll, watch, row)
        trouble = record.record_failure(
            transaction,
            row,
            watch=watch,
            error=poll.error,
            now=poll.at,
            next_at=self._next_at(poll),
        )
        return watch, Observation(
            period=poll.period,
            at=poll.at,
            usage=last_known,
            measured_at=row.last_ok if last_known else None,
            trouble=trouble,
        )

    def _record_counts(
        self, transaction: Connection, poll: Poll, row: Row[Any]
    ) -> tuple[Watch, Observation]:
        said = hear(transaction, row, poll.watch, poll.account, poll.days, poll.period, poll.at)
        watch = said.watch
        usage = _count(poll, watch)
        record.record_usage(
            transaction,
            row.pk,
            watch=watch,
            days=poll.days,
            usage=usage,
            now=poll.at,
            next_at=self._next_at(poll),
            interval=self._pace(watch.organization),
            said=said.columns | self._closed_columns(poll),
            last_ok=row.last_ok,
        )
        return watch, Observation(
            period=poll.period,
            at=poll.at,
            usage=usage,
            measured_at=poll.at,
            limit_changes=said.changes,
            compared=said.compared,
            mismatch=said.mismatch,
            fell_from=_fell_from(row, usage),
            closed=self._record_closed(transaction, poll, watch, row),
            lost=mark_dropped(
                transaction, row.pk, watch=watch, period=poll.period, today=poll.at.date()
            )
            if is_over(usage.used, watch.limit)
            else None,
        )

    def _closed_columns(self, poll: Poll) -> dict[str, Any]:
        closed = poll.closed
        if closed is None:
            return {}
        asked = {"reread_on": poll.at.date()}
        first = poll.claim.row.history_from if poll.claim.row else None
        if closed.error is None and (first is None or closed.first < first):
            asked["history_from"] = closed.first
        return asked

    def _record_closed(
        self, transaction: Connection, poll: Poll, watch: Watch, row: Row[Any]
    ) -> Closed | None:
        if poll.closed is None or poll.closed.error is not None:
            return None
        changes = record_closed(
            transaction, row, watch=watch, days=poll.closed.days, cycle=self._cycle, now=poll.at
        )
        for change in changes:
            log.warning(
                "closed period changed",
                organization=watch.organization.id,
                period=change.period.start,
                before=change.before,
                after=change.after,
            )
        last = previous(self._cycle, poll.period)
        return closed_period(transaction, row.pk, watch=watch, period=last)

    def _last_known(
        self, transaction: Connection, poll: Poll, watch: Watch, row: Row[Any]
    ) -> Usage | None:
        if row.last_ok is None or row.period_start != poll.period.start:
            return None
        kept = record.days_in(transaction, row.pk, poll.period)
        return _count(replace(poll, days=tuple(kept)), watch)

    def _next_at(self, poll: Poll) -> datetime:
        """Return the next slot, after the wait that upstream asks for.

        An hour at most: to know that the watch is blind takes more than one poll.
        """
        asked = poll.error.retry_after if poll.error else None
        wait = timedelta(seconds=min(asked or 0.0, _LONGEST_WAIT_SECONDS))
        organization = poll.watch.organization
        return next_slot(organization, after=poll.at + wait, interval=self._pace(organization))

    @contextmanager
    def _failing_alone(
        self, transaction: Connection, poll: Poll, row: Row[Any], polls: list[Poll]
    ) -> Iterator[None]:
        """Undo this organization's part alone if it raises, and put it last as a failed poll.

        If that raises too, the failure is kept and nothing is decided.
        """
        try:
            with transaction.begin_nested():
                yield
        except OperationalError:  # the database's trouble, not the organization's
            raise
        except Exception:  # the boundary of a job, as above
            log.exception("organization not recorded", organization=poll.watch.organization.id)
            if poll.error is None or poll.error.kind is not ErrorKind.INTERNAL:
                polls.append(_as_failure_of_ours(poll))
            else:
                self._record(transaction, poll, row)


def _log(outcomes: Sequence[Outcome]) -> None:
    """Log what is notable: when polls begin to fail, when they work again, every transition."""
    for outcome in outcomes:
        organization, error = outcome.poll.watch.organization.id, outcome.poll.error
        if error is not None:
            write = log.debug if outcome.was_failing else log.warning
            write("poll failed", organization=organization, kind=error.kind, error=error.message)
        elif outcome.seen.usage is not None:
            write = log.info if outcome.was_failing else log.debug
            event = "polls work again" if outcome.was_failing else "polled"
            write(event, organization=organization, used=outcome.seen.usage.used)
        for transition in outcome.transitions:
            story = transition.story
            log.info(
                f"alert {transition.type}",  # noqa: G004 -- one of a few fixed words
                organization=organization,
                rule=story.rule,
                percent=story.level,
                severity=story.severity.label,
                reason=transition.reason,
                alert=story.id,
            )


def _count(poll: Poll, watch: Watch) -> Usage:
    return count(
        poll.days,
        period=poll.period,
        today=poll.at.date(),
        not_counted=watch.not_counted,
        limit=watch.limit,
    )


def _fell_from(row: Row[Any], usage: Usage) -> int | None:
    """Return what was used before where more than a little of it is gone."""
    before: int | None = row.used if row.period_start == usage.period.start else None
    if before is None or before - usage.used <= max(_FALL_LEAST, before * _FALL_SHARE):
        return None
    return before


def _as_failure_of_ours(poll: Poll) -> Poll:
    error = UpstreamError(
        ErrorKind.INTERNAL,
        "quota-watch itself failed on this organization: see its log, and please report it",
        may_pass=True,
    )
    return replace(poll, days=(), error=error)
