"""Deliver: claim what is due in the outbox, send it, record the outcome.

Each channel has a sender of its own, so that one that hangs holds up no other. Outcomes are
recorded while the next messages are under way: a sender that is killed repeats those few, with the
same ids.
"""

import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from quota_watch.channels.channel import (
    ATTEMPT_SECONDS,
    Channel,
    DeliveryError,
    next_attempt,
    should_split,
)
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.lib.text import one_line
from quota_watch.messages.facts import Message
from quota_watch.pipeline.due import in_batches
from quota_watch.pipeline.enqueue import send_elsewhere
from quota_watch.storage import StorageError, attempts, deliveries, outbox
from quota_watch.storage.attempts import Attempt, settle
from quota_watch.storage.claims import LEASE, new_token
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import ClaimedMessage, DeliveryReason

log = get_logger(__name__)

_LONGEST_ERROR = 1_000
_SETTLE_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0  # for another process, which may be dead
_MOST_CLAIMED = 100
_CLAIM_SECONDS = 0.5
"""How long it takes to send what is claimed at a time: a critical message waits no longer."""
_BEGIN_SECONDS = LEASE.total_seconds() - ATTEMPT_SECONDS - 5
"""How long after its claim an attempt may begin and still end within its lease."""

UNRECORDED = 4
"""How many messages of a channel may have been sent and not recorded yet, beside those under way.

A process that is killed sends those again, and no others: the next one can't know that they came.
"""

Result = Literal["sent", "failed", "retry"]
_Outcome = tuple[ClaimedMessage, DeliveryError | None]


class Outbox:
    """Attempts due messages, each at least once, retrying as its channel prescribes."""

    def __init__(
        self,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        jitter: Callable[[], float] = lambda: random.uniform(-1, 1),  # noqa: S311 -- no secret
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._jitter = jitter
        self._draining: set[str] = set()
        self._asked: set[str] = set()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._settled: float | None = None
        self.results: Counter[Result] = Counter()

    def dispatch(self) -> bool:
        """Begin to drain every channel that has something due; return at once whether any had.

        Every half minute `settle` comes first. Raises `StorageError`.
        """
        if self._settled is None or self._clock.monotonic() - self._settled >= _SETTLE_SECONDS:
            self.settle()
        with self._database.read() as connection:
            due = outbox.due_channels(connection, self._channels, now=self._clock.now())
        for name in sorted(due):
            with self._changed:
                self._asked.add(name)
                if name in self._draining or self._stopping.is_set():
                    continue
                self._draining.add(name)
            threading.Thread(
                target=self._drain, args=(name,), name=f"deliver-{name}", daemon=True
            ).start()
        return bool(due)

    def settle(self) -> None:
        """Give up what time has made pointless, and send elsewhere what fails for too long.

        Raises `StorageError`.
        """
        self._settled = self._clock.monotonic()
        with self._database.read() as connection:
            if not deliveries.count_pending(connection):
                return
        now = self._clock.now()
        with self._database.write() as connection:
            failing = settle(connection, self._channels, now=now)
            send_elsewhere(connection, failing, self._channels, now=now)

    def flush(self, seconds: float) -> dict[str, int]:
        """Attempt what is due and what only waits to be batched, and wait for the outcome.

        It takes `seconds` at most, ten of them for what another process has under way; 0 attempts
        nothing. Returns how many were sent, failed for good and are still pending.
        Raises `StorageError`.
        """
        if seconds:
            self._empty(time.monotonic() + seconds)
        with self._database.read() as connection:
            pending = deliveries.count_pending(connection, self._channels)
        return {"sent": self.results["sent"], "failed": self.results["failed"], "pending": pending}

    def _empty(self, end: float) -> None:
        """Attempt all there is until nothing is due, or until `end` by the monotonic clock.

        A failure may have enqueued something on another channel, so each round looks again.
        """
        waits_until = min(end, time.monotonic() + _LONGEST_WAIT_SECONDS)
        while time.monotonic() < end:
            before = self.results.total()
            with self._database.write() as connection:
                deliveries.hasten(connection, self._channels, now=self._clock.now())
            is_due = self.dispatch()
            self.wait_until_idle(end - time.monotonic())
            if self.results.total() > before:
                continue
            with self._database.read() as connection:
                busy = outbox.in_flight(connection, self._channels, now=self._clock.now())
            left = waits_until - time.monotonic()
            if not (is_due or busy) or left <= 0:
                return
            if self._stopping.wait(min(left, _LOOK_AGAIN_SECONDS)):
                return

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until no channel is being drained; False if that takes more than `timeout`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._draining, timeout)

    def stop(self) -> None:
        """Begin no further attempt."""
        self._stopping.set()

    def _drain(self, name: str) -> None:
        """Deliver all that is due, and look once more after a dispatch meanwhile."""
        try:
            while self._takes_up(name):
                sender = Sender(
                    self._channels[name],
                    database=self._database,
                    channels=self._channels,
                    clock=self._clock,
                    jitter=self._jitter,
                    stopping=self._stopping,
                    count=self._count,
                )
                try:
                    sender.send_due()
                except StorageError as error:
                    log.warning("outbox unavailable", channel=name, error=str(error))
        except BaseException:
            self._leave(name)
            raise

    def _takes_up(self, name: str) -> bool:
        """Take up what `dispatch` asked of a channel; where that is nothing, leave it."""
        with self._changed:
            if name in self._asked and not self._stopping.is_set():
                self._asked.discard(name)
                return True
            self._leave(name)
            return False

    def _leave(self, name: str) -> None:
        with self._changed:
            self._draining.discard(name)
            self._changed.notify_all()

    def _count(self, result: Result, rows: int) -> None:
        with self._changed:
            self.results[result] += rows


