"""The two ways into the database: one writer at a time, readers who never block it."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from quota_watch.storage.errors import StorageError

BUSY_SECONDS = 15.0
"""How long one process waits for another's write; SQLite's turns are not fair, so not too short."""

_CONNECT_SECONDS = 5

_HINTS = {
    "unable to open": "; may this user read and write the file and its folder? Run as its owner",
    "readonly": "; this user or this disk allows no writing: run as the file's owner",
    "is full": "; make room there",
    "does not exist": "; create it first",
    "Connection refused": "; is the server up, and is database.url right?",
}
"""What to do about what the databases themselves say."""
_PAUSE_SECONDS = 0.02

_compact = partial(json.dumps, separators=(",", ":"))
"""Writes JSON columns: a tenth of a day's row would be spaces."""


class Database:
    """A SQLite file or a PostgreSQL database, by URL.

    On SQLite `write` begins IMMEDIATE behind one lock of this process and `read` begins DEFERRED;
    on PostgreSQL `read` is REPEATABLE READ. So readers see one moment and never block a writer.
    Raises `StorageError`.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        try:
            self._url = make_url(url)
        except ArgumentError:
            raise StorageError("not a database URL: give sqlite:///… or postgresql://…") from None
        self._lock = threading.Lock()
        backend = self._url.get_backend_name()
        if backend not in {"sqlite", "postgresql"}:
            raise StorageError(f"{backend} is not supported: give sqlite:///… or postgresql://…")
        self.is_sqlite = backend == "sqlite"
        if self.is_sqlite:
            self._reader = self._sqlite_engine("DEFERRED")
            self._writer = self._reader if read_only else self._sqlite_engine("IMMEDIATE")
        else:
            self._writer = self._postgresql_engine()
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @property
    def label(self) -> str:
        """Where the data is, without a password."""
        shown = self._url.set(drivername="postgresql", query={})
        return str(self.path) if self.path else shown.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None on PostgreSQL."""
        return Path(self._url.database or "").absolute() if self.is_sqlite else None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; it commits unless the block raises.

        Raises `StorageError` when the database can't be used.
        """
        if self.is_sqlite:
            with self._lock, self._transaction(self._writer) as connection:
                yield connection
        else:
            with self._transaction(self._writer) as connection:
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads. Raises `StorageError`."""
        with self._transaction(self._reader) as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            text = " ".join(str(cause).split())
            hint = next((hint for words, hint in _HINTS.items() if words in text), "")
            raise StorageError(f"database {self.label}: {text}{hint}") from error

    def _sqlite_engine(self, begin: str) -> Engine:
        engine = create_engine(
            self._url, json_serializer=_compact, connect_args={"timeout": BUSY_SECONDS}
        )

        @event.listens_for(engine, "connect")
        def configure(connection: sqlite3.Connection, _: Any) -> None:
            # The driver must not open transactions of its own: `begin` below does.
            connection.isolation_level = None
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            if pages == 0:  # of use only then; on a file in use it would wait for the writer
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")

        @event.listens_for(engine, "begin")
        def begin_as(connection: Connection) -> None:
            connection.exec_driver_sql(f"BEGIN {begin}")

        return engine

    def _postgresql_engine(self) -> Engine:
        try:
            return create_engine(
                self._url.set(drivername="postgresql+psycopg"),
                json_serializer=_compact,
                pool_pre_ping=True,
                connect_args={"connect_timeout": _CONNECT_SECONDS},
            )
        except ModuleNotFoundError as error:
            raise StorageError(
                "PostgreSQL needs its driver: pip install 'quota-watch[postgres]'"
            ) from error


def _use_wal(connection: sqlite3.Connection) -> None:
    # SQLite itself does not wait here for another process that does the same.
    gives_up_at = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > gives_up_at:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that knows ON CONFLICT on the database of `connection`."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def insert_missing(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows that violate no uniqueness; those already there stay as they are."""
    if rows:
        statement: Insert = insert_into(connection, table).on_conflict_do_nothing()
        connection.execute(statement, rows)
