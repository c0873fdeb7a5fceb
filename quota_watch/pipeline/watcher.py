"""Poll, record, assess, reconcile, enqueue: the first five steps, which are the product."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Self

from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from quota_watch.channels.channel import Channel
from quota_watch.forecast.forecast import KeptForecast
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.model.period import DayCounts, Period, Usage, month_of, previous
from quota_watch.model.source import Organization, Source, UpstreamError
from quota_watch.model.watch import Rule, Watch
from quota_watch.pipeline.due import in_batches
from quota_watch.pipeline.enqueue import enqueue
from quota_watch.pipeline.extras import Extras
from quota_watch.pipeline.outages import BatchOutages, LastLine, Outages
from quota_watch.pipeline.poll import Poll, Poller, look_back
from quota_watch.pipeline.record import Before, Recorder
from quota_watch.rules.known import Known
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.registry import assess
from quota_watch.rules.story import Silence, Story, Transition
from quota_watch.storage import stories
from quota_watch.storage.claims import Changes, Claim, give_back, lock_claimed
from quota_watch.storage.database import Database, concerns_all
from quota_watch.storage.days import DayRows, day_rows
from quota_watch.storage.forecasts import kept_forecasts

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one claimed organization; `was_failing`: the poll before this one failed."""

    poll: Poll
    known: Known
    transitions: tuple[Transition, ...]
    was_failing: bool


@dataclass(frozen=True, slots=True)
class PollSummary:
    """What is shown of an outcome, without the days it was judged by: there may be thousands."""

    period: Period
    error: UpstreamError | None
    usage: Usage | None
    limit: int | None
    transitions: tuple[Transition, ...]

    @classmethod
    def of(cls, outcome: Outcome) -> Self:
        """Summarize an outcome; a failed poll counted nothing."""
        poll, known = outcome.poll, outcome.known
        usage = known.usage if poll.error is None else None
        return cls(poll.period, poll.error, usage, known.watch.limit, outcome.transitions)


class Watcher:
    """Takes claimed organizations through the five steps.

    `pace` returns how often each is polled, every `interval` where it is not given. Without
    `extras` nothing is asked but the days of the period. `servers` names the
    server, or key, that organizations share: where all of them fail alike, that is one alert.
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
        pace: Callable[[Organization], timedelta] | None = None,
        extras: Extras | None = None,
        servers: Mapping[int, str] | None = None,
        last_line: LastLine | None = None,
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._interval = interval
        self._concurrency = concurrency
        self._poller = Poller(
            source=source,
            watches=watches,
            clock=clock,
            extras=extras,
            database=database,
        )
        self._last_line = last_line or LastLine(database=database, channels=channels, clock=clock)
        self._outages = Outages(servers=servers or {}, channels=channels)
        self._recorder = Recorder(pace=pace or (lambda _: interval))

    def watch(self, claims: Iterator[Claim]) -> Iterator[tuple[list[Poll], list[Outcome]]]:
        """Take each claimed organization from its poll to the outbox.

        A few threads poll, each one organization at a time. The answers come in batches, and one
        transaction records, assesses, reconciles and enqueues a batch; after it the polls whose
        claims have ended are yielded with what became of them. An organization whose claim was
        taken over meanwhile is left to the other worker; one that can't be asked yet is put off;
        one that raises fails alone, and goes through the steps again as a failed poll. Raises
        `StorageError`.
        """
        for polled in in_batches(
            claims, self._poller.poll, threads=self._concurrency, size=lambda poll: poll.size
        ):
            with self._database.write() as transaction:
                rows = lock_claimed(transaction, [poll.claim for poll in polled])
                polls = self._put_off(
                    transaction, [poll for poll in polled if poll.claim.pk in rows]
                )
                outcomes, failures = self._all_or_each(transaction, polls, rows)
            _log(outcomes)
            self._last_line.note(rows.keys(), failures)
            yield polled, outcomes

    def _decide(
        self, transaction: Connection, polls: Sequence[Poll], batch: "_Batch"
    ) -> list[Outcome]:
        """Record, assess, reconcile and enqueue what the polls brought, and write it at once."""
        changes, outcomes = Changes(), list[Outcome]()
        for poll in polls:
            before = batch.before(poll.claim.pk)
            known = self._recorder.record(transaction, poll, before, changes)
            transitions = _judge(known, before.row.pk, batch.outages)
            if _needs_past(known, transitions):
                known = _with_past(transaction, poll, known)
                transitions = _judge(known, before.row.pk, batch.outages)
            first_look = before.row.last_ok is None
            enqueue(transaction, transitions, known, self._channels, first_look=first_look)
            was_failing = before.row.failing_since is not None
            outcomes.append(Outcome(poll, known, tuple(transitions), was_failing))
        changes.write(transaction)
        return outcomes

    def _all_or_each(
        self, transaction: Connection, polls: Sequence[Poll], rows: Mapping[int, Row[Any]]
    ) -> tuple[list[Outcome], dict[int, Watch]]:
        """Take all polls through the steps together; where that raises, each alone.

        So one organization fails alone: it goes through the steps once more, as a failed poll. If
        that raises too, the failure is recorded and nothing is decided. Returns what became of the
        polls, and the organizations that we failed on.
        """
        batch = self._read(transaction, polls, rows)
        outcomes: list[Outcome] = []
        failures: dict[int, Watch] = {}
        attempts = deque[Sequence[Poll]]([polls] if polls else [])
        while attempts:
            attempt = attempts.popleft()
            try:
                with transaction.begin_nested():
                    outcomes += self._decide(transaction, attempt, batch)
            except Exception as error:  # the boundary of a job, as at a poll
                if isinstance(error, DBAPIError) and concerns_all(error):
                    raise  # the database's trouble, not the organization's
                if len(attempt) > 1:
                    attempts += [[poll] for poll in attempt]
                    continue
                (poll,) = attempt
                log.exception("organization not recorded", organization=poll.watch.organization.id)
                failures[poll.claim.pk] = poll.watch
                if poll.failed_by_us:
                    self._record_failure(transaction, poll, batch)
                else:
                    attempts.append([poll.as_failure_by_us()])
                    batch.read_days(transaction, attempts[-1])
        if outcomes:
            batch.outages.enqueue(transaction, outcomes[-1].known, batch.silences[None])
        return outcomes, failures

    def _record_failure(self, transaction: Connection, poll: Poll, batch: "_Batch") -> None:
        changes = Changes()
        self._recorder.record(transaction, poll, Before(batch.rows[poll.claim.pk]), changes)
        changes.write(transaction)

    def _read(
        self, transaction: Connection, polls: Sequence[Poll], rows: Mapping[int, Row[Any]]
    ) -> "_Batch":
        """Read what is known of all the organizations of a batch, a statement for each kind."""
        now = self._clock.now()
        stories.reopen(transaction, rows, now=now)
        batch = _Batch(
            rows=rows,
            stories=stories.stories_of(transaction, *self._scope(polls)),
            silences=stories.silences_of(transaction, rows, now=now),
            outages=self._outages.among(transaction, polls, rows),
        )
        batch.read_days(transaction, polls)
        return batch

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
        periods = {previous(poll.period).start for poll in polls}
        return organizations, min(periods, default=date.max)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What was read for a batch, by key: `days` and `forecasts` as in `Before`."""

    rows: Mapping[int, Row[Any]]
    stories: Mapping[int, Sequence[Story]]
    silences: Mapping[int | None, Sequence[Silence]]
    outages: BatchOutages
    days: dict[int, DayRows] = field(default_factory=dict)
    forecasts: dict[int, KeptForecast] = field(default_factory=dict)

    def read_days(self, transaction: Connection, polls: Sequence[Poll]) -> None:
        """Read days to compare with, and where polls failed what was known of their periods."""
        self.days.update(day_rows(transaction, _days_to_compare(polls, self.rows)))
        failed: dict[date, list[int]] = {}
        for poll in polls:
            if poll.error is not None:
                failed.setdefault(poll.at.date(), []).append(poll.claim.pk)
        for day, pks in failed.items():
            self.forecasts.update(kept_forecasts(transaction, pks, month_of(day), day))

    def before(self, pk: int) -> Before:
        """Return what was read of one organization."""
        return Before(
            row=self.rows[pk],
            days=self.days.get(pk, {}),
            forecast=self.forecasts.get(pk),
            stories=tuple(self.stories[pk]),
            silences=tuple(self.silences[pk]),
        )