class Sender:
    """Sends what is due on one channel, a few messages at a time, until nothing is.

    One sender at a time claims messages of a channel. `count` is called with the result of so many
    rows.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        jitter: Callable[[], float],
        stopping: threading.Event,
        count: Callable[[Result, int], object],
    ) -> None:
        self._channel = channel
        self._database = database
        self._channels = channels
        self._clock = clock
        self._jitter = jitter
        self._stopping = stopping
        self._count = count
        self._token = new_token()
        self._most = channel.at_once
        self._claimed = deque[ClaimedMessage]()
        self._works = False
        self._failed = set[str]()

    def send_due(self) -> None:
        """Send until nothing is due; an outcome may make something else due.

        Raises `StorageError`.
        """
        is_due, at_once = True, self._channel.at_once
        try:
            while is_due:
                is_due = False
                for outcomes in in_batches(
                    self._due(),
                    self._attempt,
                    threads=at_once,
                    room=at_once + UNRECORDED,
                    linger=0.0,
                ):
                    is_due = True
                    self._record(outcomes)
        finally:
            self._give_back()
        self._channel.rest()

    def _due(self) -> Iterator[ClaimedMessage]:
        """Claim what is due, as much at a time as half a second sends, and yield it in order."""
        while not self._stopping.is_set():
            self._give_back()
            with self._database.write() as connection:
                self._claimed.extend(
                    outbox.claim(
                        connection,
                        self._channel.name,
                        token=self._token,
                        most=self._most,
                        now=self._clock.now(),
                    )
                )
            claimed, begun = len(self._claimed), self._clock.monotonic()
            if not claimed:
                return
            took = 0.0
            while self._claimed and took < _BEGIN_SECONDS and not self._stopping.is_set():
                yield self._claimed.popleft()
                took = self._clock.monotonic() - begun
            pace = claimed / took if took else math.inf
            self._most = max(self._channel.at_once, int(min(pace * _CLAIM_SECONDS, _MOST_CLAIMED)))

    def _give_back(self) -> None:
        """Release what was claimed and never begun."""
        if self._claimed:
            with self._database.write() as connection:
                attempts.give_back(connection, self._claimed)
            self._claimed.clear()

    def _attempt(self, message: ClaimedMessage) -> _Outcome:
        """Send a message; return it with what went wrong, if anything did."""
        whole = Message(
            id=message.id,
            recipient=message.rows[0].recipient,
            bodies=tuple(row.facts for row in message.rows),
        )
        try:
            self._channel.send(whole, now=self._clock.now())
        except DeliveryError as error:
            return message, error
        except Exception as error:  # the boundary of a delivery: a defect must not stop the rest
            log.exception("delivery raised", channel=self._channel.name, message=message.id)
            name = type(error).__name__
            return message, DeliveryError(f"quota-watch failed: {name}", by_us=True)
        return message, None

    def _record(self, outcomes: Sequence[_Outcome]) -> None:
        """Record outcomes; after a first success make due what waits for its next attempt.

        All but what failed while the channel did work: it would hold up the rest.
        """
        accepted = [message for message, error in outcomes if error is None]
        failed = [(message, error) for message, error in outcomes if error is not None]
        works_again = bool(accepted) and not self._works
        self._works = self._works or works_again
        if self._works:
            self._failed |= {message.id for message, _ in failed}
        now, name = self._clock.now(), self._channel.name
        with self._database.write() as connection:
            attempts.mark_done(connection, accepted, now=now)
            failures = [self._record_failure(connection, *each) for each in failed]
            if works_again:  # what fails from now on has its own time
                attempts.make_due(connection, name, now=now, but=self._failed)
        for message in accepted:
            self._count("sent", len(message.rows))
            log.info("delivery sent", **_log_fields(message))
        for message, attempt, at in failures:
            self._count("retry" if at else "failed", len(message.rows))
            what = "delivery will be retried" if at else "delivery failed for good"
            log.warning(what, next_at=at, error=attempt.error, **_log_fields(message))

    def _record_failure(
        self, connection: Connection, message: ClaimedMessage, error: DeliveryError
    ) -> tuple[ClaimedMessage, Attempt, datetime | None]:
        """Record a failed attempt; return it with the time of the next one."""
        why = one_line(str(error), _LONGEST_ERROR)
        attempt = Attempt(at=self._clock.now(), error=why, status=error.status)
        if len(message.rows) > 1 and should_split(error, attempts=message.attempts + 1):
            attempts.mark_split(connection, message, attempt)
            return message, attempt, attempt.at
        at = next_attempt(
            schedule=self._channel.retries,
            attempts=message.attempts + 1,
            error=error,
            created_at=message.created_at,
            now=attempt.at,
            jitter=self._jitter(),
        )
        if at is not None:
            attempts.mark_retry(connection, message, attempt, at=at)
            return message, attempt, at
        reason = DeliveryReason.REFUSED if error.permanent else DeliveryReason.GAVE_UP
        if attempts.mark_failed(connection, message, attempt, reason=reason):
            send_elsewhere(connection, message.rows, self._channels, now=attempt.at)
        return message, attempt, None


def _log_fields(message: ClaimedMessage) -> dict[str, str | int | None]:
    first = message.rows[0]
    return {
        "attempt": message.attempts + 1,
        "channel": first.channel,
        "recipient": first.recipient or None,
        "type": first.type,
        "delivery": message.id,
        "together": len(message.rows) if len(message.rows) > 1 else None,
    }
