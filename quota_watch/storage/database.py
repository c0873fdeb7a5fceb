"""The two ways into the database: one writer at a time, readers who never block it."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    Table,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)

from quota_watch.storage import (
    DatabaseLost,
    DatabaseUnreachable,
    DatabaseUrlError,
    StorageError,
)

_PROBES = 1_000
_ROWS_AT_A_TIME = 500

BUSY_SECONDS = 15.0
"""How long one process waits for another's write; SQLite's turns are not fair, so not too short."""

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

_CONNECTING = {
    "connect_timeout": 5,
    "client_encoding": "utf8",  # whatever $PGCLIENTENCODING says
    # A server that is gone without a word is noticed within half a minute, not after hours.
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
}

_STANDBY = "; this server accepts no writes (a standby?): point database.url at the primary"

_HINTS = {
    "unable to open": "; can this user read and write the file and its folder? Run as its owner",
    "readonly": "; this user or this disk allows no writing: run as the file's owner",
    "is full": "; free some space there",
    "does not exist": "; create it first",
    "Connection refused": "; is the server up, and is database.url right?",
    "during recovery": _STANDBY,
    "read-only transaction": _STANDBY,
}
"""What to do about errors, by words in what the databases report."""

_REFUSED = (
    "authentication failed",
    "does not exist",
    "pg_hba.conf",
    "permission denied",
    "invalid ",  # a value in the URL
)
"""Words of a server that refuses us however long we wait."""

_MISSING = frozenset({"42501", "42P01", "42703"})
"""PostgreSQL's codes for: no right to do that, no such table, no such column."""

_NO_WRITES = frozenset({"25006", "0A000"})
"""PostgreSQL's codes for a write, and for the begin of one, on a server that is a standby."""

_PAUSE_SECONDS = 0.02


def _compact(value: Any) -> str:
    """Write a JSON column; without spaces, which would be a tenth of a day's row."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # half of a character, which only an escape can write
        return json.dumps(value, separators=(",", ":"))


class Database:
    """A SQLite file or a PostgreSQL database, by URL.

    On SQLite `write` begins IMMEDIATE behind one lock of this process and `read` begins DEFERRED;
    on PostgreSQL `read` is REPEATABLE READ. So readers see one moment and never block a writer.
    `on_write` is called after every write: with None where it was committed, else with the error.
    Raises `StorageError`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = make_url(url)
        except ArgumentError:
            raise DatabaseUrlError(
                "not a database URL: give sqlite:///… or postgresql://…"
            ) from None
        self.on_write: Callable[[str | None], object] = lambda _: None
        self._file: os.stat_result | None = None
        backend = self._url.get_backend_name()
        if backend not in {"sqlite", "postgresql"}:
            raise DatabaseUrlError(
                f"{backend} is not supported: give sqlite:///… or postgresql://…"
            )
        self.is_sqlite = backend == "sqlite"
        self.path = Path(self._url.database or "").absolute() if self.is_sqlite else None
        """The SQLite file, or None on PostgreSQL."""
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        self._disk_is_read_only = _is_on_read_only_disk(self.path)
        if self.is_sqlite:
            self._reader = self._sqlite_engine("DEFERRED")
            self._writer = self._sqlite_engine("IMMEDIATE")
        else:
            self._writer = self._postgresql_engine()
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )

    @property
    def label(self) -> str:
        """Where the data is, without a password."""
        url = self._url.set(drivername="postgresql", query={})
        return str(self.path) if self.path else url.render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; it commits unless the block raises.

        Raises `StorageError` when the database can't be used.
        """
        if self._disk_is_read_only:
            self.on_write("read-only file system")
            raise StorageError(
                f"database {self.label}: it lies on a read-only file system; mount that to be"
                " written to, or set another database.url"
            )
        with self._turn, self._transaction(self._writer, self.on_write) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads. Raises `StorageError`."""
        with self._transaction(self._reader, lambda _: None) as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def _transaction(
        self, engine: Engine, ended: Callable[[str | None], object]
    ) -> Iterator[Connection]:
        self._require_same_file()
        connected = False
        try:
            with engine.begin() as connection:
                connected = True
                yield connection
        except SQLAlchemyError as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            text = " ".join(str(cause).split())
            ended(text)
            hint = next((hint for words, hint in _HINTS.items() if words in text), "")
            refused = connected or any(words in text for words in _REFUSED)
            absent = not self.is_sqlite and (not refused or _takes_no_writes(cause))
            kind = DatabaseUnreachable if absent else StorageError
            raise kind(f"database {self.label}: {text}{hint}") from error
        ended(None)

    def _require_same_file(self) -> None:
        """Raise `DatabaseLost` where the SQLite file is not the one that was opened first.

        What is written to a deleted file is lost with this process, without any error.
        """
        if self._file is None or self.path is None:
            return
        what = "replaced by another file"
        try:
            if os.path.samestat(self.path.stat(), self._file):
                return
        except FileNotFoundError:
            what = "deleted"
        except OSError:  # SQLite reports it better
            return
        raise DatabaseLost(
            f"database {self.label}: it was {what} while in use; nothing more is"
            " written to the old file"
        )

    def _sqlite_engine(self, begin: str) -> Engine:
        url = _as_it_lies(self.path) if self.path and self._disk_is_read_only else self._url
        engine = create_engine(
            url, json_serializer=_compact, connect_args={"timeout": BUSY_SECONDS}
        )

        @event.listens_for(engine, "connect")
        def configure(connection: sqlite3.Connection, _: Any) -> None:
            # The driver must not open transactions of its own: `begin` below does.
            connection.isolation_level = None
            if self._disk_is_read_only:
                return
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute("PRAGMA cache_size = -256")
            if pages == 0:  # of use only then; on a file in use it would wait for the writer
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            if self._file is None and self.path is not None:
                with suppress(FileNotFoundError):  # deleted since it was opened
                    self._file = self.path.stat()

        @event.listens_for(engine, "begin")
        def begin_as(connection: Connection) -> None:
            connection.exec_driver_sql(f"BEGIN {begin}")

        return engine

    def _postgresql_engine(self) -> Engine:
        try:
            engine = create_engine(
                self._url.set(drivername="postgresql+psycopg"),
                json_serializer=_compact,
                pool_pre_ping=True,
                connect_args=_CONNECTING | _options(self._url),
            )
        except ModuleNotFoundError as error:
            raise StorageError(
                "PostgreSQL needs its driver: pip install 'quota-watch[postgres]'"
            ) from error

        @event.listens_for(engine, "connect")
        def require_utf8(connection: Any, _: Any) -> None:
            encoding = connection.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                connection.close()
                raise StorageError(
                    f"database {self.label}: its encoding is {encoding}, which can't hold every"
                    " name and text: create it with ENCODING 'UTF8'"
                )

        @event.listens_for(engine, "begin")
        def limit_waits(connection: Connection) -> None:
            # For this transaction alone: behind a pooler the next one may be another session's.
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS:.0f}s'")

        @event.listens_for(engine, "handle_error")
        def drop_standby(context: ExceptionContext) -> None:
            # It answers and will never take a write: after a failover the pool would keep it.
            if _takes_no_writes(context.original_exception):
                context.is_disconnect = True

        return engine


