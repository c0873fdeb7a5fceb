"""What `poll` works with, over a new database in a folder, and how figures are printed.

Shared by the scripts beside it.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from quota_watch.config import Config, load
from quota_watch.lib.machine import Clock
from quota_watch.model.source import Organization
from quota_watch.service.runtime import Runtime
from quota_watch.storage.database import Database

THREADS = 8


def configure(
    folder: Path,
    url: str,
    *,
    organizations: int,
    history: str = "1d",
    ca_file: Path | None = None,
    threads: int = THREADS,
    key: str = "k123456789",
    database: str = "sqlite:///quota-watch.db",
    interval: str = "15m",
) -> Config:
    """Write and load a config of so many organizations, with a status page at a free port."""
    tables = "".join(
        f'[[organizations]]\nid = "org_{n}"\nlimit = 100_000_000\n' for n in range(organizations)
    )
    trusted = f'ca_file = "{ca_file}"\n' if ca_file else ""
    config = folder / "config.toml"
    config.write_text(
        f'[rybbit]\nbase_url = "{url}"\napi_key = "{key}"\n{trusted}'
        f'[database]\nurl = "{database}"\n'
        f'[poll]\nhistory = "{history}"\nconcurrency = {threads}\ninterval = "{interval}"\n'
        f'[web]\nlisten = "127.0.0.1:0"\n{tables}'
    )
    config.chmod(0o600)
    return load(config)


def polling(
    folder: Path,
    url: str,
    *,
    organizations: int,
    history: str = "1d",
    ca_file: Path | None = None,
    clock: Clock | None = None,
    threads: int = THREADS,
) -> tuple[Runtime, list[Organization], Database]:
    """Build a runtime; return it with the organizations it polls and its database."""
    config = configure(
        folder,
        url,
        organizations=organizations,
        history=history,
        ca_file=ca_file,
        threads=threads,
    )
    # In a process of its own, as a daemon finds it that is not started for the first time.
    command = [sys.executable, "-m", "quota_watch", "-q", "-c", str(config.path), "db", "upgrade"]
    subprocess.run(command, check=True, capture_output=True)
    database = Database(config.database_url())
    running = Runtime(config, database=database, clock=clock or Clock())
    return running, list(config.credentials()), database


def arguments() -> tuple[list[str], list[int]]:
    """Return the words and the numbers of the command line; `-v` is neither."""
    given = [each for each in sys.argv[1:] if each != "-v"]
    words = [each for each in given if not each.isdigit()]
    return words, [int(each) for each in given if each.isdigit()]


def show(figures: Mapping[str, str], row: str) -> None:
    """Print the figure of one row and nothing else, or with `-v` all of them with their names."""
    if "-v" not in sys.argv:
        print(figures[row])
        return
    for name, figure in figures.items():
        print(f"{name}\t{figure}")
