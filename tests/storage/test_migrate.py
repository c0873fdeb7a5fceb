import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from quota_watch.lib.machine import Clock
from quota_watch.storage import StorageError, claims, upkeep
from quota_watch.storage.database import Database
from quota_watch.storage.schema import HEAD, metadata
from support.clock import START
from support.databases import migrated
from support.postgres import Postgres
from support.upgrading import upgrade_at_once
from support.watching import RecordingChannel, Station, Upstream, watch, watches


@pytest.fixture
def empty(database_url: str):
    """A database without tables; on SQLite, no file yet."""
    with closing(Database(database_url)) as database:
        yield database


@pytest.fixture
def counted(database: Database, clock: Clock) -> Database:
    """A database in which an organization reached 90 % and was told so."""
    upstream, channel = Upstream(), RecordingChannel()
    upstream.set(watch(), START.date(), pageview=90, error=10**17)
    Station(database, upstream, [watch()], clock, channels=[channel]).cycle()
    assert len(channel.sent) == 1
    return database


def rows(database: Database) -> dict[str, list[tuple]]:
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


def test_a_new_database_is_brought_to_the_newest_schema(empty: Database) -> None:
    assert upkeep.upgrade(empty) == (None, HEAD)
    assert upkeep.current(empty) == HEAD
    upkeep.require_current(empty)


def test_the_migrations_make_the_schema_of_the_code(empty: Database) -> None:
    upkeep.upgrade(empty)
    with empty.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_newest_revision_is_the_one_the_code_names() -> None:
    assert upkeep.revisions()[-1] == HEAD


def test_upgrading_again_changes_nothing(counted: Database) -> None:
    before = rows(counted)
    assert upkeep.upgrade(counted) == (HEAD, HEAD)
    assert rows(counted) == before


def test_processes_that_upgrade_at_once_wait_for_each_other(
    database_url: str, empty: Database
) -> None:
    upgrade_at_once(database_url, 3)
    assert upkeep.current(empty) == HEAD


def test_an_upgrade_that_breaks_off_leaves_nothing_behind(empty: Database) -> None:
    with empty.write() as connection:
        connection.execute(text("CREATE TABLE silence (pk INTEGER)"))  # in the way of the last one
    with pytest.raises(StorageError, match="silence"):
        upkeep.upgrade(empty)
    with empty.read() as connection:
        assert inspect(connection).get_table_names() == ["silence"]
    assert upkeep.current(empty) is None


def test_a_newer_schema_is_refused_with_the_remedy(empty: Database) -> None:
    upkeep.upgrade(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for meet in (upkeep.upgrade, upkeep.require_current):
        with pytest.raises(StorageError, match=r"9999, newer than .* install the newer"):
            meet(empty)


def test_a_missing_database_is_told_with_the_remedy(empty: Database) -> None:
    with pytest.raises(StorageError, match=r"no database at .*: `run` or `poll` creates one"):
        upkeep.require_current(empty)


def test_asking_for_a_missing_database_makes_no_file(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        upkeep.require_current(Database(sqlite_url))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no folder .*/nowhere for the database"):
        upkeep.upgrade(Database(f"sqlite:///{tmp_path}/nowhere/quota-watch.db"))


def test_a_file_that_cannot_be_made_is_told_by_name(tmp_path: Path) -> None:
    too_long = "q" * 300
    with pytest.raises(StorageError, match="can't be reached: File name too long"):
        upkeep.upgrade(Database(f"sqlite:///{tmp_path}/{too_long}.db"))


def test_a_file_that_is_no_database_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "quota-watch.db").write_text("a shopping list, not a database\n" * 40)
    with (
        closing(Database(f"sqlite:///{tmp_path}/quota-watch.db")) as database,
        pytest.raises(StorageError, match=r"quota-watch\.db: file is not a database"),
    ):
        upkeep.upgrade(database)


def test_files_are_for_their_owner_only(sqlite_url: str, tmp_path: Path) -> None:
    database = migrated(sqlite_url)
    with database.write() as connection:
        connection.execute(text("DELETE FROM silence"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    database.close()
    names = ("quota-watch.db", "quota-watch.db-wal", "quota-watch.db-shm")
    assert modes == dict.fromkeys(names, 0o600)


def test_a_database_in_use_is_backed_up_for_the_owner_only(sqlite_url: str, tmp_path: Path) -> None:
    database, copy = migrated(sqlite_url), tmp_path / "copy.db"
    with database.write() as connection:
        claims.register(connection, [watch()], now=START)
    with database.write() as connection:  # in use
        claims.register(connection, [watch("later")], now=START)
        upkeep.backup(tmp_path / "quota-watch.db", copy)
    database.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT id FROM organization").fetchall() == [("org_acme",)]


def test_a_backup_overwrites_nothing(sqlite_url: str, tmp_path: Path) -> None:
    migrated(sqlite_url).close()
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(StorageError, match="File exists"):
        upkeep.backup(tmp_path / "quota-watch.db", tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_a_sound_database_has_no_problems(counted: Database) -> None:
    assert upkeep.unsound(counted) == []


def test_a_row_that_refers_to_none_is_unsound(sqlite_url: str, tmp_path: Path) -> None:
    database = migrated(sqlite_url)
    with closing(sqlite3.connect(tmp_path / "quota-watch.db")) as careless:
        careless.execute("INSERT INTO snapshot VALUES (7, 0, 1, 1, NULL)")
        careless.commit()
    assert upkeep.unsound(database) == [
        f"{tmp_path}/quota-watch.db: row None of snapshot refers to none"
    ]
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path):
    """A database that does not exist yet, to copy to."""
    if request.param == "sqlite":
        with closing(Database(f"sqlite:///{tmp_path}/other.db")) as database:
            yield database
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    with server.fresh_database() as url, closing(Database(url)) as database:
        yield database


def test_a_copy_holds_every_row(counted: Database, other: Database) -> None:
    copied = upkeep.copy(counted, other)
    assert rows(other) == rows(counted)
    assert copied == sum(map(len, rows(counted).values())) == 5


def test_work_goes_on_in_a_copy(counted: Database, other: Database, clock) -> None:
    upkeep.copy(counted, other)
    upstream, channel = Upstream(), RecordingChannel()
    both = [watch(), watch("new")]
    for each in both:
        upstream.set(each, START.date(), pageview=100)
    clock.advance(timedelta(hours=2))
    Station(other, upstream, both, clock, channels=[channel]).cycle()
    assert sorted(channel.told()) == [("acme", "escalated", 100), ("new", "fired", 100)]


def test_an_empty_database_is_copied_and_used(database: Database, other: Database, clock) -> None:
    assert upkeep.copy(database, other) == 0
    with other.write() as connection:
        assert len(claims.register(connection, watches(3), now=clock.now())) == 3


def test_nothing_is_copied_over_what_is_there(
    counted: Database, other: Database, clock: Clock
) -> None:
    upkeep.upgrade(other)
    with other.write() as connection:
        claims.register(connection, [watch("precious")], now=clock.now())
    with pytest.raises(StorageError, match="is not empty: name a new one"):
        upkeep.copy(counted, other)
    assert {name: len(found) for name, found in rows(other).items() if found} == {"organization": 1}