def _options(url: URL) -> dict[str, Any]:
    """Check the parameters of a PostgreSQL URL; return those that the driver wants as numbers.

    No statement is prepared on the server unless the URL asks for it: a pooler between us and the
    server may lead the next transaction to a session that doesn't know it.
    """
    from psycopg.pq import Conninfo  # noqa: PLC0415  of an extra

    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    unknown = sorted(url.query.keys() - known - {"prepare_threshold"})
    if unknown:
        raise DatabaseUrlError(f"PostgreSQL has no parameter {', '.join(unknown)}: correct the URL")
    threshold = url.query.get("prepare_threshold")
    if threshold is None:
        return {"prepare_threshold": None}
    if not (isinstance(threshold, str) and threshold.isdecimal()):
        raise DatabaseUrlError("prepare_threshold must be a whole number: correct the URL")
    return {"prepare_threshold": int(threshold)}


def _takes_no_writes(error: BaseException | None) -> bool:
    return getattr(error, "sqlstate", None) in _NO_WRITES


def _is_on_read_only_disk(path: Path | None) -> bool:
    try:
        return path is not None and bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:  # SQLite reports it better
        return False


def _as_it_lies(path: Path) -> URL:
    """Return the URL of a file on a disk where nobody writes, so that SQLite needs no lock there.

    A log that was left beside it is still to be read.
    """
    log = path.with_name(f"{path.name}-wal")
    is_whole = not (log.exists() and log.stat().st_size)
    how = {"immutable": "1"} if is_whole else {"mode": "ro"}
    return URL.create("sqlite", database=f"file:{quote(str(path))}", query={**how, "uri": "true"})


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


def concerns_all(error: DBAPIError) -> bool:
    """Decide whether an error is the database's own trouble, not that of what was to be written.

    Gone, full, locked, read-only, or without the tables or rights that everything needs.
    """
    if isinstance(error, OperationalError | InterfaceError | InternalError):
        return True
    return getattr(error.orig, "sqlstate", None) in _MISSING


def insert_into(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT that knows ON CONFLICT on the database of `connection`."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 -- heavy, with all its drivers

    return postgresql.insert(table)


def write_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    replace: bool = False,
) -> None:
    """Insert the rows that violate no uniqueness; those already there stay as they are.

    With `replace` rows of the same primary key get the columns that are given.
    """
    if not rows:
        return
    insert = insert_into(connection, table)
    statement = insert.on_conflict_do_nothing()
    if replace:
        key = list(table.primary_key)
        given = [column for column in table.c if column.name in rows[0] and column not in key]
        changed = {column.name: insert.excluded[column.name] for column in given}
        statement = insert.on_conflict_do_update(index_elements=key, set_=changed)
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        connection.execute(statement, rows[first : first + _ROWS_AT_A_TIME])


def prove_write(database: Database) -> None:
    """Write something that nobody reads; raises `StorageError` where that can't be done.

    Nothing less than a change of a page shows that the disk is full, or may only be read.
    """
    with database.write() as connection:
        if database.is_sqlite:
            number = connection.scalar(text("PRAGMA user_version")) or 0
            connection.exec_driver_sql(f"PRAGMA user_version = {(number + 1) % _PROBES}")
        else:
            connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


def clock_of(connection: Connection) -> datetime | None:
    """Return the time that the database's server has; None where there is no server."""
    if connection.dialect.name == "sqlite":
        return None
    return connection.scalar(select(func.clock_timestamp()))
