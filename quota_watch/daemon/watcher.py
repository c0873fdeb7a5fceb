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
from quota_watch.daemon.polling import in_batches
from quota_watch.domain.alerts import Transition, reconcile
from quota_watch.domain.periods import BillingCycle, CalendarMonth, Period, previous
from quota_watch.domain.rules import Observation, Watch, assess
from quota_watch.domain.schedule import next_slot
from quota_watch.domain.source import ErrorKind, NotYet, Organization, Source, UpstreamError
from quota_watch.domain.usage import DayCounts, Usage, count
from quota_watch.logs import get_logger
from quota_watch.notify.channel import Channel
from quota_watch.storage import record, stories
from quota_watch.storage.claims import Claim, give_back
from quota_watch.storage.database import Database

log = get_logger(__name__)

_LONGEST_WAIT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What one request brought: days or an error, and the one `at` that judges it.

    `wait` where nothing was asked yet: it says for how long.
    """

    claim: Claim
    watch: Watch
    period: Period
    at: datetime
    days: tuple[DayCounts, ...] = ()
    error: UpstreamError | None = None
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one claimed organization; `was_failing` tells how its last poll went."""

    poll: Poll
    seen: Observation
    transitions: tuple[Transition, ...]
    was_failing: bool


class Watcher:
    """Takes claimed organizations through the five steps.

    `pace` tells how often each is polled, every `interval` where it is not given.
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
                for poll in polls:
                    watch, row = poll.watch, rows[poll.claim.pk]
                    with self._failing_alone(transaction, poll, row, polls):
                        seen = self._record(transaction, poll, row)
                        findings = assess(watch, seen)
                        transitions = reconcile(
                            findings, told[row.pk], organization=watch.organization, now=seen.at
                        )
                        enqueue(transaction, transitions, row.pk, watch, seen, self._channels)
                        was_failing = row.failing_since is not None
                        done.append(Outcome(poll, seen, tuple(transitions), was_failing))
            _log(done)
            yield batch, done

    def _poll(self, claim: Claim) -> Poll:
        watch, now = self._watches[claim.pk], self._clock.now()
        poll = Poll(claim=claim, watch=watch, period=self._cycle.period_of(now.date()), at=now)
        try:
            days = tuple(self._source.days(watch.organization, poll.period.start, now.date()))
        except UpstreamError as error:
            return replace(poll, error=error)
        except NotYet as not_yet:
            return replace(poll, wait=timedelta(milliseconds=ceil(not_yet.seconds * 1000)))
        except Exception:  # the boundary of a job: a defect of ours must not stop the others
            log.exception("poll raised", organization=watch.organization.id)
            return _as_failure_of_ours(poll)
        return replace(poll, days=days)

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

    def _record(self, transaction: Connection, poll: Poll, row: Row[Any]) -> Observation:
        if poll.error is None:
            usage = _count(poll, poll.days)
            record.record_usage(
                transaction,
                row.pk,
                watch=poll.watch,
                days=poll.days,
                usage=usage,
                now=poll.at,
                next_at=self._next_at(poll),
            )
            return Observation(period=poll.period, at=poll.at, usage=usage, measured_at=poll.at)
        last_known = self._last_known(transaction, poll, row)
        trouble = record.record_failure(
            transaction,
            row,
            watch=poll.watch,
            error=poll.error,
            now=poll.at,
            next_at=self._next_at(poll),
        )
        return Observation(
            period=poll.period,
            at=poll.at,
            usage=last_known,
            measured_at=row.last_ok if last_known else None,
            trouble=trouble,
        )

    def _last_known(self, transaction: Connection, poll: Poll, row: Row[Any]) -> Usage | None:
        if row.last_ok is None or row.period_start != poll.period.start:
            return None
        return _count(poll, record.days_in(transaction, row.pk, poll.period))

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


def _count(poll: Poll, days: Sequence[DayCounts]) -> Usage:
    return count(
        days,
        period=poll.period,
        today=poll.at.date(),
        not_counted=poll.watch.not_counted,
        limit=poll.watch.limit,
    )


def _as_failure_of_ours(poll: Poll) -> Poll:
    error = UpstreamError(
        ErrorKind.INTERNAL,
        "quota-watch itself failed on this organization: see its log, and please report it",
        may_pass=True,
    )
    return replace(poll, days=(), error=error)
