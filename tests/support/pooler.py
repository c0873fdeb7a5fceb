"""A real PgBouncer in transaction mode before a PostgreSQL server."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.needs import program
from support.postgres import Postgres

_SECONDS = 10


@contextmanager
def pooled(postgres: Postgres, database: str, *, connections: int = 2) -> Iterator[str]:
    """Yield the URL of `database` behind a pooler that gives each transaction any connection."""
    folder = Path(tempfile.mkdtemp(prefix="quota-watch-pooler-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "users.txt").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{database} = host={postgres.sockets} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder / 'users.txt'}\npool_mode = transaction\n"
        f"default_pool_size = {connections}\nserver_round_robin = 1\n"
    )
    command = [program("pgbouncer"), "-q", str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:  # which it refuses to run as
        owner = Path(postgres.sockets).owner()
        shutil.chown(folder, owner)
        command[1:1] = ["-u", owner]
    process = subprocess.Popen(command, cwd=folder)
    try:
        _wait_for(port)
        yield f"postgresql://postgres@127.0.0.1:{port}/{database}"
    finally:
        process.terminate()
        process.wait(_SECONDS)
        shutil.rmtree(folder)


def _wait_for(port: int) -> None:
    ends = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)
        else:
            return
