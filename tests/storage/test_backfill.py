from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, update

from quota_watch.model.period import DayCounts, Period, each_day
from quota_watch.storage import claims
from quota_watch.storage.database import Database
from quota_watch.storage.days import KeptPeriod, kept_period, mark_capped_in, write_days
from quota_watch.storage.schema import day_usage, organization
from support.domain import watch

FEBRUARY = Period(date(2026, 2, 1), date(2026, 3, 1))
MARCH_1 = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


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
            write_days(connection, pk, counts, watch=watch(), seen_at=seen_at)

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
        assert kept_period(connection, pk, FEBRUARY) == KeptPeriod(is_complete=True, at_once=True)


@pytest.mark.parametrize("change", ["missing", "early"])
def test_a_month_with_a_day_missing_or_seen_too_early_is_not(database, pk, write, change) -> None:
    days = each(FEBRUARY)
    last = {FEBRUARY.last_day: days.pop(FEBRUARY.last_day)}
    write(days)
    if change == "early":
        write(last, seen_at=MARCH_1 - timedelta(milliseconds=1))
    with database.read() as connection:
        assert not kept_period(connection, pk, FEBRUARY).is_complete


def test_what_was_seen_day_by_day_was_not_seen_at_once(database, pk, write) -> None:
    for day, n in each(FEBRUARY).items():
        write({day: n}, seen_at=datetime(day.year, day.month, day.day, tzinfo=UTC) + 2 * DAY)
    with database.read() as connection:
        kept = kept_period(connection, pk, FEBRUARY)
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


@pytest.fixture
def mark(database: Database, pk: int):
    """Mark February under a limit: `mark(limit=…, drops=…)`."""

    def mark(limit: int | None = 1_000, *, drops: bool = True) -> int:
        with database.write() as connection:
            connection.execute(update(organization).values(limit=limit, drops=drops))
            today = MARCH_1.date()
            return mark_capped_in(connection, pk, FEBRUARY, watch=watch(), today=today)

    return mark


@pytest.fixture
def collapsed(write) -> None:
    """A thousand events until the tenth, and next to none from the twelfth on."""
    write({**each(FEBRUARY, 100), **each(Period(date(2026, 2, 12), date(2026, 3, 1)), 3)})


def test_days_near_zero_after_the_limit_was_reached_are_marked(database, collapsed, mark) -> None:
    assert mark() == 18
    assert marked(database) == set(range(11, 29))


def test_a_day_that_has_its_mark_is_not_told_again(collapsed, mark) -> None:
    assert [mark(), mark()] == [18, 0]


@pytest.mark.parametrize("limit", [{"limit": None}, {"drops": False}, {"limit": 5_000}])
def test_only_a_limit_that_drops_and_was_passed_marks_days(
    database, collapsed, mark, limit
) -> None:
    assert mark(**limit) == 0
    assert marked(database) == set()


def test_a_month_that_went_on_past_the_limit_has_no_mark(database, write, mark) -> None:
    write(each(FEBRUARY, 100))
    mark()
    assert marked(database) == set()


def test_the_month_before_is_the_measure_of_quiet_weekdays(database, write, mark) -> None:
    def volume(day: date) -> int:
        return 10 if day.weekday() >= 5 else 100

    days = {day: volume(day) for day in each_day(date(2025, 12, 20), date(2026, 1, 31))}
    write(days | {day: volume(day) for day in each(FEBRUARY)})
    mark(150)
    assert marked(database) == set()


def test_a_day_that_is_something_else_now_keeps_what_it_was(database, pk, write) -> None:
    with database.write() as connection:
        connection.execute(update(organization).values(last_ok=MARCH_1))
    write(each(FEBRUARY))
    write({FEBRUARY.start: 12}, seen_at=MARCH_1 + DAY)
    with database.read() as connection:
        changed = select(day_usage.c.changed_from).where(day_usage.c.date == FEBRUARY.start)
        assert connection.scalar(changed) == 10
