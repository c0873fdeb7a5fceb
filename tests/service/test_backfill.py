from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from quota_watch.model.period import DayCounts, each_day
from quota_watch.model.source import ErrorKind, NotYet, Organization, UpstreamError
from quota_watch.service.backfill import Backfill, Filled, months_back
from quota_watch.storage import claims
from quota_watch.storage.database import Database
from quota_watch.storage.schema import day_usage
from support.clock import FakeClock
from support.databases import open_database, postgres_kept, sqlite_template
from support.domain import watch

__all__ = ["open_database", "postgres_kept", "sqlite_template"]

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
NOVEMBER = date(2025, 11, 20)
REFUSED = UpstreamError(ErrorKind.FORBIDDEN, "the key was refused", may_pass=True)


class Past:
    """Upstream's past: `used` counted events a day; `answers` by month are raised or returned."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[Exception]] = {}
        self.used = 10
        self.rows = slice(None)

    def __call__(self, organization: Organization, start: date, end: date) -> Sequence[DayCounts]:
        month = f"{start:%Y-%m}"
        self.asked.append(month)
        if self.answers.get(month):
            raise self.answers[month].pop(0)
        return [DayCounts(day, {"pageview": self.used}) for day in each_day(start, end)][self.rows]


class Work:
    """A backfill of one organization, and what it said and waited."""

    def __init__(self, database: Database) -> None:
        self.past, self.clock = Past(), FakeClock(NOON)
        self.notes: list[str] = []
        self.waits: list[float] = []
        self.steps: list[int] = []
        self.database = database
        self.watch = watch(limit=None)

    def run(self, first: date = NOVEMBER, *, again: bool = False) -> Filled:
        with self.database.write() as connection:
            keys = claims.register(connection, [self.watch], now=NOON)
        backfill = Backfill(
            database=self.database,
            ask=self.past,
            clock=self.clock,
            sleep=self.waits.append,
            note=self.notes.append,
            done=self.steps.append,
        )
        return backfill.fill(keys[self.watch.organization], self.watch, first, again=again)

    def kept(self) -> list[date]:
        with self.database.read() as connection:
            return list(connection.scalars(select(day_usage.c.date).order_by(day_usage.c.date)))


@pytest.fixture
def work(database: Database) -> Work:
    return Work(database)


@pytest.fixture
def database(open_database) -> Database:
    return open_database()


def months(periods) -> list[str]:
    return [f"{period.start:%Y-%m}" for period in periods]


ALL = ["2026-02", "2026-01", "2025-12", "2025-11"]


def test_whole_months_are_fetched_the_newest_first(work: Work) -> None:
    filled = work.run()
    assert work.past.asked == months(filled.fetched) == ALL
    assert work.kept() == list(each_day(date(2025, 11, 1), date(2026, 2, 28)))
    assert (sum(work.steps), filled.left, filled.stopped) == (4, [], None)


def test_what_is_stored_already_is_not_asked_for(work: Work) -> None:
    work.run(date(2026, 1, 1))
    filled = work.run()
    assert work.past.asked == ALL
    assert months(filled.present) == ["2026-02", "2026-01"]


def test_again_fetches_it_once_more(work: Work) -> None:
    work.run(date(2026, 2, 1))
    work.clock.advance(60)
    filled = work.run(date(2026, 2, 1), again=True)
    assert months(filled.fetched) == ["2026-02"]


def test_a_month_that_fails_ends_it_and_what_came_stays(work: Work) -> None:
    work.past.answers["2026-01"] = [REFUSED]
    filled = work.run()
    assert filled.stopped is REFUSED
    assert months(filled.left) == ["2026-01", "2025-12", "2025-11"]
    assert work.kept()[0] == date(2026, 2, 1)


def test_it_goes_on_where_it_was_broken_off(work: Work) -> None:
    work.past.answers["2026-01"] = [REFUSED]
    work.run()
    assert work.run().left == []
    assert work.past.asked == ["2026-02", "2026-01", *ALL[1:]]


def test_a_short_wait_for_the_rate_limit_is_waited_and_told(work: Work) -> None:
    work.past.answers["2026-02"] = [NotYet(1.5), NotYet(0.5)]
    assert work.run().left == []
    assert work.waits == [1.5, 0.5]
    assert "Acme 2026-02: waiting for the rate limit" in work.notes


def test_a_spent_day_ends_it(work: Work) -> None:
    work.past.answers["2025-12"] = [NotYet(3600)]
    filled = work.run()
    assert isinstance(filled.stopped, NotYet)
    assert (months(filled.left), work.waits) == (["2025-12", "2025-11"], [])


def test_a_burst_that_others_used_up_is_tried_again_a_few_times(work: Work) -> None:
    limited = UpstreamError(ErrorKind.RATE_LIMITED, "too many requests", may_pass=True)
    work.past.answers = {"2026-02": [limited, limited], "2026-01": [limited] * 3}
    filled = work.run()
    assert (months(filled.fetched), filled.stopped) == (["2026-02"], limited)


def test_a_month_that_is_over_must_have_its_last_day(work: Work) -> None:
    work.past.rows = slice(-1)
    filled = work.run()
    assert "2026-02-28 is missing, though that day is over" in str(filled.stopped)
    assert work.kept() == []


def test_days_past_a_limit_that_drops_are_marked(work: Work) -> None:
    work.watch = watch(limit=200, drops=True)
    with work.database.write() as connection:
        claims.register(connection, [work.watch], now=NOON)
    ask = work.past

    class Collapsing(Past):
        def __call__(self, organization, start, end):
            days = ask(organization, start, end)
            return [replace(d, by_type={"pageview": 1}) if d.day.day > 21 else d for d in days]

    work.past = Collapsing()
    assert work.run(date(2026, 2, 1)).capped == 8


def test_a_run_that_was_killed_before_marking_is_made_up_for(work: Work) -> None:
    work.past.used = 100
    work.run()  # no limit was known then
    with work.database.write() as connection:
        connection.execute(claims.organization.update().values(limit=500, drops=True))
    with work.database.write() as connection:
        late = day_usage.c.date.between(date(2026, 2, 10), date(2026, 2, 28))
        connection.execute(day_usage.update().where(late).values(used=0))
    assert work.run().capped > 0


def test_the_first_of_the_month_begins_with_the_month_that_just_ended() -> None:
    assert months(months_back(date(2026, 1, 31), date(2026, 3, 1))) == ["2026-02", "2026-01"]
    assert months_back(date(2026, 3, 1), date(2026, 3, 15)) == []
