"""Keep a database in shape: its schema, copies and checks of it, and the daily thinning out."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from sqlalchemy import (
    Connection,
    Table,
    func,
    insert,
    inspect,
    literal,
    or_,
    select,
    text,
    update,
)

from quota_watch.config.models import DatabaseTable
from quota_watch.lib.machine import resource_dir
from quota_watch.model.period import month_of
from quota_watch.storage import DatabaseLost, StorageError, days, forecasts, stories
from quota_watch.storage.database import Database
from quota_watch.storage.schema import HEAD, metadata, organization, snapshot

_LOCK = 0x71776D69
_WAIT_SECONDS = 60
_COPY_ROWS = 1_000
_FREE_PAGES = 200
_VOUCHING_DAYS = 3
_VOUCHING_ORGANIZATIONS = 10
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=10_000)  # any `keep` may be taken off


def current(database: Database) -> str | None:
    """Return the revision of the database, or None if it holds none of our tables."""
    try:
        if database.path is not None and not database.path.exists():
            return None
    except OSError as error:
        raise StorageError(
            f"the database {database.path} can't be reached: {error.strerror}"
        ) from error
    with database.read() as connection:
        return _revision(connection)


def require_current(database: Database) -> None:
    """Raise `StorageError` with the remedy unless the database has this code's schema."""
    revision = current(database)
    if revision is None:
        raise StorageError(f"no database at {database.label}: `run` or `poll` creates one")
    _refuse_newer(database, revision)
    if revision != HEAD:
        raise StorageError(
            f"database {database.label} has the older schema {revision}: "
            "run `quota-watch db upgrade`"
            + ("" if database.is_sqlite else f", after `{dump_command(database, 'before.dump')}`")
        )


def require_unchanged(database: Database) -> None:
    """Raise `DatabaseLost` where the database is no longer of the schema that `run` began with."""
    revision = current(database)
    if revision == HEAD:
        return
    if revision is None:
        raise DatabaseLost(f"database {database.label}: its tables are gone")
    try:
        require_current(database)
    except StorageError as error:
        raise DatabaseLost(str(error)) from None


