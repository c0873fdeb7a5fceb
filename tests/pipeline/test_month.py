"""A month and a half of pretended time: every count exact, every step of every story told once."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from quota_watch.model.period import DayCounts, each_day
from quota_watch.model.source import Organization
from quota_watch.model.watch import Watch
from quota_watch.storage.database import Database
from quota_watch.storage.schema import alert, delivery, organization, snapshot
from support.clock import FakeClock
from support.watching import NO_ANSWER, RecordingChannel, Station, watch

HOUR = timedelta(hours=1)
HOURS = 46 * 24
STEP = 3
"""A poll every so many hours, to be quick."""

RAISED_AT = datetime(2026, 3, 20, tzinfo=UTC)

Hourly = Callable[[datetime], dict[str, int]]


def at(text: str) -> datetime:
    """`03-11 10` is the 11th of March 2026 at 10:00."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H").replace(tzinfo=UTC)


def steady(**per_hour: int) -> Hourly:
    return lambda _: per_hour


def once(text: str, n: int) -> Hourly:
    return lambda hour: {"pageview": n} if hour == at(text) else {}


TRAFFIC: dict[str, Hourly] = {
    "growing": steady(pageview=2, custom_event=1, error=100),
    "raised": steady(pageview=3),
    "viral": once("03-10 12", 939),
    "jumping": once("03-05 06", 1200),
    "corrected": once("03-03 00", 900),
    "cut off": steady(outbound=1),
}
CORRECTION = (at("03-04 01"), at("03-05 01"), {"pageview": 700})
"""For a day upstream says that there were fewer events on the 3rd than it said before and after."""

BLIND_AFTER = timedelta(hours=8)
OUTAGES = [
    (at("03-07 03"), at("03-07 03")),
    (at("03-08 09"), at("03-08 15")),
    (at("03-09 09"), at("03-09 21")),
    (at("03-24 00"), at("03-24 09")),
    (at("03-31 18"), at("04-01 06")),
]

TOLD = [
    ("03-03 03", "corrected", "fired", 90),
    ("03-04 03", "corrected", "fired", None),
    ("03-05 09", "jumping", "fired", 100),
    ("03-09 18", "cut off", "fired", None),
    ("03-10 00", "cut off", "resolved", None),
    ("03-10 15", "viral", "fired", 90),
    ("03-11 12", "growing", "fired", 75),
    ("03-11 12", "raised", "fired", 75),
    ("03-13 12", "growing", "escalated", 90),
    ("03-13 12", "raised", "escalated", 90),
    ("03-15 00", "growing", "escalated", 100),
    ("03-15 00", "raised", "escalated", 100),
    ("03-20 00", "raised", "resolved", 100),
    ("03-21 21", "raised", "fired", 75),
    ("03-24 09", "cut off", "fired", None),
    ("03-24 12", "cut off", "resolved", None),
    ("03-26 00", "raised", "escalated", 90),
    ("03-28 21", "raised", "escalated", 100),
    ("04-01 00", "corrected", "resolved", 90),
    ("04-01 00", "growing", "resolved", 100),
    ("04-01 00", "jumping", "resolved", 100),
    ("04-01 00", "raised", "resolved", 100),
    ("04-01 00", "viral", "resolved", 90),
    ("04-01 03", "cut off", "fired", None),
    ("04-01 09", "cut off", "resolved", None),
    ("04-11 12", "growing", "fired", 75),
    ("04-13 12", "growing", "escalated", 90),
    ("04-15 00", "growing", "escalated", 100),
]


def watched(name: str, limit: int = 1000) -> Watch:
    return watch(name, limit=limit, blind_after=BLIND_AFTER, channels=("hook", "mail"))


