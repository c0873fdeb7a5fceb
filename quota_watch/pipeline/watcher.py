"""Poll, record, assess, reconcile, enqueue: the first five steps, which are the product."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Self

from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from quota_watch.channels.channel import Channel
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.model.period import Period, Usage
from quota_watch.model.source import Organization, Source, UpstreamError
from quota_watch.model.watch import Rule, Watch
from quota_watch.pipeline.due import in_batches
from quota_watch.pipeline.enqueue import enqueue
from quota_watch.pipeline.extras import Extras
from quota_watch.pipeline.outages import LastLine, Outages
from quota_watch.pipeline.poll import DEFECT, Outcome, Poll, Poller, look_back
from quota_watch.pipeline.record import Before, read_before, record
from quota_watch.rules.known import Known
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.registry import assess
from quota_watch.rules.story import Transition
from quota_watch.storage.claims import Changes, Claim, give_back, lock_claimed
from quota_watch.storage.database import Database, concerns_all

log = get_logger(__name__)


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
        poll, watch = outcome.poll, outcome.known.watch
        return cls(poll.period, poll.error, poll.usage, watch.limit, outcome.transitions)


class Watcher:
    """Takes claimed organizations through the five steps.

    `pace` returns how often each is polled, every `interval` at most. Without `extras` nothing is
    asked but the days of the period. `servers` names the server, or key, that organizations share:
    where all of them fail alike, that is one alert.
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
        pace: Callable[[Organization], timedelta],
        extras: Extras | None,
        servers: Mapping[int, str],
        last_line: LastLine,
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._interval = interval
        self._concurrency = concurrency
        self._pace = pace
        self._last_line = last_line
        self._outages = Outages(servers=servers, channels=channels)
        self._poller = Poller(
            source=source,
            watches=watches,
            clock=clock,
            extras=extras,
            database=database,
        )

    def watch(self, claims: Iterator[Claim]) -> Iterator[tuple[list[Poll], list[Outcome]]]:
        """Take each claimed organization from its poll to the outbox.

        A few threads poll, each one organization at a time. The answers come in batches, and one
        transaction records, assesses, reconciles and enqueues a batch; after it the polls whose
        claims have ended are yielded with what became of them. An organization whose claim was
        taken over meanwhile is left to the other worker; one that can't be asked yet is put off;
        one that raises fails alone, and goes through the steps again as a failed poll. Raises
        `StorageError`.
        """
        for polls in in_batches(
            claims, self._poller.poll, threads=self._concurrency, size=lambda poll: poll.size
        ):
            with self._database.write() as transaction:
                rows = lock_claimed(transaction, [poll.claim for poll in polls])
                ours = [poll for poll in polls if poll.claim.pk in rows]
                answers = self._put_off(transaction, ours)
                outcomes, failures = self._all_or_each(transaction, answers, rows)
            _log(outcomes)
            self._last_line.note(rows.keys(), failures)
            yield polls, outcomes

    def _decide(
        self,
        transaction: Connection,
        polls: Sequence[Poll],
        rows: Mapping[int, Row[Any]],
        failing: Collection[str],
    ) -> list[Outcome]:
        """Record, assess, reconcile and enqueue what the polls brought, and write it at once.

        All polls of the `failing` servers failed alike.
        """
        changes, outcomes = Changes(), []
        befores = read_before(transaction, polls, rows, now=self._clock.now())
        for poll in polls:
            interval = self._pace(poll.watch.organization)
            known = record(transaction, poll, befores[poll.claim.pk], changes, interval=interval)
            outcome = self._judge(poll, known, failing)
            if poll.usage and _needs_past(outcome):
                past = look_back(transaction, poll, poll.usage)
                outcome = self._judge(poll, replace(known, analysis=past), failing)
            enqueue(transaction, outcome, self._channels)
            outcomes.append(outcome)
        changes.write(transaction)
        return outcomes

    def _judge(self, poll: Poll, known: Known, failing: Collection[str]) -> Outcome:
        """Assess and reconcile: decide what is to be sent of the organization now."""
        findings = assess(known)
        transitions = reconcile(
            self._outages.own_findings(findings, poll.claim.pk, failing),
            known.stories,
            about=known.watch.organization,
            now=known.at,
            silences=known.silences,
        )
        return Outcome(poll, known, findings, tuple(transitions))

    def _all_or_each(
        self, transaction: Connection, polls: Sequence[Poll], rows: Mapping[int, Row[Any]]
    ) -> tuple[list[Outcome], dict[int, Watch]]:
        """Take all polls through the steps together; where that raises, each alone.

        So one organization fails alone: it goes through the steps once more, as a failed poll. If
        that raises too, the failure is recorded and nothing is decided. Returns what became of the
        polls, and the organizations that we failed on.
        """
        failing = self._outages.failing(transaction, polls, rows)
        outcomes: list[Outcome] = []
        failures: dict[int, Watch] = {}
        attempts = deque[Sequence[Poll]]([polls] if polls else [])
        while attempts:
            attempt = attempts.popleft()
            try:
                with transaction.begin_nested():
                    outcomes += self._decide(transaction, attempt, rows, failing)
            except Exception as error:  # the boundary of a job, as at a poll
                if isinstance(error, DBAPIError) and concerns_all(error):
                    raise  # the database's trouble, not the organization's
                if len(attempt) > 1:
                    attempts += [[poll] for poll in attempt]
                    continue
                (poll,) = attempt
                log.exception("organization not recorded", organization=poll.watch.organization.id)
                failures[poll.claim.pk] = poll.watch
                if poll.error is DEFECT:
                    self._record_failure(transaction, poll, rows[poll.claim.pk])
                else:
                    attempts.append([replace(poll, days=(), usage=None, error=DEFECT)])
        if outcomes:
            self._outages.enqueue(transaction, outcomes, failing)
        return outcomes, failures

    def _record_failure(self, transaction: Connection, poll: Poll, row: Row[Any]) -> None:
        """Record a poll that failed, and decide nothing of it."""
        changes = Changes()
        interval = self._pace(poll.watch.organization)
        record(transaction, poll, Before(row), changes, interval=interval)
        changes.write(transaction)

    def _put_off(self, transaction: Connection, polls: Sequence[Poll]) -> list[Poll]:
        """Give back what can't be asked yet, until it can, and return the other polls."""
        next_at = {
            poll.claim: poll.at + min(poll.wait, self._interval)
            for poll in polls
            if poll.wait is not None
        }
        give_back(transaction, next_at, next_at=next_at)
        return [poll for poll in polls if poll.wait is None]


def _needs_past(outcome: Outcome) -> bool:
    """Decide whether to read the days before: for a message, or to end a stall."""
    analysis = outcome.known.analysis
    if analysis is None or not analysis.is_light:
        return False
    return bool(outcome.transitions) or outcome.known.open_story(Rule.STALLED) is not None


def _log(outcomes: Sequence[Outcome]) -> None:
    """Log what is notable: when polls begin to fail, when they work again, every transition."""
    for outcome in outcomes:
        poll, organization = outcome.poll, outcome.known.watch.organization.id
        was_failing = poll.claim.row.failing_since is not None
        if poll.error is not None:
            kind, error = poll.error.kind, poll.error.message
            write = log.debug if was_failing else log.warning
            write("poll failed", organization=organization, kind=kind, error=error)
        elif poll.usage is not None:
            write = log.info if was_failing else log.debug
            event = "polls work again" if was_failing else "polled"
            write(event, organization=organization, used=poll.usage.used)
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
