"""Deliver: take what is due from the outbox, send it, keep what came of it.

Each channel is drained by a thread of its own, so that one that hangs holds up no other, and has
at most one attempt in flight.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal

from quota_watch.clock import Clock
from quota_watch.logs import get_logger
from quota_watch.notify.channel import Channel, Message
from quota_watch.notify.errors import DeliveryError
from quota_watch.notify.retry import next_attempt
from quota_watch.storage import outbox
from quota_watch.storage.database import Database
from quota_watch.storage.errors import StorageError
from quota_watch.storage.outbox import ClaimedDelivery
from quota_watch.text import one_line

log = get_logger(__name__)

_LONGEST_ERROR = 1_000

Result = Literal["sent", "failed", "retry"]


class Outbox:
    """Attempts due deliveries, each at least once, retrying as its channel prescribes."""

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
        self.results: Counter[Result] = Counter()

    def dispatch(self) -> None:
        """Begin to drain every channel that has something due; returns at once.

        Raises `StorageError`.
        """
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

    def flush(self, seconds: float) -> dict[str, int]:
        """Attempt what is due and wait for it, `seconds` at most; 0 attempts nothing.

        Returns how many were sent, failed for good and are still pending. Raises `StorageError`.
        """
        if seconds:
            self.dispatch()
            self.wait_until_idle(seconds)
        with self._database.read() as connection:
            pending = outbox.count_pending(connection, self._channels)
        return {"sent": self.results["sent"], "failed": self.results["failed"], "pending": pending}

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
        try:
            while not self._stopping.is_set():
                with self._database.write() as connection:
                    claimed = outbox.claim_next(connection, name, now=self._clock.now())
                if claimed is None:
                    return
                self._attempt(self._channels[name], claimed)
        except StorageError as error:
            log.warning("outbox unavailable", channel=name, error=str(error))

    def _attempt(self, channel: Channel, claimed: ClaimedDelivery) -> None:
        message = Message(id=claimed.id, recipient=claimed.recipient, facts=(claimed.facts,))
        try:
            channel.send(message, now=self._clock.now())
        except DeliveryError as error:
            self._keep_failure(channel, claimed, error)
        except Exception as error:  # the boundary of a delivery: a defect must not stop the rest
            log.exception("delivery raised", channel=channel.name, delivery=claimed.id)
            name = type(error).__name__
            self._keep_failure(channel, claimed, DeliveryError(f"quota-watch failed: {name}"))
        else:
            self._keep_success(channel, claimed)

    def _keep_success(self, channel: Channel, claimed: ClaimedDelivery) -> None:
        now = self._clock.now()
        with self._database.write() as connection:
            outbox.mark_done(connection, claimed, now=now)
            outbox.make_due(connection, channel.name, now=now)
        self._count("sent")
        log.info("delivery sent", attempt=claimed.attempts + 1, **_names(claimed))

    def _keep_failure(
        self, channel: Channel, claimed: ClaimedDelivery, error: DeliveryError
    ) -> None:
        now = self._clock.now()
        at = next_attempt(
            schedule=channel.retries,
            attempts=claimed.attempts + 1,
            error=error,
            created_at=claimed.created_at,
            now=now,
            jitter=self._jitter(),
        )
        why = one_line(error.message, _LONGEST_ERROR)
        with self._database.write() as connection:
            if at is None:
                outbox.mark_failed(connection, claimed, now=now, error=why, status=error.status)
            else:
                outbox.mark_retry(connection, claimed, at=at, error=why, status=error.status)
        self._count("retry" if at else "failed")
        log.warning(
            "delivery will be retried" if at else "delivery failed for good",
            attempt=claimed.attempts + 1,
            next_at=at,
            error=why,
            **_names(claimed),
        )

    def _count(self, result: Result) -> None:
        with self._changed:
            self.results[result] += 1


def _names(claimed: ClaimedDelivery) -> dict[str, str | None]:
    return {
        "channel": claimed.channel,
        "recipient": claimed.recipient or None,
        "type": claimed.type,
        "delivery": claimed.id,
    }
