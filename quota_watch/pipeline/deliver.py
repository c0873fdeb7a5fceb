"""Deliver: take what is due from the outbox, send it, keep what came of it.

Each channel is drained by a thread of its own, so that one that hangs holds up no other, and has
at most one attempt in flight.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

from quota_watch.channels.channel import Channel, DeliveryError, next_attempt, should_split
from quota_watch.lib.clock import Clock
from quota_watch.lib.logs import get_logger
from quota_watch.lib.text import one_line
from quota_watch.messages.facts import Message
from quota_watch.pipeline.fallback import tell_elsewhere
from quota_watch.storage import deliveries, outbox
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import ClaimedMessage, DeliveryReason
from quota_watch.storage.errors import StorageError
from quota_watch.storage.outbox import Attempt
from quota_watch.storage.retention import settle

log = get_logger(__name__)

_LONGEST_ERROR = 1_000
_SETTLE_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 10.0  # for another process, which may be dead

Result = Literal["sent", "failed", "retry"]


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
        """Begin to drain every channel that has something due; returns at once, whether any had.

        Every half a minute it first settles what time has decided. Raises `StorageError`.
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
        """Give up what time has made pointless, and tell elsewhere what fails too long.

        Raises `StorageError`.
        """
        self._settled = self._clock.monotonic()
        with self._database.read() as connection:
            if not deliveries.count_pending(connection):
                return
        now = self._clock.now()
        with self._database.write() as connection:
            failing = settle(connection, self._channels, now=now)
            tell_elsewhere(connection, failing, self._channels, now=now)

    def flush(self, seconds: float) -> dict[str, int]:
        """Attempt what is due and what only waits for company, and wait for it.

        It takes `seconds` at most; 0 attempts nothing. Some of them it waits for what another
        process has under way. Returns how many were sent, failed for good and are still pending.
        Raises `StorageError`.
        """
        if seconds:
            self._empty(time.monotonic() + seconds)
        with self._database.read() as connection:
            pending = deliveries.count_pending(connection, self._channels)
        return {"sent": self.results["sent"], "failed": self.results["failed"], "pending": pending}

    def _empty(self, end: float) -> None:
        """Attempt all there is until nothing is due, or until `end` by the monotonic clock.

        A failure may have put something on another channel, so it looks again after each round.
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
        """Wait until no channel is being drained, `timeout` seconds at most; tell whether so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._draining, timeout)

    def stop(self) -> None:
        """Begin no further attempt."""
        self._stopping.set()

    def _drain(self, name: str) -> None:
        """Deliver all that is due; a dispatch meanwhile is a reason to look once more."""
        try:
            while self._goes_on(name):
                self._deliver(name)
        except BaseException:
            self._leave(name)
            raise

    def _goes_on(self, name: str) -> bool:
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

    def _deliver(self, name: str) -> None:
        works, failed = False, set[str]()
        try:
            while not self._stopping.is_set():
                with self._database.write() as connection:
                    message = outbox.claim_next(connection, name, now=self._clock.now())
                if message is None:
                    self._channels[name].rest()
                    return
                if self._attempt(self._channels[name], message, failed):
                    works = True
                elif works:
                    failed.add(message.id)
        except StorageError as error:
            log.warning("outbox unavailable", channel=name, error=str(error))

    def _attempt(self, channel: Channel, message: ClaimedMessage, failed: set[str]) -> bool:
        """Attempt a message and keep what came of it; tell whether it was accepted."""
        bodies = tuple(row.facts for row in message.rows)
        sent = Message(id=message.id, recipient=message.recipient, bodies=bodies)
        try:
            channel.send(sent, now=self._clock.now())
        except DeliveryError as error:
            self._keep_failure(channel, message, error)
        except Exception as error:  # the boundary of a delivery: a defect must not stop the rest
            log.exception("delivery raised", channel=channel.name, message=message.id)
            name = type(error).__name__
            ours = DeliveryError(f"quota-watch failed: {name}", by_us=True)
            self._keep_failure(channel, message, ours)
        else:
            self._keep_success(channel, message, failed)
            return True
        return False

    def _keep_success(self, channel: Channel, message: ClaimedMessage, failed: set[str]) -> None:
        """Keep that it was accepted, and let go what waits for the channel to work again.

        But not what `failed` while the channel did work: it would hold up the rest.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            outbox.mark_done(connection, message, now=now)
            outbox.make_due(connection, channel.name, now=now, but=failed)
        self._count("sent", len(message.rows))
        log.info("delivery sent", **_names(message))

    def _keep_failure(
        self, channel: Channel, message: ClaimedMessage, error: DeliveryError
    ) -> None:
        why = one_line(error.message, _LONGEST_ERROR)
        attempt = Attempt(at=self._clock.now(), error=why, status=error.status)
        split = len(message.rows) > 1 and should_split(error, attempts=message.attempts + 1)
        at = attempt.at if split else self._next_attempt(channel, message, error, attempt.at)
        with self._database.write() as connection:
            if split:
                outbox.mark_split(connection, message, attempt)
            elif at is not None:
                outbox.mark_retry(connection, message, attempt, at=at)
            else:
                reason = DeliveryReason.REFUSED if error.permanent else DeliveryReason.GAVE_UP
                if outbox.mark_failed(connection, message, attempt, reason=reason):
                    tell_elsewhere(connection, message.rows, self._channels, now=attempt.at)
        self._count("retry" if at else "failed", len(message.rows))
        log.warning(
            "delivery will be retried" if at else "delivery failed for good",
            next_at=at,
            error=why,
            **_names(message),
        )

    def _next_attempt(
        self, channel: Channel, message: ClaimedMessage, error: DeliveryError, now: datetime
    ) -> datetime | None:
        return next_attempt(
            schedule=channel.retries,
            attempts=message.attempts + 1,
            error=error,
            created_at=message.created_at,
            now=now,
            jitter=self._jitter(),
        )

    def _count(self, result: Result, rows: int) -> None:
        with self._changed:
            self.results[result] += rows


def _names(message: ClaimedMessage) -> dict[str, str | int | None]:
    first = message.rows[0]
    return {
        "attempt": message.attempts + 1,
        "channel": message.channel,
        "recipient": message.recipient or None,
        "type": first.type,
        "delivery": message.id,
        "together": len(message.rows) if len(message.rows) > 1 else None,
    }
