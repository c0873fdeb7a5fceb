"""What commands cost to start, and how soon a started daemon polls.

`startup.py ROW` prints one figure, without ROW or with `-v` alone all of them. `version`, `help`,
`status-1` and `status-1000` (`status ORG --json`, so many organizations in the config): CPU time
over that of `python -c "import argparse, sqlite3"`. `run`: seconds of wall clock from the start of
`quota-watch run`, with 100 organizations and a database, until its first poll reaches upstream.
"""

import compileall
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

ROUNDS, RUNS = 9, 3


def cost(*arguments: str) -> float:
    """Return the least CPU time that python took with these arguments."""
    return min(_seconds(arguments) for _ in range(ROUNDS))


def _seconds(arguments: tuple[str, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def configure(folder: Path, organizations: int) -> str:
    """Write a config of so many organizations, with its database; return its path."""
    config = folder / f"{organizations}.toml"
    tables = "".join(
        f'[[organizations]]\nid = "org_{n}"\nlimit = 100_000\n' for n in range(organizations)
    )
    config.write_text(
        f'[rybbit]\nbase_url = "http://localhost:1"\napi_key = "k123456789"\n'
        f'[database]\nurl = "sqlite:///{organizations}.db"\n{tables}'
    )
    quota_watch = [sys.executable, "-m", "quota_watch", "-q", "-c", str(config)]
    subprocess.run([*quota_watch, "db", "upgrade"], check=True, capture_output=True)
    return str(config)


def first_poll() -> float:
    """Return the seconds from the start of `run` until its first poll reaches upstream."""
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as upstream:
        config = Path(configure(Path(folder), 100))
        port = upstream.getsockname()[1]
        config.write_text(config.read_text().replace("localhost:1", f"127.0.0.1:{port}"))
        upstream.settimeout(60)
        began = time.monotonic()
        command = [sys.executable, "-m", "quota_watch", "-q", "-c", str(config), "run"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as daemon:
            while True:
                asking, _ = upstream.accept()
                with asking:
                    if b"/api/org-event-count/" in asking.recv(4096):
                        break
                    asking.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            seconds = time.monotonic() - began
            daemon.kill()
    return seconds


def main(row: str = "") -> None:
    """Print the figures of one row, or all of them."""
    compileall.compile_dir("quota_watch", quiet=1)  # as an installed one is
    base = cost("-c", "import argparse, sqlite3")
    for option in ("version", "help"):
        if row in {"", option}:
            _print(option, f"{cost('-m', 'quota_watch', f'--{option}') / base:.1f}", row)
    with TemporaryDirectory() as folder:
        for organizations in (1, 1000):
            name = f"status-{organizations}"
            if row in {"", name}:
                config = configure(Path(folder), organizations)
                command = ("-m", "quota_watch", "-c", config, "status", "org_0", "--json")
                _print(name, f"{cost(*command) / base:.1f}", row)
    if row in {"", "run"}:
        _print("run", f"{min(first_poll() for _ in range(RUNS)):.2f}", row)


def _print(name: str, figure: str, row: str) -> None:
    print(figure if row else f"{name}\t{figure}", flush=True)


if __name__ == "__main__":
    main(*(each for each in sys.argv[1:] if each != "-v"))