def _days_to_compare(
    polls: Sequence[Poll], rows: Mapping[int, Row[Any]]
) -> dict[int, Sequence[DayCounts]]:
    """Return, by key, the fetched days that may differ from the stored ones.

    Of a failed poll all of the period: what is known now is what was known before.
    """
    days: dict[int, Sequence[DayCounts]] = {}
    for poll in polls:
        pk, closed = poll.claim.pk, poll.closed.days if poll.closed else ()
        if poll.error is not None:
            days[pk] = [DayCounts(day, {}) for day in (poll.period.start, poll.at.date())]
            continue
        changed = not poll.digest or poll.digest != rows[pk].days_digest
        if changed or closed:
            days[pk] = (*closed, *poll.days) if changed else closed
    return days


def _judge(known: Known, pk: int, outages: BatchOutages) -> list[Transition]:
    """Assess and reconcile: decide what is to be sent of the organization now."""
    return reconcile(
        outages.without_outages(assess(known), pk, known),
        known.stories,
        about=known.watch.organization,
        now=known.at,
        silences=known.silences,
    )


def _needs_past(known: Known, transitions: Sequence[Transition]) -> bool:
    """Decide whether to read the days before: for a message, or to end a stall."""
    if known.analysis is None or not known.analysis.is_light:
        return False
    return bool(transitions) or known.open_story(Rule.STALLED) is not None


def _with_past(transaction: Connection, poll: Poll, known: Known) -> Known:
    if known.usage is None:
        return known
    return replace(known, analysis=look_back(transaction, poll, known.watch, known.usage))


def _log(outcomes: Sequence[Outcome]) -> None:
    """Log what is notable: when polls begin to fail, when they work again, every transition."""
    for outcome in outcomes:
        organization, error = outcome.poll.watch.organization.id, outcome.poll.error
        if error is not None:
            write = log.debug if outcome.was_failing else log.warning
            write("poll failed", organization=organization, kind=error.kind, error=error.message)
        elif outcome.known.usage is not None:
            write = log.info if outcome.was_failing else log.debug
            event = "polls work again" if outcome.was_failing else "polled"
            write(event, organization=organization, used=outcome.known.usage.used)
        for transition in outcome.transitions:
            story = transition.story
            log.info(
                f"alert {transition.type}",  # noqa: G004 -- one of a few fixed words
                organization=organization,
                rule=story.rule,
                percent=story.level,
                severity=story.severity.label,
                reason=transition.reason,
                told=transition.told,
                alert=story.id,
            )
