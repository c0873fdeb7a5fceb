"""How long the server takes for the overview of 200 organizations.

Run it in a checkout: python -m benchmarks.web.overview [ORGANIZATIONS]
"""

import gc
import statistics
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from quota_watch.lib.machine import Clock
from quota_watch.model.source import Organization
from quota_watch.model.watch import Watch
from quota_watch.storage import claims, upkeep
from quota_watch.storage.database import Database
from quota_watch.storage.schema import day_usage, forecast, organization
from quota_watch.web.app import PageSettings
from quota_watch.web.server import create_app

_REQUESTS, _LIMIT = 50, 100_000
_DAYS = 60
_COUNTS = {"pageview": 2_000, "custom_event": 400, "performance": 90, "outbound": 30, "error": 9}


def watches(count: int) -> tuple[Watch, ...]:
    """Return as many organizations."""
    return tuple(
        Watch(
            organization=Organization("https://app.rybbit.io", f"org_{n:04}"),
            name=f"Organization {n}",
            plan="standard100k",
            limit=_LIMIT,
            limit_source="plan",
            drops=True,
            not_counted=frozenset({"error"}),
            thresholds=(75, 90, 100),
            blind_after=timedelta(hours=2),
            channels=("ops",),
        )
        for n in range(count)
    )


def fill(database: Database, watched: tuple[Watch, ...], now: datetime) -> None:
    """Write two months of days for each organization."""
    with database.write() as connection:
        keys = claims.register(connection, watched, now=now)
        for n, pk in enumerate(keys.values()):
            counts = {name: count * (n % 7 + 1) // 4 for name, count in _COUNTS.items()}
            used = sum(counts.values()) - counts["error"]
            days = [now.date() - timedelta(days=back) for back in range(_DAYS)]
            values = {"counts": counts, "used": used, "capped": False, "seen_at": now}
            rows = [{"organization_pk": pk, "date": day, **values} for day in days]
            connection.execute(insert(day_usage), rows)
            connection.execute(insert(forecast), [_forecast(pk, day) for day in days[1:]])
        start = date(now.year, now.month, 1)
        connection.execute(
            update(organization).values(last_ok=now, last_poll=now, period_start=start, used=1)
        )


def _forecast(pk: int, as_of: date) -> dict[str, Any]:
    crossing = {"early": None, "likely": None, "late": None}
    return {
        "organization_pk": pk,
        "as_of": as_of,
        "period_start": as_of.replace(day=1),
        "p10": 80_000,
        "p50": 90_000,
        "p90": 99_000,
        "warn_at": 85_000,
        "path": [2_345.6] * 20,
        "state": {"used": 50_000, "probability_over": 0.1, "crosses_on": crossing},
        "version": 1,
    }


def main() -> None:
    """Fill a database, ask for the pages, print the least and the median of many requests.

    Where others keep the machine busy, the CPU time of the thread alone says what a page costs.
    """
    count = int(sys.argv[1]) if sys.argv[1:] else 200
    gc.set_threshold(50_000)  # as the command line does
    watched, clock = watches(count), Clock()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'quota-watch.db'}")
        upkeep.upgrade(database)
        # The last day of a month: the most there is to read.
        now = clock.now()
        fill(database, watched, datetime(now.year, now.month, now.day, tzinfo=UTC))
        site = PageSettings(
            watches=watched, channels=("ops",), time_zone="UTC", hosts=frozenset({"localhost"})
        )
        app = create_app(lambda: site, database=database, clock=clock, health=list)
        client = app.test_client()
        for path in ("/", "/organizations/org_0001", "/api/v1/organizations", "/metrics"):
            client.get(path)
            cpu, wall = [], []
            for _ in range(_REQUESTS):
                began = time.thread_time(), time.perf_counter()
                answer = client.get(path)
                cpu.append((time.thread_time() - began[0]) * 1_000)
                wall.append((time.perf_counter() - began[1]) * 1_000)
            print(  # noqa: T201  a script
                f"{path}: CPU {min(cpu):.1f} ms (median {statistics.median(cpu):.1f}),"
                f" wall {min(wall):.1f} ms (median {statistics.median(wall):.1f}),"
                f" {len(answer.data) // 1024} KiB, status {answer.status_code}"
            )
        database.close()


if __name__ == "__main__":
    main()