class Upstream:
    """Counts by day what TRAFFIC says by hour, up to now."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._days: dict[str, dict[date, dict[str, int]]] = {name: {} for name in TRAFFIC}

    def hours_go_by(self, hours: int = STEP) -> None:
        for _ in range(hours):
            self._an_hour_goes_by()

    def _an_hour_goes_by(self) -> None:
        for name, hourly in TRAFFIC.items():
            counts = self._days[name].setdefault(self._clock.now().date(), {})
            for kind, n in hourly(self._clock.now()).items():
                counts[kind] = counts.get(kind, 0) + n
        self._clock.advance(HOUR)

    def counts(self, name: str) -> dict[date, dict[str, int]]:
        begins, ends, corrected = CORRECTION
        if name == "corrected" and begins <= self._clock.now() < ends:
            return self._days[name] | {date(2026, 3, 3): corrected}
        return self._days[name]

    def answers(self, name: str) -> bool:
        now = self._clock.now()
        return name != "cut off" or not any(first <= now <= last for first, last in OUTAGES)

    def days(self, asked: Organization, start: date, end: date) -> Sequence[DayCounts]:
        name = asked.id.removeprefix("org_")
        if not self.answers(name):
            raise NO_ANSWER
        known = self.counts(name)
        return [DayCounts(day, known.get(day, {})) for day in each_day(start, end)]

    def used(self, name: str) -> int:
        """Count this month's events by adding them up, in the plainest way."""
        now = self._clock.now()
        return sum(
            n
            for day, counts in self.counts(name).items()
            for kind, n in counts.items()
            if kind != "error" and (day.year, day.month) == (now.year, now.month)
        )


class Month:
    """The watch of all that traffic, hour by hour."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock = clock
        self.upstream = Upstream(clock)
        self.database = database
        self.channels = [
            RecordingChannel("hook"), RecordingChannel("mail", takes_period_ends=False)
        ]  # fmt: skip
        self.heard: list[tuple[str, str, str, int | None]] = []
        self.station = self._station(1000)

    def _station(self, raised: int) -> Station:
        all_watched = [watched(name) for name in TRAFFIC if name != "raised"]
        all_watched.append(watched("raised", raised))
        return Station(
            self.database,
            self.upstream,
            all_watched,
            self.clock,
            channels=self.channels,
            interval=STEP * HOUR,
            concurrency=1,
        )

    def poll(self) -> None:
        if self.clock.now() == RAISED_AT:
            self.station = self._station(2000)
        hook = self.channels[0]
        before = len(hook.sent)
        self.station.cycle()
        now = f"{self.clock.now():%m-%d %H}"
        self.heard += sorted((now, *step) for step in hook.told()[before:])

    def known(self) -> dict[str, Any]:
        with self.database.read() as connection:
            return {row.name: row for row in connection.execute(select(organization))}


@pytest.fixture
def month(database: Database, clock: FakeClock) -> Month:
    return Month(database, clock)


def test_a_month_and_a_half_is_watched_to_the_event(month: Month) -> None:
    last_known = {}
    for _ in range(HOURS // STEP):
        month.poll()
        for name, row in month.known().items():
            if month.upstream.answers(name):
                last_known[name] = month.upstream.used(name)
            assert row.used == last_known[name], (name, month.clock.now())
        month.upstream.hours_go_by()
    assert month.heard == TOLD
    _nothing_is_left_undone(month)


def _nothing_is_left_undone(month: Month) -> None:
    hook, mail = month.channels
    ends = [step for step in TOLD if step[0] == "04-01 00" and step[2] == "resolved"]
    assert len(mail.sent) == len(hook.sent) - len(ends)
    assert len({message.id for message in hook.sent + mail.sent}) == len(hook.sent + mail.sent)
    with month.database.read() as connection:
        states = connection.execute(select(delivery.c.state, func.count()).group_by("state"))
        assert [tuple(row) for row in states] == [("done", len(hook.sent) + len(mail.sent))]
        fired = [step for step in TOLD if step[2] == "fired"]
        assert connection.scalar(select(func.count()).select_from(alert)) == len(fired)
        failed = sum((last - first) // (STEP * HOUR) + 1 for first, last in OUTAGES)
        polls = HOURS // STEP * len(TRAFFIC) - failed
        assert connection.scalar(select(func.count()).select_from(snapshot)) == polls


def test_a_clock_that_is_wrong_for_a_while_tells_nothing_twice(
    database: Database, clock: FakeClock
) -> None:
    """It goes back by a day, a month and a year, and forward again, in the middle of a story."""
    month = Month(database, clock)
    month.upstream.hours_go_by(12 * 24)
    month.poll()
    told = list(month.heard)
    assert ("growing", "fired", 75) in [step[1:] for step in told]
    for days in (1, 31, 365, -400, 3):
        right = clock.now()
        for wrong in (right - timedelta(days=days), right):
            clock.set(wrong)
            assert len(month.station.cycle()) == len(TRAFFIC), wrong
            clock.advance(STEP * HOUR)
    steps = month.channels[0].told()
    assert len(steps) == len(set(steps)), steps