def dump_command(database: Database, file: str) -> str:
    """Return the command that copies a PostgreSQL database, the way back from a migration."""
    return f"pg_dump -Fc -f {file} {database.label.replace(':***', '')}"


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the database to `HEAD`; return the revisions before and after.

    Processes that start at once wait for each other. A SQLite file that is about to change is
    copied to `FILE.before-REV` first.
    """
    before = current(database)
    if before == HEAD:
        return before, HEAD
    _refuse_newer(database, before)
    if before is None and database.path is not None:
        _make_file(database.path)
    with database.write() as connection:
        _wait_for_others(connection)
        before = _revision(connection)  # another process may have been quicker
        _refuse_newer(database, before)
        if before not in {None, HEAD} and database.path is not None:
            _keep_copy(
                database.path, database.path.with_name(f"{database.path.name}.before-{before}")
            )
        _run_alembic(connection)
    return before, HEAD


def revisions() -> tuple[str, ...]:
    """Return the known revisions, oldest first, without importing Alembic."""
    files = (resource_dir("migrations") / "versions").glob("[0-9]*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))


def backup(path: Path, to: Path) -> None:
    """Copy a SQLite database that is in use to a new file `to`, readable by its owner only.

    Raises `StorageError` where such a file can't be made.
    """
    try:
        to.touch(mode=0o600, exist_ok=False)
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
    except FileNotFoundError as error:
        raise StorageError(f"no copy at {to}: no folder {to.parent}; create it") from error
    except OSError as error:
        raise StorageError(f"no copy at {to}: {error.strerror}; name a new file") from error
    except sqlite3.Error as error:
        to.unlink()
        raise StorageError(f"no copy at {to}: {error}") from error


def unsound(database: Database) -> list[str]:
    """Return what is wrong inside the database, in words; empty if all is well."""
    with database.read() as connection:
        if not database.is_sqlite:
            return []
        findings = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        references = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    problems = [f"{database.label}: {text}" for text in findings if text != "ok"]
    return problems + [
        f"{database.label}: row {row[1]} of {row[0]} refers to none" for row in references
    ]


def copy(source: Database, target: Database) -> int:
    """Copy every row to `target`, which is made and must be empty; return how many.

    Raises `StorageError`; then `target` holds nothing.
    """
    upgrade(target)
    rows = 0
    with source.read() as reading, target.write() as writing:
        for table in metadata.sorted_tables:
            if writing.scalar(select(literal(1)).select_from(table).limit(1)) is not None:
                raise StorageError(f"database {target.label} is not empty: name a new one")
            for part in reading.execute(select(table)).mappings().partitions(_COPY_ROWS):
                writing.execute(insert(table), [dict(row) for row in part])
                rows += len(part)
            _continue_numbering(writing, table)
    return rows


def _continue_numbering(connection: Connection, table: Table) -> None:
    # Copied keys don't move PostgreSQL's sequences; the next insert would meet a used key.
    if connection.dialect.name == "postgresql" and "pk" in table.c:
        connection.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', 'pk'),"  # noqa: S608 -- our own name
                f" coalesce(max(pk), 1), max(pk) IS NOT NULL) FROM {table.name}"
            )
        )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _refuse_newer(database: Database, revision: str | None) -> None:
    if revision not in {None, *revisions()}:
        raise StorageError(
            f"database {database.label} has schema {revision}, newer than this quota-watch knows "
            f"({HEAD}): install the newer quota-watch again"
        )


def _make_file(path: Path) -> None:
    if not path.parent.is_dir():
        raise StorageError(
            f"no folder {path.parent} for the database: create it or set database.url"
        )
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise StorageError(f"the database {path} can't be created: {error.strerror}") from error


def _keep_copy(path: Path, to: Path) -> None:
    """Copy the file under its lock; `to` is there whole or not at all, and replaces an older one.

    An older one is of a migration that was broken off, or undone by putting it back.
    """
    unfinished = to.with_name(f"{to.name}.tmp")
    try:
        unfinished.unlink(missing_ok=True)  # of a process that was killed: we hold the lock
        backup(path, unfinished)
        unfinished.replace(to)
        _sync_folder(to.parent)
    except OSError as error:
        raise StorageError(f"no copy at {to}: {error.strerror}; free some space for it") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wait_for_others(connection: Connection) -> None:
    # On SQLite the IMMEDIATE transaction itself is the lock.
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{_WAIT_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _run_alembic(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  # heavy, and only a migration needs it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(resource_dir("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)


def thin_out(
    database: Database,
    *,
    keep: DatabaseTable,
    now: datetime,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Thin out and delete what is old, an organization at a time; return the rows deleted.

    Each organization has its turn once a day, whoever asks how often, in a short transaction of
    its own, so that no lock is held for long; where `stopped` says so the rest is left for the next
    time. What is old is judged by a time that several days' polls vouch for, since one wrong
    reading of the clock must not delete for good. On SQLite some free pages are then given back to
    the file system. Raises `StorageError`.
    """
    columns, today = organization.c, now.date()
    due = or_(columns.thinned_on.is_(None), columns.thinned_on != today)
    with database.read() as connection:
        pks = list(connection.scalars(select(columns.pk).where(due).order_by(columns.pk)))
        now = _vouched_for(connection, now)
    period = month_of(now.date())
    oldest = now - keep.keep_snapshots
    oldest_day = (now - keep.keep_days).date()
    deleted = 0
    for pk in pks:
        if stopped():
            return deleted
        with database.write() as connection:
            deleted += days.thin_out(connection, pk, now=now, oldest=oldest, oldest_day=oldest_day)
            deleted += forecasts.thin_out(connection, pk, period=period, oldest=oldest_day)
            connection.execute(
                update(organization).where(columns.pk == pk).values(thinned_on=today)
            )
    if pks:
        with database.write() as connection:
            deleted += stories.delete_old(connection, before=oldest)
    if database.is_sqlite and deleted:
        with database.write() as connection:
            _give_back_pages(connection)
    return deleted


def _vouched_for(connection: Connection, now: datetime) -> datetime:
    """Return the latest time up to `now` that polls on several days vouch for.

    A clock that was ahead for a day or two has left polls of that many days only. What is asked
    are the organizations that were polled last; where none was polled often, it is long ago.
    """
    polled_last = (
        select(organization.c.pk)
        .where(organization.c.last_ok.is_not(None))
        .order_by(organization.c.last_ok.desc())
    )
    pks = connection.scalars(polled_last.limit(_VOUCHING_ORGANIZATIONS)).all()
    vouched = max((_last_days_begin(connection, pk, now) for pk in pks), default=_LONG_AGO)
    return min(now, vouched + timedelta(days=_VOUCHING_DAYS))


def _last_days_begin(connection: Connection, pk: int, now: datetime) -> datetime:
    """Return when the earliest of the last few days up to `now` with a snapshot began."""
    columns, begins = snapshot.c, now + timedelta(milliseconds=1)
    for _ in range(_VOUCHING_DAYS):
        earlier = select(func.max(columns.at)).where(
            columns.organization_pk == pk, columns.at < begins
        )
        newest = connection.scalar(earlier)
        if newest is None:
            return _LONG_AGO
        begins = datetime.combine(newest.date(), time.min, UTC)
    return begins


def _give_back_pages(connection: Connection) -> None:
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    for _ in range(min(free, _FREE_PAGES)):
        # The driver steps such a statement once, whatever number of pages it asks for.
        connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
