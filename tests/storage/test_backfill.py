from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, update

from quota_watch.domain.periods import Period, each_day
from quota_watch.domain.usage import DayCounts
from quota_watch.storage import backfill, claims
from quota_watch.storage.database import Database
from quota_watch.storage.schema import day_usage, organization
from support.domain import watch

FEBRUARY = Period(date(2026, 2, 1), date(2026, 3, 1))
MARCH_1 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIMIT = backfill.DroppingLimit(1_000)


@pytest.fixture
def pk(database: Database) -> int:
    with database.write() as connection:
        (key,) = claims.register(connection, [watch(limit=1_000)], now=MARCH_1).values()
    return key


@pytest.fixture
def write(database: Database, pk: int):
    """Keep days: `write({day: pageviews, …}, seen_at=…)`."""

    def write(days: Mapping[date, int], seen_at: datetime = MARCH_1) -> None:
        counts = [DayCounts(day, {"pageview": n, "error": 1}) for day, n in days.items()]
        with database.write() as connection:
            backfill.write_days(connection, pk, counts, not_counted={"error"}, seen_at=seen_at)

    return write


def each(period: Period, used: int = 10) -> dict[date, int]:
    return dict.fromkeys(each_day(period.start, period.last_day), used)


def used(database: Database) -> dict[date, int]:
    with database.read() as connection:
        rows = connection.execute(select(day_usage.c.date, day_usage.c.used))
        return {row.date: row.used for row in rows}


def marked(database: Database) -> set[int]:
    with database.read() as connection:
        days = connection.scalars(select(day_usage.c.date).where(day_usage.c.capped))
        return {day.day for day in days}


def test_a_month_is_whole_when_every_day_was_seen_after_its_end(database, pk, write) -> None:
    write(each(FEBRUARY))
    with database.read() as connection:
        assert backfill.kept(connection, pk, FEBRUARY) == backfill.Kept(
            is_complete=True, at_once=True
        )


@pytest.mark.parametrize("change", ["missing", "early"])
def test_a_month_with_a_day_missing_or_seen_too_early_is_not(database, pk, write, change) -> None:
    days = each(FEBRUARY)
    last = {FEBRUARY.last_day: days.pop(FEBRUARY.last_day)}
    write(days)
    if change == "early":
        write(last, seen_at=MARCH_1 - timedelta(milliseconds=1))
    with database.read() as connection:
        assert not backfill.kept(connection, pk, FEBRUARY).is_complete


def test_what_was_seen_day_by_day_was_not_seen_at_once(database, pk, write) -> None:
    for day, n in each(FEBRUARY).items():
        write({day: n}, seen_at=datetime(day.year, day.month, day.day, tzinfo=UTC) + 2 * DAY)
    with database.read() as connection:
        kept = backfill.kept(connection, pk, FEBRUARY)
    assert (kept.is_complete, kept.at_once) == (True, False)


def test_what_was_seen_later_is_not_overwritten(database, write) -> None:
    write({FEBRUARY.start: 20}, seen_at=MARCH_1 + DAY)
    write({FEBRUARY.start: 10})
    assert used(database) == {FEBRUARY.start: 20}
    write({FEBRUARY.start: 30}, seen_at=MARCH_1 + 2 * DAY)
    assert used(database) == {FEBRUARY.start: 30}


def test_a_mark_survives_another_fetch(database, pk, write) -> None:
    write({FEBRUARY.start: 0})
    with database.write() as connection:
        connection.execute(update(day_usage).values(capped=True))
    write({FEBRUARY.start: 0}, seen_at=MARCH_1 + DAY)
    assert marked(database) == {1}


def test_days_near_zero_after_the_limit_was_reached_are_marked(database, pk, write) -> None:
    write({**each(FEBRUARY, 100), **each(Period(date(2026, 2, 12), date(2026, 3, 1)), 3)})
    with database.write() as connection:
        found = backfill.mark_capped(connection, pk, FEBRUARY, limit=LIMIT, not_counted={"error"})
    assert {day.day for day in found} == marked(database) == set(range(11, 29))


def test_a_day_that_has_its_mark_is_not_told_again(database, pk, write) -> None:
    write({**each(FEBRUARY, 100), **each(Period(date(2026, 2, 12), date(2026, 3, 1)), 3)})
    with database.write() as connection:
        told = [
            backfill.mark_capped(connection, pk, FEBRUARY, limit=LIMIT, not_counted={"error"})
            for _ in range(2)
        ]
    assert [len(days) for days in told] == [18, 0]


def test_a_month_that_went_on_past_the_limit_has_no_mark(database, pk, write) -> None:
    write(each(FEBRUARY, 100))
    with database.write() as connection:
        backfill.mark_capped(connection, pk, FEBRUARY, limit=LIMIT, not_counted={"error"})
    assert marked(database) == set()


def test_the_month_before_is_the_measure_of_quiet_weekdays(database, pk, write) -> None:
    def volume(day: date) -> int:
        return 10 if day.weekday() >= 5 else 100

    days = {day: volume(day) for day in each_day(date(2025, 12, 20), date(2026, 1, 31))}
    write(days | {day: volume(day) for day in each(FEBRUARY)})
    with database.write() as connection:
        backfill.mark_capped(
            connection, pk, FEBRUARY, limit=backfill.DroppingLimit(150), not_counted={"error"}
        )
    assert marked(database) == set()


@pytest.mark.parametrize(
    ("limit", "drops", "expected"), [(1_000, True, LIMIT), (1_000, False, None), (None, True, None)]
)
def test_only_a_known_limit_that_drops_is_one(database, pk, limit, drops, expected) -> None:
    with database.write() as connection:
        connection.execute(update(organization).values(limit=limit, drops=drops))
        assert backfill.dropping_limit(connection, pk) == expected
