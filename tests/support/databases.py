"""Databases of the current schema, made by copying one that was migrated once."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from quota_watch.storage import migrate
from quota_watch.storage.database import Database
from support.postgres import Postgres

_numbers = count(1)


def migrated(url: str) -> Database:
    database = Database(url)
    migrate.upgrade(database)
    return database


@contextmanager
def copied_file(template: Path, folder: Path) -> Iterator[str]:
    copy = folder / "quota-watch.db"
    shutil.copy(template, copy)
    yield f"sqlite:///{copy}"


@contextmanager
def copied_database(postgres: Postgres, template: str) -> Iterator[str]:
    name = f"copy_{next(_numbers)}"
    postgres._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield postgres.url(name)
    finally:
        postgres._run(f'DROP DATABASE "{name}" WITH (FORCE)')


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
def postgres_template(postgres_server: Postgres) -> Iterator[str]:
    with postgres_server.fresh_database() as url:
        migrated(url).close()
        yield url.partition("@/")[2].partition("?")[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def open_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Opens a database of the current schema: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        copied = copied_file(request.getfixturevalue("sqlite_template"), tmp_path)
    else:
        server = request.getfixturevalue("postgres_server")
        copied = copied_database(server, request.getfixturevalue("postgres_template"))
    with copied as url:
        opened = Opened(url)
        yield opened
        opened.close()


@pytest.fixture
def database(open_database: Opened) -> Database:
    """A database of the current schema, empty."""
    return open_database()
