"""Days that are over: fetched once, read again after a period's end, and marked where dropped."""

import logging
from datetime import date, datetime, timedelta

import pytest

from quota_watch.model.period import each_day
from quota_watch.storage.database import Database
from quota_watch.storage.schema import day_usage
from quota_watch.storage.schema import organization as organizations
from support.clock import FakeClock
from support.watching import NO_ANSWER, RecordingChannel, Station, Upstream, watch

DAY = timedelta(days=1)
ACME = watch(limit=3000)


class Town:
    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database, self.clock = database, clock
        self.upstream, self.hook = Upstream(), RecordingChannel()
        self.station = Station(
            database, self.upstream, [ACME], clock, channels=[self.hook], history=90 * DAY
        )

    def counts(self, first: str, last: str, n: int) -> None:
        for day in each_day(date.fromisoformat(first), date.fromisoformat(last)):
            self.upstream.set(ACME, day, pageview=n)

    def poll(self, at: str) -> list[str]:
        self.clock.set(datetime.fromisoformat(f"{at}:00Z"))
        told = len(self.hook.sent)
        self.upstream.ranges.clear()
        self.station.cycle()
        return [message.bodies[0]["alert"]["reason"] for message in self.hook.sent[told:]]

    def closed_ranges(self) -> list[tuple[str, str]]:
        return [(str(a), str(b)) for a, b in self.upstream.ranges if b < self.clock.now().date()]

    def days(self, **where) -> dict[date, object]:
        with self.database.read() as connection:
            return {row.date: row for row in connection.execute(day_usage.select())}


@pytest.fixture
def town(database: Database, clock: FakeClock) -> Town:
    return Town(database, clock)


def test_the_first_poll_fetches_what_was_before_once(town: Town) -> None:
    town.counts("2026-01-10", "2026-03-10", 7)
    town.poll("2026-03-10T12:00")
    assert town.closed_ranges() == [("2025-12-10", "2026-02-28")]
    town.poll("2026-03-11T12:00")
    assert town.closed_ranges() == []
    assert min(town.days()) == date(2026, 1, 10)


def test_a_history_that_can_not_be_had_fails_no_poll_and_is_asked_for_again_tomorrow(
    town: Town,
) -> None:
    town.upstream.before = lambda _: None
    first = town.upstream.days

    def days(organization, start, end):
        if end < town.clock.now().date():
            raise NO_ANSWER
        return first(organization, start, end)

    town.upstream.days = days
    town.poll("2026-03-10T12:00")
    town.upstream.days = first
    town.poll("2026-03-10T18:00")
    assert town.closed_ranges() == []
    town.poll("2026-03-11T12:00")
    assert town.closed_ranges() == [("2025-12-11", "2026-02-28")]


def test_the_last_period_is_read_again_once_a_day_on_the_first_three_days(town: Town) -> None:
    town.poll("2026-03-20T12:00")
    asked = []
    for at in ("04-01T06", "04-01T18", "04-02T06", "04-03T06", "04-04T06"):
        town.poll(f"2026-{at}:00")
        asked.append(town.closed_ranges())
    march = [("2026-03-01", "2026-03-31")]
    assert asked == [march, [], march, march, []]


def test_what_a_closed_day_came_to_first_is_kept_beside_what_it_became(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 10)
    for day in ("03-05", "03-06"):
        town.poll(f"2026-{day}T12:00")
    town.counts("2026-03-04", "2026-03-04", 12)
    town.poll("2026-03-07T12:00")
    changed = {day: row.changed_from for day, row in town.days().items() if row.changed_from}
    assert changed == {date(2026, 3, 4): 10}


def test_a_closed_period_that_changes_by_more_than_a_percent_is_logged(town: Town, caplog) -> None:
    town.counts("2026-03-01", "2026-03-31", 10)
    town.poll("2026-03-20T12:00")
    town.poll("2026-04-01T12:00")
    town.counts("2026-03-30", "2026-03-30", 20)
    with caplog.at_level(logging.WARNING):
        town.poll("2026-04-02T12:00")
    assert [record.message for record in caplog.records] == ["closed period changed"]


def test_a_period_that_turns_out_to_have_ended_over_its_limit_is_told_once(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 60)
    town.poll("2026-03-30T12:00")
    town.counts("2026-03-31", "2026-03-31", 1300)
    assert town.poll("2026-04-01T01:00") == ["closed_over"]
    assert town.poll("2026-04-02T01:00") == []


def test_a_closed_period_that_was_told_of_in_time_is_not_told_again(town: Town) -> None:
    town.counts("2026-03-01", "2026-03-31", 120)
    town.poll("2026-03-30T12:00")
    assert town.poll("2026-04-01T01:00") == ["period_ended"]


def test_days_on_which_events_were_dropped_are_marked_and_stay_so(town: Town) -> None:
    town.counts("2026-01-01", "2026-02-28", 200)
    town.counts("2026-03-01", "2026-03-15", 201)
    town.counts("2026-03-16", "2026-03-20", 2)
    town.poll("2026-03-20T12:00")
    capped = [day.day for day, row in town.days().items() if row.capped]
    assert sorted(capped) == [15, 16, 17, 18, 19, 20]


def test_what_was_lost_is_estimated_from_what_those_days_usually_have(town: Town) -> None:
    town.counts("2026-01-01", "2026-02-28", 200)
    town.counts("2026-03-01", "2026-03-15", 201)
    town.counts("2026-03-16", "2026-03-20", 2)
    town.clock.set(datetime.fromisoformat("2026-03-20T12:00:00Z"))
    (outcome,) = town.station.poll()
    assert outcome.known.lost is not None
    assert outcome.known.lost.low <= 4 * 198 <= outcome.known.lost.high


def test_capped_months_of_the_history_are_marked_too(town: Town) -> None:
    town.counts("2026-01-01", "2026-01-31", 50)
    town.counts("2026-02-01", "2026-02-10", 310)
    town.counts("2026-02-11", "2026-02-28", 1)
    town.poll("2026-03-10T12:00")
    capped = {day.month for day, row in town.days().items() if row.capped}
    assert capped == {2}


def test_the_row_knows_how_far_back_its_days_go(town: Town) -> None:
    town.poll("2026-03-10T12:00")
    with town.database.read() as connection:
        row = connection.execute(organizations.select()).one()
    assert row.history_from == date(2025, 12, 10)


def test_a_period_that_ended_unseen_is_read_again_however_late(town: Town) -> None:
    town.counts("2026-01-01", "2026-03-31", 90)
    town.poll("2026-03-31T12:00")
    town.counts("2026-03-31", "2026-03-31", 900)
    assert "closed_over" in town.poll("2026-04-09T12:00")
    assert town.closed_ranges() == [("2026-03-01", "2026-03-31")]
    assert town.days()[date(2026, 3, 31)].used == 900
    town.poll("2026-04-10T12:00")
    assert town.closed_ranges() == []


def test_after_months_without_a_poll_all_of_them_are_read_again(town: Town) -> None:
    town.counts("2026-01-01", "2026-06-30", 9)
    town.poll("2026-03-20T12:00")
    town.poll("2026-06-01T12:00")
    assert town.closed_ranges() == [("2026-03-01", "2026-05-31")]
