"""What is forecast of a period becomes alerts, and is stored."""

import re
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import select, update

from quota_watch.model.period import each_day
from quota_watch.storage.database import Database
from quota_watch.storage.schema import forecast as forecasts
from quota_watch.storage.schema import organization
from quota_watch.views.alerts import alerts
from quota_watch.views.status import statuses
from support.clock import FakeClock
from support.watching import NO_ANSWER, RecordingChannel, Station, Upstream, watch

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ACME = watch(limit=30_000, thresholds=(), forecast=True, spike=True, stalled_after=DAY, drops=True)


class Town:
    """An organization with 1,000 events a day, evenly over its hours, since January."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock = database, clock
        self.upstream, self.hook = Upstream(), RecordingChannel()
        self.station = Station(
            database, self.upstream, [ACME], clock, channels=[self.hook], history=60 * DAY
        )
        self.counts("2026-01-01", "2026-05-01", 1000)

    def counts(self, first: str, last: str, n: int) -> None:
        for day in each_day(date.fromisoformat(first), date.fromisoformat(last)):
            self.upstream.set(ACME, day, pageview=n)

    def poll(self, at: str, *, today: int | None = None) -> list[tuple[str, str]]:
        """Poll at a time; `today` events by then, or what an even day has."""
        now = datetime.fromisoformat(f"{at}:00Z")
        self.clock.set(now)
        usual = self.upstream.counts[ACME.organization][now.date()]
        part = usual["pageview"] * now.hour // 24 if today is None else today
        self.upstream.set(ACME, now.date(), pageview=part)
        told = len(self.hook.sent)
        self.station.cycle()
        self.upstream.set(ACME, now.date(), **usual)
        alerts = [message.bodies[0]["alert"] for message in self.hook.sent[told:]]
        return [(each["rule"], each["reason"]) for each in alerts]

    def hours(self, first: str, n: int, *, today: int | None = None) -> list[tuple[str, str]]:
        start = datetime.fromisoformat(f"{first}:00Z")
        times = [(start + hour * HOUR).strftime("%Y-%m-%dT%H:%M") for hour in range(n)]
        return [told for at in times for told in self.poll(at, today=today)]


@pytest.fixture
def town(database: Database, clock: FakeClock) -> Town:
    return Town(database, clock)


def test_a_month_that_will_exceed_is_told_with_its_day(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 1200)
    assert town.poll("2026-03-15T12:00") == [("forecast", "will_exceed")]
    assert town.poll("2026-03-16T12:00") == []


@pytest.mark.parametrize("damaged", ["{", "[]", '{"outlook":{}}', "shortened"])
def test_a_damaged_outlook_is_fitted_again(town: Town, damaged: str) -> None:
    town.poll("2026-03-15T12:00")
    outlook = organization.c.outlook
    with town.database.write() as connection:
        stored = connection.scalar(select(outlook))
        assert stored is not None
        if damaged == "shortened":
            damaged = re.sub(r'"factors":\[[^]]*\]', '"factors":[]', stored)
        connection.execute(update(organization).values(outlook=damaged))
    assert town.poll("2026-03-15T13:00", today=900) == []
    with town.database.read() as connection:
        assert statuses(connection, [ACME], now=town.clock.now())[0].last_error is None
        assert connection.scalar(select(outlook)) not in (None, damaged)


def test_a_month_that_fits_is_not_told(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 800)
    assert town.poll("2026-03-15T12:00") == []


def test_the_limit_that_is_reached_overtakes_the_forecast_without_a_message(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 1200)
    town.poll("2026-03-15T12:00")
    assert town.poll("2026-03-26T12:00") == [("threshold", "level_reached")]
    with town.database.read() as connection:
        stories = alerts(connection, None, only_open=False)
    ended = [each for each in stories if each.rule == "forecast"]
    assert [each.reason for each in ended] == ["overtaken"]


def test_what_keeps_incidents_hears_that_a_forecast_was_overtaken(town: Town) -> None:
    town.hook.keeps_incidents = True
    town.counts("2026-03-01", "2026-03-31", 1200)
    town.poll("2026-03-15T12:00")
    told = town.poll("2026-03-26T12:00")
    assert sorted(told) == [("forecast", "overtaken"), ("threshold", "level_reached")]


def test_blindness_is_critical_on_the_eve_of_the_likely_crossing(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 1200)
    town.poll("2026-03-15T12:00")
    town.upstream.errors[ACME.organization] = NO_ANSWER
    town.hours("2026-03-16T00:00", 4)
    town.hours("2026-03-25T00:00", 2)
    told = [message.bodies[0]["alert"] for message in town.hook.sent]
    blind = [each["severity"] for each in told if each["rule"] == "blind"]
    assert blind == ["warning", "critical"]


def test_a_forecast_that_clears_up_ends_its_alert(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-12", 1500)
    assert town.poll("2026-03-12T12:00") == [("forecast", "will_exceed")]
    town.counts("2026-03-12", "2026-03-31", 100)
    assert town.poll("2026-03-25T12:00") == [("forecast", "no_longer_likely")]


def test_the_forecast_is_shown_as_it_was_kept(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 1200)
    town.poll("2026-03-15T12:00")
    with town.database.read() as connection:
        (status,) = statuses(connection, [ACME], now=town.clock.now())
    assert status.forecast.p10 <= status.forecast.p50 <= status.forecast.p90
    assert status.forecast.probability_over > 0.9
    assert status.crosses_on.day in {25, 26}


def test_a_day_far_above_the_usual_is_told_once(town: Town) -> None:
    town.poll("2026-03-09T12:00")
    told = town.hours("2026-03-10T10:00", 3, today=9000)
    assert told.count(("spike", "above_expected")) == 1


def test_events_that_stop_for_a_day_are_told_and_their_return_too(town: Town) -> None:
    town.hours("2026-03-08T00:00", 24)
    town.counts("2026-03-09", "2026-03-10", 0)
    told = town.hours("2026-03-09T00:00", 40, today=0)
    assert told.count(("stalled", "no_events")) == 1
    assert town.hours("2026-03-11T00:00", 12).count(("stalled", "events_again")) == 1


def test_one_forecast_a_day_is_kept(town: Town) -> None:
    town.hours("2026-03-09T20:00", 8)
    with town.database.read() as connection:
        kept = connection.execute(forecasts.select().order_by(forecasts.c.as_of)).all()
    assert [row.as_of for row in kept] == [date(2026, 3, 8), date(2026, 3, 9)]


def test_a_rule_that_is_switched_off_takes_its_open_story_with_it(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 1200)
    town.poll("2026-03-15T12:00")
    off = replace(ACME, forecast=False)
    town.station = Station(town.database, town.upstream, [off], town.clock, channels=[town.hook])
    assert town.poll("2026-03-16T12:00") == [("forecast", "switched_off")]
    assert town.poll("2026-03-17T12:00") == []


def test_events_that_are_dropped_are_not_called_stalled_on_the_day_after_the_crossing(
    town: Town,
) -> None:
    town.counts("2026-03-01", "2026-03-18", 1650)
    town.poll("2026-03-19T00:00")
    assert town.hours("2026-03-19T12:00", 10, today=700)[0] == ("threshold", "level_reached")
    town.counts("2026-03-19", "2026-03-19", 700)
    assert town.hours("2026-03-20T00:00", 24, today=0) == []


def test_a_limit_raised_on_the_day_after_the_crossing_does_not_show_as_stalled(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-18", 1650)
    town.counts("2026-03-20", "2026-03-20", 0)
    town.hours("2026-03-19T12:00", 10, today=700)
    town.counts("2026-03-19", "2026-03-19", 700)
    town.hours("2026-03-20T00:00", 20)
    more = replace(ACME, limit=90_000)
    town.station = Station(town.database, town.upstream, [more], town.clock, channels=[town.hook])
    assert town.hours("2026-03-20T20:00", 3) == [("threshold", "limit_changed")]


def test_what_is_dropped_past_the_limit_is_not_stalled(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-20", 1490)
    town.hours("2026-03-20T00:00", 24)
    told = town.hours("2026-03-21T00:00", 24, today=210)
    town.counts("2026-03-21", "2026-03-21", 210)
    town.counts("2026-03-22", "2026-03-31", 0)
    told += town.hours("2026-03-22T00:00", 26, today=0)
    assert told == [("threshold", "level_reached")]


def test_the_first_poll_learns_nothing_from_days_that_a_limit_capped_before(town: Town) -> None:
    town.counts("2026-02-01", "2026-02-20", 1600)
    town.counts("2026-02-21", "2026-02-28", 1)
    town.counts("2026-03-01", "2026-03-31", 1600)
    town.clock.set(datetime.fromisoformat("2026-03-10T00:00:00Z"))
    (outcome,) = town.station.poll()
    assert outcome.known.forecast is not None
    assert outcome.known.forecast.p50 > 45_000


def _likely(database: Database) -> dict[str, str]:
    """Return the dates told, by the last whole day they were told from."""
    columns = forecasts.c
    with database.read() as connection:
        rows = connection.execute(select(columns.as_of, columns.state).order_by(columns.as_of))
        return {row.as_of.isoformat(): row.state["crosses_on"]["likely"] for row in rows}


@pytest.mark.parametrize(("first", "told"), [(12, "2026-03-27"), (13, "2026-03-26")])
def test_the_date_that_was_told_the_day_before_is_kept_while_it_is_about_as_likely(
    town: Town, database, first, told
) -> None:
    for n in range(1, 25):
        town.counts(f"2026-03-{n:02}", f"2026-03-{n:02}", 1300 if n % 3 else 1000)
    for n in range(first, 14):
        town.poll(f"2026-03-{n:02}T23:00")
    assert _likely(database)["2026-03-12"] == told


def test_a_date_is_told_anew_once_the_limit_is_another(town: Town, database) -> None:
    town.counts("2026-03-01", "2026-03-31", 1200)
    town.poll("2026-03-14T12:00")
    town.station = Station(database, town.upstream, [replace(ACME, limit=33_000)], town.clock)
    town.poll("2026-03-15T12:00")
    before, after = _likely(database).values()
    assert date.fromisoformat(after) - date.fromisoformat(before) >= 2 * DAY
