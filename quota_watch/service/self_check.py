"""The self-check: is the database still ours, does it take a write, does the watch see and tell?"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from quota_watch.lib.clock import Clock
from quota_watch.model.organization import Organization
from quota_watch.model.schedule import span
from quota_watch.pipeline.poll import Poll
from quota_watch.service.health import Health
from quota_watch.storage import health as store
from quota_watch.storage.database import Database
from quota_watch.storage.errors import DatabaseLost, StorageError

PROOF_SECONDS = 30.0
"""After so long without a write of anyone's the self-check makes one of its own."""

UNTOLD_AFTER = timedelta(minutes=15)
"""How long a critical alert may be on its way."""


class SelfCheck:
    """Looks into the database now and then and notes in `health` what it finds.

    `ours` names the organizations by their keys, `interval` tells how often one is polled now.
    """

    def __init__(
        self,
        *,
        database: Database,
        health: Health,
        clock: Clock,
        ours: Mapping[int, Organization],
        channels: Collection[str],
        interval: Callable[[Organization], timedelta],
    ) -> None:
        self._database = database
        self._health = health
        self._clock = clock
        self._ours = ours
        self._channels = channels
        self._interval = interval
        self._resting: set[int] = set()

    def look(self) -> None:
        """Look once; raises `StorageError` where the database does not answer as it should."""
        try:
            store.require_unchanged(self._database)
            idle = self._health.idle_seconds()
            if idle is None or idle > PROOF_SECONDS:
                store.prove_write(self._database)
            self._examine()
        except DatabaseLost:
            raise
        except StorageError as error:
            self._health.answered(self.without_place(error))
            raise
        self._health.answered()

    def polled(self, polls: Iterable[Poll]) -> None:
        """Note which organizations rest by design: their key's rate budget leaves no request."""
        for poll in polls:
            if poll.wait is None:
                self._resting.discard(poll.claim.pk)
            else:
                self._resting.add(poll.claim.pk)

    def without_place(self, error: StorageError) -> str:
        """Return what went wrong without the path or address, which not everyone should read."""
        return str(error).removeprefix(f"database {self._database.label}: ")

    def _examine(self) -> None:
        now = self._clock.now()
        with self._database.read() as connection:
            standing = tuple(self._standing(connection, now))
            unsure = tuple(self._unsure(connection, now))
        self._health.found(standing=standing, unsure=unsure)

    def _standing(self, connection: Connection, now: datetime) -> Iterator[str]:
        if store.stuck_polls(connection, self._ours, now=now):
            yield "a poll was begun and never ends"
        for channel in sorted(store.stuck_channels(connection, self._channels, now=now)):
            yield f"a delivery on {channel} was begun and never ends"

    def _unsure(self, connection: Connection, now: datetime) -> Iterator[str]:
        if not (self._is_seeing(connection, now) or self._resting >= self._ours.keys()):
            yield "no organization was polled well within two intervals"
        late = store.untold(connection, self._channels, since=now - UNTOLD_AFTER)
        if late:
            channels = sorted({name for each in late for name in each.channels})
            yield (
                f"a critical alert has reached nobody for {span(UNTOLD_AFTER)}: every delivery on"
                f" {', '.join(channels)} fails"
            )

    def _is_seeing(self, connection: Connection, now: datetime) -> bool:
        intervals = {pk: self._interval(each) for pk, each in self._ours.items()}
        longest = max(intervals.values(), default=timedelta(0))
        # What lies a little ahead was written before the clock went back, and is as good.
        polled = store.last_good_polls(connection, since=now - 2 * longest)
        return any(
            abs(now - at) <= 2 * intervals[pk] for pk, at in polled.items() if pk in intervals
        )
