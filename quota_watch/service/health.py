"""Whether the watch works: what goes on is noted here, checked, and judged when somebody asks."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from quota_watch.lib.machine import Clock
from quota_watch.model.account import Organization
from quota_watch.model.schedule import span
from quota_watch.pipeline.poll import Poll
from quota_watch.storage import health as store
from quota_watch.storage.database import Database
from quota_watch.storage.errors import DatabaseLost, StorageError

HUNG_SECONDS = 60.0
"""A job that has neither ended nor moved for so long hangs: each of its waits is shorter."""

STORE_SECONDS = 90.0
"""How long a failed write counts though others work: what failed is tried again by then."""

PROOF_SECONDS = 30.0
"""Idle time of the database before the self-check makes a test write."""

UNTOLD_AFTER = timedelta(minutes=15)
"""How long a critical alert may be on its way."""

CLOCKS_APART = timedelta(seconds=5)
"""From here on two daemons on one database would take each other's leases for run out."""


class Health:
    """Jobs note that they move, the database's writes how they ended, a self-check what it saw.

    Three judgements, each a list of sentences that is empty where all is well: `hung` (only a new
    start helps), `reasons` (the scheduler does not turn or the database takes no write) and
    `doubts` (those, and what else means that nobody should rely on being told).
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._moved: dict[str, float] = {}
        self._written: float | None = None
        self._refused: tuple[float, str] | None = None
        self._unanswered = ""
        self._unrecorded: tuple[str, ...] = ()
        self._broken: set[str] = set()
        self._standing: dict[str, float] = {}
        self._unsure: tuple[str, ...] = ()
        self.lost = ""
        """Why this process can't go on with its database, once that is so."""

    def moved(self, job: str) -> None:
        """Note that the job began, got on or ended; from the first time on it is expected to."""
        with self._lock:
            self._moved[job] = self._clock.monotonic()

    def wrote(self, failure: str | None) -> None:
        """Note how a write to the database ended: None where it was committed."""
        now = self._clock.monotonic()
        with self._lock:
            if failure is None:
                self._written = now
            else:
                self._refused = now, failure

    def answered(self, failure: str = "") -> None:
        """Note whether the database answered when last asked, and if not, why."""
        with self._lock:
            self._unanswered = failure

    def ended(self, job: str, *, by_defect: bool) -> None:
        """Note whether the job's last run was ended by a defect of ours."""
        with self._lock:
            (self._broken.add if by_defect else self._broken.discard)(job)

    def unrecorded(self, organizations: Collection[str]) -> None:
        """Note the organizations whose last poll could not be judged or recorded, by our fault."""
        with self._lock:
            self._unrecorded = tuple(organizations)

    def found(self, *, standing: tuple[str, ...], unsure: tuple[str, ...]) -> None:
        """Note what a self-check found: work that stands still, and why not to rely on us."""
        now = self._clock.monotonic()
        with self._lock:
            self._standing = {what: self._standing.get(what, now) for what in standing}
            self._unsure = unsure

    def lose(self, why: str) -> None:
        """Note that this process can't go on with its database."""
        self.lost = self.lost or why

    def idle_seconds(self) -> float | None:
        """Return how long ago the database last took a write; None where it never did, or failed.

        Then it is time for a proof.
        """
        with self._lock:
            in_trouble = self._unanswered or self._is_refused()
            if self._written is None or in_trouble:
                return None
            return self._clock.monotonic() - self._written

    def trusts_store(self) -> bool:
        """Tell whether database answers again and takes every write."""
        return not self._store_trouble()

    def hung(self) -> list[str]:
        """Return what neither ends nor moves, and would not without a new start."""
        now = self._clock.monotonic()
        with self._lock:
            jobs = [job for job, at in self._moved.items() if now - at > HUNG_SECONDS]
            standing = [
                what for what, since in self._standing.items() if now - since > HUNG_SECONDS
            ]
        return [
            f"{job} has made no progress for {HUNG_SECONDS:.0f} s" for job in sorted(jobs)
        ] + standing

    def reasons(self) -> list[str]:
        """Return why the watch does not work: it hangs, or its database takes no write."""
        return self.hung() + self._store_trouble() + self._defects()

    def doubts(self) -> list[str]:
        """Return why nobody should rely on being told; the heartbeat is withheld for these."""
        with self._lock:
            unsure = list(self._unsure)
        return self.reasons() + unsure

    def _defects(self) -> list[str]:
        with self._lock:
            organizations = self._unrecorded
            broken = [f"{job} fails because of a bug: see the log" for job in sorted(self._broken)]
        if not organizations:
            return broken
        several = "organization" if len(organizations) == 1 else "organizations"
        unrecorded = f"polls of {len(organizations)} {several} can't be recorded"
        return [*broken, f"{unrecorded}, because of a bug: see the log"]

    def _store_trouble(self) -> list[str]:
        if self.lost:
            return [self.lost]
        with self._lock:
            if self._unanswered:
                return [f"the database does not answer: {self._unanswered}"]
            if self._refused is not None and self._is_refused():
                return [f"the database can't be written: {self._refused[1]}"]
        return []

    def _is_refused(self) -> bool:
        # A full disk may still take a small write, and refuse the next one that matters.
        if self._refused is None:
            return False
        at = self._refused[0]
        lately = self._clock.monotonic() - at < STORE_SECONDS
        return lately or self._written is None or self._written < at


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
            yield "a poll started and never ended"
        for channel in sorted(store.stuck_channels(connection, self._channels, now=now)):
            yield f"a delivery on {channel} started and never ended"

    def _unsure(self, connection: Connection, now: datetime) -> Iterator[str]:
        if not (self._is_seeing(connection, now) or self._resting >= self._ours.keys()):
            yield "no organization was polled successfully within two intervals"
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
        # What lies a little ahead was written before clock jumped back, and is as good.
        polled = store.last_good_polls(connection, since=now - 2 * longest)
        return any(
            abs(now - at) <= 2 * intervals[pk] for pk, at in polled.items() if pk in intervals
        )


def clocks_apart(database: Database, clock: Clock) -> str | None:
    """Return a sentence where our clock and that of the database's server differ too much.

    Raises `StorageError`.
    """
    before = clock.now()
    with database.read() as connection:
        theirs = store.clock_of(connection)
    if theirs is None or before - CLOCKS_APART <= theirs <= clock.now() + CLOCKS_APART:
        return None
    seconds = round((before - theirs).total_seconds())
    return (
        f"this machine's clock is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} that"
        f" of {database.label}: synchronize both with the same time servers"
    )
