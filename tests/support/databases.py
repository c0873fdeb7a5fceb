"""Databases of the current schema, without a migration for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from quota_watch.storage import upkeep
from quota_watch.storage.database import Database
from quota_watch.storage.schema import metadata
from support.postgres import Postgres


def migrated(url: str) -> Database:
    database = Database(url)
    upkeep.upgrade(database)
    return database


def empty(database: Database) -> None:
    """Delete every row: much quicker than another database."""
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))


class Opened:
    """Opens a database again and again, each time as another process would, and closes all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._all: list[Database] = []

    def __call__(self) -> Database:
        self._all.append(Database(self.url))
        return self._all[-1]

    def close(self) -> None:
        for database in self._all:
            database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    migrated(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_kept(postgres_server: Postgres) -> Iterator[str]:
    """The URL of a PostgreSQL database of the current schema that tests empty before use."""
    with postgres_server.fresh_database() as url:
        migrated(url).close()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Opens a database of the current schema: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "quota-watch.db")
        opened = Opened(f"sqlite:///{tmp_path / 'quota-watch.db'}")
    else:
        opened = Opened(request.getfixturevalue("postgres_kept"))
        empty(opened())
    yield opened
    opened.close()


@pytest.fixture
def database(open_database: Opened) -> Database:
    """A database of the current schema, empty."""
    return open_database()
