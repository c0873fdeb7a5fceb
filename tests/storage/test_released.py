"""From every released schema, with rows in all tables, to this one: nothing is lost."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import MetaData, text

from quota_watch.storage import StorageError, upkeep
from quota_watch.storage.database import Database
from quota_watch.storage.schema import HEAD, metadata
from support.upgrading import make_at, rows_of, upgrade_at_once

RELEASED = upkeep.revisions()[:-1]
OLDEST = RELEASED[0]


@pytest.fixture
def old(database_url: str) -> Iterator[Database]:
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def old_file(sqlite_url: str) -> Iterator[Database]:
    with closing(Database(sqlite_url)) as database:
        make_at(database, OLDEST)
        yield database


def copies(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.before-*"))


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


@pytest.mark.parametrize("revision", RELEASED)
def test_no_row_is_lost_or_changed(old: Database, revision: str) -> None:
    tables = make_at(old, revision)
    before = rows_of(old, tables)
    assert upkeep.upgrade(old) == (revision, HEAD)
    assert rows_of(old, tables) == before
    assert {len(rows) for rows in before.values()} == {1}


@pytest.mark.parametrize("revision", RELEASED)
def test_the_rows_can_be_read_as_this_version_reads_them(old: Database, revision: str) -> None:
    make_at(old, revision)
    upkeep.upgrade(old)
    assert {name: len(rows) for name, rows in rows_of(old, metadata).items()} == dict.fromkeys(
        metadata.tables, 1
    )
    assert upkeep.unsound(old) == []


@pytest.mark.parametrize("revision", RELEASED)
def test_an_upgraded_database_has_the_tables_of_a_new_one(old: Database, revision: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    make_at(old, revision)
    upkeep.upgrade(old)
    with old.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_of_two_processes_that_upgrade_rows_at_once_one_does_it(
    old: Database, database_url: str
) -> None:
    tables = make_at(old, OLDEST)
    before = rows_of(old, tables)
    said = upgrade_at_once(database_url, 2)
    assert sorted(said) == sorted([f"{OLDEST} {HEAD}", f"{HEAD} {HEAD}"])
    assert rows_of(old, tables) == before


def test_a_copy_of_the_old_file_is_kept_for_its_owner_only(
    old_file: Database, tmp_path: Path
) -> None:
    upkeep.upgrade(old_file)
    (copy,) = copies(tmp_path)
    assert copy.name == f"quota-watch.db.before-{OLDEST}"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert revision_of(copy) == OLDEST


def test_the_copy_can_be_put_back(old_file: Database, tmp_path: Path) -> None:
    tables = MetaData()
    with old_file.read() as connection:
        tables.reflect(connection)
    before = rows_of(old_file, tables)
    upkeep.upgrade(old_file)
    with closing(Database(f"sqlite:///{copies(tmp_path)[0]}")) as put_back:
        assert rows_of(put_back, tables) == before
        assert upkeep.upgrade(put_back) == (OLDEST, HEAD)


def test_what_a_killed_process_left_of_a_copy_is_made_anew(
    old_file: Database, tmp_path: Path
) -> None:
    (tmp_path / f"quota-watch.db.before-{OLDEST}.tmp").write_text("half a copy")
    (tmp_path / f"quota-watch.db.before-{OLDEST}").write_text("of an upgrade that was broken off")
    upkeep.upgrade(old_file)
    (copy,) = copies(tmp_path)
    assert revision_of(copy) == OLDEST


def test_where_no_copy_can_be_made_nothing_is_changed(old_file: Database, tmp_path: Path) -> None:
    (tmp_path / f"quota-watch.db.before-{OLDEST}.tmp").mkdir()
    with pytest.raises(StorageError, match=rf"no copy at .*\.before-{OLDEST}: "):
        upkeep.upgrade(old_file)
    assert upkeep.current(old_file) == OLDEST


def test_a_new_file_needs_no_copy(sqlite_url: str, tmp_path: Path) -> None:
    with closing(Database(sqlite_url)) as database:
        upkeep.upgrade(database)
    assert copies(tmp_path) == []


def test_an_upgrade_that_fails_leaves_the_old_rows(old: Database) -> None:
    tables = make_at(old, OLDEST)
    before = rows_of(old, tables)
    with old.write() as connection:  # in the way of the last statement
        connection.execute(text("CREATE INDEX delivery_of_message ON delivery (channel)"))
    with pytest.raises(StorageError, match="delivery_of_message"):
        upkeep.upgrade(old)
    assert upkeep.current(old) == OLDEST
    assert rows_of(old, tables) == before
