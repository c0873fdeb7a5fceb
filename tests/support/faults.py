"""Databases that fail as real ones do: SQLite's own errors, a server that lets nobody in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest
from sqlalchemy import event

from quota_watch.storage.database import Database
from support.postgres import Postgres

Trouble = Callable[[Database], AbstractContextManager[None]]


def _sqlite_trouble(trouble: str, cure: str) -> Trouble:
    """Return what puts every connection of a database into a state, and out of it again."""

    @contextmanager
    def begin(database: Database) -> Iterator[None]:
        def trouble_new(connection, _: object) -> None:
            connection.execute(trouble)

        event.listen(database._writer, "connect", trouble_new)
        _on_pooled(database, trouble)
        try:
            yield
        finally:
            event.remove(database._writer, "connect", trouble_new)
            _on_pooled(database, cure)

    return begin


def _on_pooled(database: Database, statement: str) -> None:
    with closing(database._writer.raw_connection()) as connection:
        connection.cursor().execute(statement)


READ_ONLY = _sqlite_trouble("PRAGMA query_only = on", "PRAGMA query_only = off")
"""SQLite refuses with the error of a file on a disk that may only be read."""

FULL_DISK = _sqlite_trouble("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000")
"""SQLite finds no room for another page: the error of a full disk."""


@contextmanager
def nobody_let_in(server: Postgres, database: Database) -> Iterator[None]:
    """Cut every connection to a PostgreSQL server and let no new one into this database."""
    name = database._url.database
    server._run(
        f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false',
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname IS NOT NULL",
    )
    try:
        yield
    finally:
        server._run(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')


A_THREAD_IS_KILLED = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)
NOTHING_IS_CLOSED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""For tests that use `killed_at`: who is killed, in whatever thread, closes nothing."""


class Killed(BaseException):
    """What nobody catches, like the end of the process."""


@contextmanager
def killed_at(database: Database, statement: int) -> Iterator[Callable[[], int]]:
    """Kill who executes or commits as the `statement`-th; yields how many there were so far."""
    done = 0

    def step(*_: object) -> None:
        nonlocal done
        if done == statement > 0:  # whoever is dead, in whatever thread, does nothing more
            raise Killed
        done += 1
        if done == statement:
            raise Killed

    engines = {database._reader, database._writer}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", step)
        event.listen(engine, "commit", step)
    yield lambda: done
    for engine in engines:
        event.remove(engine, "before_cursor_execute", step)
        event.remove(engine, "commit", step)
