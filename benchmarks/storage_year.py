"""How much room a year of polling takes: one organization, every 15 minutes, on SQLite.

    python -m benchmarks.storage_year [DAYS]

The real daemon polls an embedded Rybbit once a day by a clock that leaps, and thins out after it,
as it does by itself; the snapshots of the day's other 95 polls are written here, as those would
(the polls themselves would take a quarter of an hour). Prints what each table takes beyond an
empty database; exits 1 if that is over 200 KB together. The organization begins with the year:
each older day that the first poll fetches (`poll.history`) takes 0.2 KB more.
"""

import logging
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, select

from quota_watch.config import load
from quota_watch.demo.scenes import Scene
from quota_watch.demo.simulator import Simulator
from quota_watch.service.runtime import Runtime
from quota_watch.storage import upkeep
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization, snapshot

MOST = 200_000  # bytes
POLL = timedelta(minutes=15)
POLLS_A_DAY = timedelta(days=1) // POLL
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
SCENE = Scene(
    id="org_year",
    name="A Year",
    api_key="key-of-the-benchmark",
    base=30_000,
    started=BEGIN.date(),
    growth=1.0005,
    limit=2_000_000,
    plan="pro2m",
)
CONFIG = """
[rybbit]
base_url = "{server}"
api_key = "key-of-the-benchmark"
[[organizations]]
id = "org_year"
limit = 2_000_000
"""


class LeapingClock:
    """Stands still until it is told to leap."""

    def __init__(self) -> None:
        self.passed = timedelta(0)

    def now(self) -> datetime:
        """Return the moment it stands at."""
        return BEGIN + self.passed

    def monotonic(self) -> float:
        """Return the seconds since its beginning."""
        return self.passed.total_seconds()


def sizes(path: Path) -> Mapping[str, int]:
    """Return the bytes of each table with its indexes, and of pages that are free."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("PRAGMA page_size").fetchone()[0]
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        of_tables = connection.execute(
            "SELECT coalesce(tbl_name, dbstat.name), sum(pgsize)"
            " FROM dbstat LEFT JOIN sqlite_master ON sqlite_master.name = dbstat.name"
            " GROUP BY 1 ORDER BY 2 DESC"
        ).fetchall()
    return {**dict(of_tables), "(free pages)": free * page}


def rows(path: Path, table: str) -> str:
    """Return how many rows a table has, or nothing where it is none."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if (table,) not in names.fetchall():
            return ""
        return str(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 -- a name from the schema


def write_snapshots(database: Database, clock: LeapingClock) -> None:
    """Write what the polls until the same time tomorrow would have seen."""
    with database.write() as connection:
        pk = connection.scalar(select(organization.c.pk))
        before = connection.scalar(select(organization.c.used)) or 0
        seen = []
        for n in range(1, POLLS_A_DAY):
            today = n * SCENE.base // POLLS_A_DAY
            at = clock.now() + n * POLL
            seen.append({"organization_pk": pk, "at": at, "used": before + today, "today": today})
        connection.execute(insert(snapshot).values(limit=SCENE.limit), seen)
    clock.passed += timedelta(days=1)


def poll_for(days: int, folder: Path) -> tuple[Mapping[str, int], Path]:
    """Poll for so many days; return the sizes of the database before that, and its file."""
    clock = LeapingClock()
    path = folder / "quota-watch.db"
    with Simulator(clock, [SCENE]) as server, closing(Database(f"sqlite:///{path}")) as database:
        config = folder / "config.toml"
        config.write_text(CONFIG.format(server=server.url))
        config.chmod(0o600)
        upkeep.upgrade(database)
        empty = sizes(path)
        runtime = Runtime(load(config), database=database, clock=clock, deliver=False)
        for day in range(days):
            runtime.poll_due()
            write_snapshots(database, clock)
            runtime.thin_out()
            sys.stderr.write(f"\rday {day + 1} of {days}")
            sys.stderr.flush()
        sys.stderr.write("\n")
        runtime.close(5)
    return empty, path


def main() -> int:
    """Measure, print, and tell whether it is little enough."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 365
    logging.disable(logging.WARNING)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        empty, path = poll_for(days, Path(folder))
        full = sizes(path)
        for table, size in full.items():
            more = size - empty.get(table, 0)
            if more:
                sys.stdout.write(f"{table:<20} {more / 1000:>8.1f} KB {rows(path, table):>6}\n")
    total = sum(full.values()) - sum(empty.values())
    seconds = time.monotonic() - began
    sys.stdout.write(
        f"{'together':<20} {total / 1000:>8.1f} KB of {MOST / 1000:.0f}, in {seconds:.0f} s\n"
    )
    return 0 if total <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
