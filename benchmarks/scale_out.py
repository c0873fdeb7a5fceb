"""Several daemons on one PostgreSQL: how fast they poll all that is due, and how evenly.

    PYTHONPATH=.:tests python -m benchmarks.scale_out [ORGANIZATIONS [THREADS [LATENCY]]]

For 1, 2 and 4 of them it prints organizations per second, the least that one of them polled over
the most, CPU milliseconds of theirs per organization, and how many were polled twice. Each is a
process with a key of its own, by which the upstream knows who asks.
"""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import update

from benchmarks.polling import configure
from benchmarks.upstream import serving
from quota_watch.config import load
from quota_watch.lib.machine import Clock
from quota_watch.service.runtime import Runtime
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization
from quota_watch.storage.upkeep import upgrade
from support.postgres import running_postgres

MOST = 4


def work(config: Path) -> None:
    """Poll what is due each time a line comes, and answer with the CPU seconds that took."""
    loaded = load(config)
    running = Runtime(loaded, database=Database(loaded.database_url()), clock=Clock())
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.process_time()
        running.poll_due()
        print(time.process_time() - began, flush=True)
    running.close(5)


@contextmanager
def workers(configs: list[Path]) -> Iterator[list["subprocess.Popen[str]"]]:
    """Start a worker for each config, and wait until all are ready."""
    command = [sys.executable, "-m", "benchmarks.scale_out", "work"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    begun = [subprocess.Popen([*command, config], **pipes) for config in configs]
    try:
        for worker in begun:
            worker.stdout.readline()
        yield begun
    finally:
        for worker in begun:
            worker.communicate()


def cycle(begun: list["subprocess.Popen[str]"]) -> tuple[float, float]:
    """Let all poll what is due; return the seconds that passed, and their CPU seconds."""
    began = time.monotonic()
    for worker in begun:
        worker.stdin.write("\n")
        worker.stdin.flush()
    cpu = sum(float(worker.stdout.readline()) for worker in begun)
    return time.monotonic() - began, cpu


def requests(url: str) -> tuple[dict[str, int], int]:
    """Return how many requests each key has made since, and how many were for the same again."""
    with urllib.request.urlopen(f"{url}/requests") as answer:  # noqa: S310 -- our own
        found = json.load(answer)
    return found["keys"], found["twice"]


def main(organizations: int = 10_000, threads: int = 8, latency: float = 0.05) -> None:
    """Poll all once, then once more with each number of workers, and print what that took."""
    with (
        TemporaryDirectory() as folder,
        running_postgres() as server,
        server.fresh_database() as database_url,
        serving(latency=latency) as url,
    ):
        configs = []
        for n in range(MOST):
            own = Path(folder, str(n))
            own.mkdir()
            config = configure(
                own,
                url,
                organizations=organizations,
                threads=threads,
                key=f"key-{n}-0000",
                database=database_url,
                interval="30d",  # so that hardly any falls due again meanwhile, rightly
            )
            configs.append(config.path)
        database = Database(database_url)
        upgrade(database)
        with workers(configs) as begun:
            cycle(begun)
        print("daemons\torganizations/s\tleast/most\tCPU ms\ttwice")
        for n in (1, 2, MOST):
            with workers(configs[:n]) as begun:
                with database.write() as connection:
                    connection.execute(update(organization).values(next_at=datetime.now(UTC)))
                requests(url)
                seconds, cpu = cycle(begun)
            shares, twice = requests(url)
            even = min(shares.values()) / max(shares.values()) if len(shares) == n else 0
            pace, each = organizations / seconds, 1000 * cpu / organizations
            print(f"{n}\t{pace:.0f}\t{even:.2f}\t{each:.2f}\t{twice}", flush=True)
        database.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(Path(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:3]), *map(float, sys.argv[3:]))
