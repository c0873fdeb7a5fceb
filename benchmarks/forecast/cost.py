"""The CPU that a forecast costs a poll: to read what is stored (SQLite) and to fit and answer.

    python -m benchmarks.forecast.cost

One organization with 430 days of six event types, and snapshots as thinned out after polls every
15 minutes. *Calm* works out no advice; *at risk* does. The first poll of a day learns the day's
shape anew. Prints milliseconds of CPU, medians.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import Connection, insert

from quota_watch.forecast.outlook import analyse
from quota_watch.model.period import DayCounts, count, each_day, month_of
from quota_watch.model.source import Organization
from quota_watch.model.watch import Watch
from quota_watch.storage import claims, upkeep
from quota_watch.storage.claims import Changes
from quota_watch.storage.database import Database
from quota_watch.storage.forecasts import forecast_row, past_of
from quota_watch.storage.schema import day_usage, snapshot

NOW = datetime(2026, 3, 17, 14, 30, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS, TIMES = 430, 60
TYPES = {
    "pageview": 550,
    "custom_event": 110,
    "performance": 155,
    "outbound": 45,
    "button_click": 40,
    "error": 30,
}
WATCH = Watch(
    organization=Organization("https://app.rybbit.io", "org_cost"),
    name="cost",
    plan="standard1m",
    limit=40_000,
    limit_source="plan",
    drops=True,
    not_counted=frozenset({"error"}),
    thresholds=(75, 90, 100),
    blind_after=None,
    channels=(),
    stalled_after=DAY,
)


def counts_of(day: date, share: float = 1.0) -> DayCounts:
    """Return a day's counts: quieter weekends, and a little chance that is always the same."""
    swing = (0.9 + (day.toordinal() * 7919 % 100) / 500) * (0.6 if day.weekday() > 4 else 1.0)  # noqa: PLR2004 -- Saturday on
    return DayCounts(day, {name: round(n * swing * share) for name, n in TYPES.items()})


def snapshots() -> Iterator[datetime]:
    """Yield the moments of snapshots that thinning leaves."""
    for first, last, step in (
        (DAYS, 60, DAY),
        (60, 7, timedelta(hours=1)),
        (7, 0, timedelta(minutes=15)),
    ):
        at, end = NOW - first * DAY, NOW - last * DAY
        while at < end:
            yield at
            at += step


def fill(connection: Connection) -> int:
    """Write the days and snapshots; return the organization's key."""
    pk = claims.register(connection, [WATCH], now=NOW)[WATCH.organization]
    days = [
        {
            "organization_pk": pk,
            "date": day,
            "counts": dict(counts_of(day).by_type),
            "used": counts_of(day).counted(WATCH.not_counted),
            "capped": False,
            "seen_at": NOW,
        }
        for day in each_day((NOW - DAYS * DAY).date(), (NOW - DAY).date())
    ]
    connection.execute(insert(day_usage), days)
    seen = [
        {
            "organization_pk": pk,
            "at": at,
            "used": 0,
            "today": round(counts_of(at.date()).counted(WATCH.not_counted) * _passed(at)),
            "limit": WATCH.limit,
        }
        for at in snapshots()
    ]
    connection.execute(insert(snapshot), seen)
    return pk


def _passed(at: datetime) -> float:
    return (at.hour * 60 + at.minute) / 1440


def cpu(work: Callable[[], object]) -> float:
    """Return the milliseconds of CPU that the work takes, as a median of many times."""
    taken = []
    for _ in range(TIMES):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return 1000 * median(taken)


def main() -> None:
    """Measure and print."""
    period = month_of(NOW.date())
    days = [counts_of(day) for day in each_day(period.start, (NOW - DAY).date())]
    days.append(counts_of(NOW.date(), _passed(NOW)))
    usage = count(
        days, period=period, today=NOW.date(), not_counted=WATCH.not_counted, limit=WATCH.limit
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Database(f"sqlite:///{Path(folder) / 'cost.db'}")) as database,
    ):
        upkeep.upgrade(database)
        with database.write() as connection:
            pk = fill(connection)

        def read() -> object:
            with database.read() as connection:
                return past_of(connection, pk, watch=WATCH, usage=usage, now=NOW, fetched=days)

        first = cpu(read)
        with database.read() as connection:
            past = past_of(connection, pk, watch=WATCH, usage=usage, now=NOW, fetched=days)

        def ahead(*, always: bool) -> Callable[[], object]:
            return lambda: analyse(past, watch=WATCH, usage=usage, now=NOW, always=always)

        analysis = analyse(past, watch=WATCH, usage=usage, now=NOW, always=False)
        with database.write() as connection:
            made = forecast_row(pk, analysis, usage)
            Changes(forecasts=[] if made is None else [made]).write(connection)
        sys.stdout.write(
            f"read, first poll of the day  {first:6.2f} ms\n"
            f"read                         {cpu(read):6.2f} ms\n"
            f"forecast, calm               {cpu(ahead(always=False)):6.2f} ms\n"
            f"forecast, at risk            {cpu(ahead(always=True)):6.2f} ms\n"
        )


if __name__ == "__main__":
    main()
