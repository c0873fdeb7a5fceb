"""Whether the watch works: what goes on is noted here, and judged when somebody asks."""

import threading

from quota_watch.lib.clock import Clock

HUNG_SECONDS = 60.0
"""A job that has neither ended nor moved for so long hangs: each of its waits is shorter."""

STORE_SECONDS = 90.0
"""How long a failed write counts though others work: what failed is tried again by then."""


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
        """Tell whether the database answers and takes every write."""
        return not self._store_trouble()

    def hung(self) -> list[str]:
        """Return what neither ends nor moves, and would not without a new start."""
        now = self._clock.monotonic()
        with self._lock:
            jobs = [job for job, at in self._moved.items() if now - at > HUNG_SECONDS]
            standing = [
                what for what, since in self._standing.items() if now - since > HUNG_SECONDS
            ]
        return [f"{job} has not moved for {HUNG_SECONDS:.0f} s" for job in sorted(jobs)] + standing

    def reasons(self) -> list[str]:
        """Return why the watch does not work: it hangs, or its database takes no write."""
        return self.hung() + self._store_trouble()

    def doubts(self) -> list[str]:
        """Return why nobody should rely on being told; the heartbeat is withheld for these."""
        with self._lock:
            unsure = list(self._unsure)
        return self.reasons() + unsure

    def _store_trouble(self) -> list[str]:
        if self.lost:
            return [self.lost]
        with self._lock:
            if self._unanswered:
                return [f"the database does not answer: {self._unanswered}"]
            if self._refused is not None and self._is_refused():
                return [f"the database takes no write: {self._refused[1]}"]
        return []

    def _is_refused(self) -> bool:
        # A full disk may still take a small write, and refuse the next one that matters.
        if self._refused is None:
            return False
        at = self._refused[0]
        lately = self._clock.monotonic() - at < STORE_SECONDS
        return lately or self._written is None or self._written < at
