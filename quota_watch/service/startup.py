"""What `run` does before the watch begins: signals, and a database that is not there yet."""

import time
from collections.abc import Callable
from datetime import timedelta

from quota_watch.lib.clock import Clock
from quota_watch.lib.logs import get_logger
from quota_watch.service.systemd import Notifier
from quota_watch.storage.database import Database
from quota_watch.storage.errors import DatabaseUnreachable
from quota_watch.storage.health import clock_of

log = get_logger(__name__)

CLOCKS_APART = timedelta(seconds=5)
"""From here on two daemons on one database would take each other's leases for run out."""

_PAUSE_SECONDS = 5.0
_TRY_SECONDS = 60.0


def wait_for_database(
    database: Database, *, notifier: Notifier, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Return once the database's server answers, however long that takes.

    It may start after us, or be away for a while; what it refuses for good raises `StorageError`.
    """
    if database.is_sqlite:
        return
    waiting = False
    while True:
        try:
            with database.read():
                break
        except DatabaseUnreachable as error:
            if not waiting:
                log.error("waiting for the database", error=str(error))
            waiting = True
            notifier.starting(f"waiting: {error}", seconds=_TRY_SECONDS)
            sleep(_PAUSE_SECONDS)
    if waiting:
        log.info("the database answers", database=database.label)


def clocks_apart(database: Database, clock: Clock) -> str | None:
    """Return a sentence where our clock and that of the database's server differ too much.

    Raises `StorageError`.
    """
    before = clock.now()
    with database.read() as connection:
        theirs = clock_of(connection)
    if theirs is None or before - CLOCKS_APART <= theirs <= clock.now() + CLOCKS_APART:
        return None
    seconds = round((before - theirs).total_seconds())
    return (
        f"this machine's clock is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} that"
        f" of {database.label}: let both follow the same time servers"
    )
