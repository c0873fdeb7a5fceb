import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from quota_watch.storage import (
    DatabaseLost,
    DatabaseUnreachable,
    StorageError,
    claims,
    upkeep,
)
from quota_watch.storage.database import Database, concerns_all
from quota_watch.storage.schema import organization
from support.clock import START
from support.databases import migrated
from support.watching import watch, watches

Open = Callable[[], Database]
COUNT = select(func.count()).select_from(organization)


@pytest.fixture
def file(sqlite_url: str):
    with closing(migrated(sqlite_url)) as database:
        yield database


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("auto_vacuum", 2),
     ("busy_timeout", 15000)],
)  # fmt: skip
def test_sqlite_is_set_for_years_of_use(file: Database, pragma: str, value: object) -> None:
    for access in (file.read, file.write):
        with access() as connection:
            assert connection.scalar(text(f"PRAGMA {pragma}")) == value


def test_a_file_that_another_process_writes_is_waited_for_before_wal(tmp_path: Path) -> None:
    path, found = tmp_path / "quota-watch.db", []
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(Database(f"sqlite:///{path}")) as database,
    ):
        other.execute("CREATE TABLE anything (pk)")
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=lambda: found.append(upkeep.current(database)))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        other.execute("ROLLBACK")
        waiting.join()
    assert found == [None]


def test_a_block_that_raises_writes_nothing(database: Database) -> None:
    with suppress(ZeroDivisionError), database.write() as connection:
        claims.register(connection, [watch()], now=START)
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.scalar(COUNT) == 0


def test_a_reader_sees_one_moment_and_holds_up_no_writer(open_database: Open) -> None:
    with open_database().read() as reader:
        assert reader.scalar(COUNT) == 0
        with open_database().write() as writer:
            claims.register(writer, watches(3), now=START)
        assert reader.scalar(COUNT) == 0
    with open_database().read() as reader:
        assert reader.scalar(COUNT) == 3


def test_a_writer_holds_up_no_reader_of_its_own_process(database: Database) -> None:
    with database.write() as writer:
        claims.register(writer, watches(3), now=START)
        with database.read() as reader:
            assert reader.scalar(COUNT) == 0


def test_what_the_database_refuses_is_a_storage_error_that_names_it(database: Database) -> None:
    with pytest.raises(StorageError) as raised, database.read() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    assert str(raised.value).startswith(f"database {database.label}: ")
    assert "\n" not in str(raised.value)


def test_a_broken_uniqueness_is_a_storage_error(database: Database) -> None:
    row = {"starts_at": START, "ends_at": START, "reason": "", "author": "", "organization_pk": 9}
    with pytest.raises(StorageError), database.write() as connection:
        connection.execute(organization.metadata.tables["silence"].insert().values(row))


def test_a_server_that_is_not_there_is_a_storage_error_without_the_password() -> None:
    url = "postgresql://watch:hunter2@127.0.0.1:1/quota"
    with (
        closing(Database(url)) as database,
        pytest.raises(StorageError) as raised,
        database.read(),
    ):
        pass
    assert "hunter2" not in str(raised.value)
    assert "127.0.0.1" in str(raised.value)


@pytest.mark.parametrize("url", ["watch:hunter2@db.example/quota", "db/quota?password=hunter2"])
def test_a_password_is_not_in_the_label(url: str) -> None:
    with closing(Database(f"postgresql://{url}")) as database:
        assert "hunter2" not in database.label


def test_a_bare_postgresql_url_takes_the_modern_driver(postgres_url: str) -> None:
    url = postgres_url.replace("+psycopg", "")
    with closing(Database(url)) as database, database.read() as connection:
        assert connection.dialect.driver == "psycopg"


def test_an_empty_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "quota-watch.db").touch()
    with closing(Database(f"sqlite:///{tmp_path}/quota-watch.db")) as database:
        assert upkeep.current(database) is None
        with pytest.raises(StorageError, match="no database"):
            upkeep.require_current(database)


def test_a_write_is_told_how_it_ended(database: Database) -> None:
    ended: list[str | None] = []
    database.on_write = ended.append
    with database.write() as connection:
        claims.register(connection, [watch()], now=START)
    with suppress(ZeroDivisionError), database.write():
        raise ZeroDivisionError
    with suppress(StorageError), database.write() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))
    with database.read():
        pass
    assert ended[0] is None
    assert "nowhere" in (ended[1] or "")
    assert len(ended) == 2


@pytest.mark.parametrize("restored", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_is_deleted_or_replaced_while_in_use_is_lost(
    file: Database, tmp_path: Path, restored: bool
) -> None:
    """What is written to it would be gone with this process, and nobody would know."""
    if restored:
        upkeep.backup(file.path, tmp_path / "copy")
    with file.write() as connection:
        claims.register(connection, [watch()], now=START)
    file.path.unlink()
    if restored:
        (tmp_path / "copy").rename(file.path)
    for access in (file.read, file.write):
        with pytest.raises(DatabaseLost, match="replaced" if restored else "deleted"), access():
            pass


def test_a_file_in_use_that_is_only_moved_within_time_is_still_ours(file: Database) -> None:
    with file.read():
        pass
    file.path.rename(file.path.with_suffix(".moved"))
    file.path.with_suffix(".moved").rename(file.path)
    with file.write() as connection:
        claims.register(connection, [watch()], now=START)


def test_a_server_that_does_not_answer_is_told_from_one_that_refuses(postgres_server) -> None:
    for url, kind in (
        ("postgresql://u@127.0.0.1:1/quota", DatabaseUnreachable),
        (postgres_server.url("nowhere"), StorageError),
    ):
        with closing(Database(url)) as database, pytest.raises(StorageError) as raised:
            upkeep.current(database)
        assert raised.type is kind


@pytest.mark.parametrize(
    ("statement", "is_so"),
    [
        ("SELECT nothing FROM nowhere", True),
        ("INSERT INTO silence (organization_pk) VALUES (1)", False),
    ],
)
def test_the_database_s_own_trouble_is_told_from_that_of_a_row(
    database: Database, statement: str, is_so: bool
) -> None:
    with database._writer.connect() as connection, pytest.raises(DBAPIError) as raised:
        connection.execute(text(statement))
    assert concerns_all(raised.value) is is_so


def test_on_a_read_only_disk_what_is_kept_can_be_read_and_nothing_written(
    file: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with file.write() as connection:
        claims.register(connection, [watch()], now=START)
    file.close()
    real = os.statvfs(file.path.parent)

    class ReadOnly:
        f_flag = real.f_flag | os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: ReadOnly)
    with closing(Database(f"sqlite:///{file.path}")) as database:
        with database.read() as connection:
            assert connection.scalar(COUNT) == 1
        with pytest.raises(StorageError, match="read-only file system"), database.write():
            pass
