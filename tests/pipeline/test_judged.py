"""Closed periods are compared with what was forecast of them."""

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import select

from quota_watch.config.models import DatabaseTable
from quota_watch.forecast.accuracy import CHECK_DAYS, CheckDay
from quota_watch.model.period import each_day
from quota_watch.storage.database import Database
from quota_watch.storage.schema import forecast as forecasts
from quota_watch.storage.upkeep import thin_out
from quota_watch.views.periods import period_forecast
from support.clock import FakeClock
from support.watching import Station, Upstream, watch

DAY = timedelta(days=1)
ACME = watch(limit=50_000, thresholds=(), forecast=True, drops=True)
KEEP = DatabaseTable()


class Town:
    """An organization with 1,000 events a day, polled each evening."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock, self.upstream = database, clock, Upstream()
        clock.set(datetime.fromisoformat("2026-01-01T00:00Z"))
        self.station = Station(database, self.upstream, [ACME], clock, history=120 * DAY)
        self.counts("2025-11-01", "2026-06-30", 1000)

    def counts(self, first: str, last: str, n: int) -> None:
        for day in each_day(date.fromisoformat(first), date.fromisoformat(last)):
            self.upstream.set(ACME, day, pageview=n)

    def evenings(self, month: str, *days: int) -> None:
        """Poll late on these days; a few events are still to come then."""
        for day in days:
            self.clock.set(datetime.fromisoformat(f"{month}-{day:02}T23:00Z"))
            self.station.poll()

    def thin_out(self, at: str) -> None:
        self.clock.set(datetime.fromisoformat(f"{at}Z"))
        thin_out(self.database, keep=KEEP, now=self.clock.now())

    def accuracy(self) -> dict[int, CheckDay]:
        with self.database.read() as connection:
            ahead = period_forecast(connection, ACME, now=self.clock.now())
        return {check.day: check for check in ahead.accuracy}

    def kept(self) -> list[int]:
        """Return of which days, by their number, forecasts are kept."""
        with self.database.read() as connection:
            days = connection.scalars(select(forecasts.c.as_of).order_by(forecasts.c.as_of))
            return [(day + DAY).day for day in days]


@pytest.fixture
def town(database: Database, clock: FakeClock) -> Town:
    return Town(database, clock)


def test_a_closed_period_is_compared_with_what_was_forecast_at_each_check_day(town: Town) -> None:
    town.counts("2026-01-16", "2026-01-31", 2000)
    town.evenings("2026-01", *CHECK_DAYS)
    town.evenings("2026-02", 1)
    checks = town.accuracy()
    assert tuple(checks) == CHECK_DAYS
    assert checks[10].bias_percent == pytest.approx(-100 * 16 / 47, abs=1)
    assert checks[10].in_band == 0
    assert checks[20].error_percent < checks[10].error_percent


def test_a_period_that_is_not_over_is_compared_with_nothing(town: Town) -> None:
    town.evenings("2026-01", *CHECK_DAYS, 31)
    assert town.accuracy() == {}


def test_where_the_daemon_was_down_on_a_check_day_an_older_forecast_stands_for_it(
    town: Town,
) -> None:
    town.evenings("2026-01", 3, 4, 5, 6, 7, 8, 11, 14, 16, 20, 25)
    town.evenings("2026-02", 1, 2, 3)
    town.thin_out("2026-02-03T23:30")
    assert town.kept() == [5, 8, 14, 20, 1, 2, 3]
    assert tuple(town.accuracy()) == CHECK_DAYS


def test_what_is_compared_survives_every_thinning(town: Town) -> None:
    for month in ("2026-01", "2026-02"):
        town.evenings(month, 2, 5, 10, 13, 20, 27)
        town.thin_out(f"{month}-27T23:30")
    town.evenings("2026-03", 1)
    before = town.accuracy()
    town.thin_out("2026-03-02T23:30")
    assert town.accuracy() == before
    assert {check.periods for check in before.values()} == {2}


def test_a_capped_period_is_no_measure(town: Town) -> None:
    town.counts("2026-01-01", "2026-01-14", 4000)
    town.counts("2026-01-15", "2026-01-31", 10)
    town.evenings("2026-01", *CHECK_DAYS)
    town.evenings("2026-02", 1)
    assert town.accuracy() == {}


def test_a_period_with_unknown_days_is_no_measure(town: Town) -> None:
    town.station = Station(town.database, town.upstream, [ACME], town.clock)
    town.evenings("2026-01", 5, 10, 20)
    town.evenings("2026-02", 10)
    assert town.accuracy() == {}


def test_a_capped_period_is_a_measure_of_the_day_told_and_thinning_keeps_it(town: Town) -> None:
    town.counts("2026-01-01", "2026-01-14", 4000)
    town.counts("2026-01-15", "2026-01-31", 10)
    town.evenings("2026-01", *CHECK_DAYS)
    town.evenings("2026-02", 1)
    town.thin_out("2026-02-03T23:30")
    with town.database.read() as connection:
        (five, ten) = period_forecast(connection, ACME, now=town.clock.now()).date_accuracy
    assert [(each.day, each.periods) for each in (five, ten)] == [(5, 1), (10, 1)]
    assert ten.days_off < five.days_off
