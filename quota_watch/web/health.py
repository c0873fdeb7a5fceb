"""Whether the service is well, as far as a page can tell: the database takes a write."""

import threading

from quota_watch.lib.clock import Clock
from quota_watch.storage.database import Database
from quota_watch.storage.errors import StorageError
from quota_watch.storage.health import prove_write

_TRUSTED_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0


class DatabaseHealth:
    """Tries a small write, at most every five seconds, whoever asks how often.

    While one try is under way others are answered at once: with its trouble once it takes long.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._trying = threading.Lock()
        self._reasons: list[str] = []
        self._tried_at = float("-inf")
        self._began_at = 0.0

    def __call__(self) -> list[str]:
        """Return why the database takes no write, or nothing."""
        if not self._trying.acquire(blocking=False):
            waited = self._clock.monotonic() - self._began_at
            slow = ["the database takes long to take a write"]
            return slow if waited > _PATIENCE_SECONDS else self._reasons
        try:
            if self._clock.monotonic() - self._tried_at >= _TRUSTED_SECONDS:
                self._began_at = self._clock.monotonic()
                self._reasons = list(self._try())
                self._tried_at = self._clock.monotonic()
            return self._reasons
        finally:
            self._trying.release()

    def _try(self) -> list[str]:
        try:
            prove_write(self._database)
        except StorageError as error:
            return [str(error)]
        return []
