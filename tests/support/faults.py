"""Databases that fail as real ones do: SQLite's own errors, a server that lets nobody in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

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
