"""Bring a database to this code's schema, forward only, and refuse one of a newer schema."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Table, insert, inspect, literal, select, text

from quota_watch.lib.machine import resource_dir
from quota_watch.storage.database import Database
from quota_watch.storage.errors import StorageError
from quota_watch.storage.schema import HEAD, metadata

_LOCK = 0x71776D69
_WAIT_SECONDS = 60
_COPY_ROWS = 1_000


def current(database: Database) -> str | None:
    """Return the revision of the database, or None if it holds none of our tables."""
    if database.path is not None and not _exists(database.path):
        return None
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


def dump_command(database: Database, file: str) -> str:
    """Say how PostgreSQL's own tool keeps a copy, which is the way back from a migration."""
    return f"pg_dump -Fc -f {file} {database.label.replace(':***', '')}"


def upgrade(database: Database) -> tuple[str | None, str]:
    """Bring the database to `HEAD`; return the revisions before and after.

    Processes that start at once wait for each other. A SQLite file that is about to change is
    copied to `FILE.before-REV` first.
    """
    before = current(database)
    if before == HEAD:
        return before, HEAD
    if before is not None:
        _refuse_newer(database, before)
    elif database.path is not None:
        _make_file(database.path)
    with database.write() as connection:
        _wait_for_others(connection)
        before = _revision(connection)  # another process may have been quicker
        if before is not None:
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
    except OSError as error:
        raise StorageError(f"no copy at {to}: {error.strerror}; name a new file") from error
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        to.unlink()
        raise StorageError(f"no copy at {to}: {error}") from error


def unsound(database: Database) -> list[str]:
    """Return what is wrong inside the database, in words; empty if all is well."""
    with database.read() as connection:
        if not database.is_sqlite:
            return []
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    problems = [f"{database.label}: {text}" for text in found if text != "ok"]
    return problems + [
        f"{database.label}: row {row[1]} of {row[0]} refers to none" for row in broken
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


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise StorageError(f"the database {path} can't be reached: {error.strerror}") from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _refuse_newer(database: Database, revision: str) -> None:
    if revision not in revisions():
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
