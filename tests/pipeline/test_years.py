"""More than a year of traffic, failures, restarts and wrong clocks.

What must always hold is looked at after every step.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from quota_watch.messages.facts import Message
from quota_watch.model.period import Period
from quota_watch.model.watch import Watch
from quota_watch.pipeline.poll import Outcome
from quota_watch.storage.claims import LEASE
from quota_watch.storage.database import Database
from quota_watch.storage.schema import alert, delivery
from support.clock import FakeClock
from support.databases import Opened
from support.faults import A_THREAD_IS_KILLED, NOTHING_IS_CLOSED, Killed, killed_at
from support.threads import wait_until_polled
from support.watching import NO_ANSWER, RecordingChannel, Station, Upstream, refuse, watch

HOUR = timedelta(hours=1)
MOST_STATEMENTS = 60


class World:
    """Organizations whose traffic is known to the event, the watch over them, and chance."""

    def __init__(self, database: Database, clock: FakeClock, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 -- the same chance at every run
        self.clock, self.database = clock, database
        self.upstream = Upstream()
        self.channels = [RecordingChannel("hook"), RecordingChannel("mail")]
        self.limits = {"calm": 1_000_000, "rising": 1_000, "wild": 300}
        self.station = self._started()
        self.outage_until = clock.now()
        self.told: dict[str, tuple[set[str], dict[str, list[tuple[str, int | None]]]]] = {}

    def watches(self) -> list[Watch]:
        return [
            watch(name, limit=limit, blind_after=12 * HOUR, channels=("hook", "mail"))
            for name, limit in self.limits.items()
        ]

    def _started(self) -> Station:
        wait_until_polled()
        return Station(
            self.database,
            self.upstream,
            self.watches(),
            self.clock,
            channels=self.channels,
            interval=6 * HOUR,
            concurrency=2,
        )

    def step(self, *, calm: bool = False) -> list[Outcome]:
        """Let some hours go by, let something happen unless all is calm, and take a cycle."""
        self.clock.advance(self.dice.randrange(7, 60) * HOUR)
        self._traffic()
        for happens, chance in (
            (self._restart, 0.1),
            (self._kill, 0.1),
            (self._cut_off, 0.1),
            (self._outage, 0.1),
            (self._wrong_clock, 0.05),
            (self._other_limit, 0.01),
        ):
            if self.dice.random() < chance and not calm:
                happens()
        refusing = self.clock.now() < self.outage_until and not calm
        for channel in self.channels:
            channel.script = refuse() if refusing else lambda _: None
        return self.station.cycle()

    def _traffic(self) -> None:
        today = self.clock.now().date()
        for each, per_step in zip(self.watches(), (100, 45, 40), strict=True):
            day = today - timedelta(days=self.dice.random() < 0.1)  # sometimes late, for yesterday
            counts = self.upstream.counts.setdefault(each.organization, {})
            known = counts.get(day, {"pageview": 0, "error": 0})
            more = self.dice.randrange(-per_step // 4, per_step)  # sometimes fewer than before
            pageviews = max(0, known["pageview"] + more)
            counts[day] = {"pageview": pageviews, "error": known["error"] + per_step}

    def _restart(self) -> None:
        self.station = self._started()

    def _kill(self) -> None:
        with (
            killed_at(self.station.database, self.dice.randrange(1, MOST_STATEMENTS)),
            suppress(Killed),
        ):
            self.station.poll()
        self.station = self._started()
        self.clock.advance(LEASE)

    def _cut_off(self) -> None:
        each = self.dice.choice(self.watches()).organization
        if self.upstream.errors.pop(each, None) is None:
            self.upstream.errors[each] = NO_ANSWER

    def _outage(self) -> None:
        if self.clock.now() > self.outage_until + 24 * HOUR:
            self.outage_until = self.clock.now() + self.dice.randrange(1, 30) * HOUR

    def _wrong_clock(self) -> None:
        right = self.clock.now()
        self.clock.set(right - timedelta(hours=self.dice.randrange(1, 1000)))
        self.station.cycle()
        self.clock.set(right + LEASE)

    def _other_limit(self) -> None:
        name = self.dice.choice(list(self.limits))
        self.limits[name] = int(self.limits[name] * self.dice.choice((0.5, 2)))
        self.station = self._started()

    def used(self, outcome: Outcome) -> int:
        """Count the events of an outcome's period up to its day, in the plainest way."""
        first, last = outcome.poll.period.start, outcome.poll.at.date()
        counts = self.upstream.counts[outcome.poll.watch.organization]
        return sum(of_day["pageview"] for day, of_day in counts.items() if first <= day <= last)

    def stories(self, pk: int, period: Period) -> list[Mapping[str, Any]]:
        """Return what is open of an organization, and all of the period."""
        columns = alert.c
        query = select(columns.rule, columns.level, columns.limit, columns.period_start,
                       columns.ended_at).where(
            columns.organization_pk == pk,
            columns.ended_at.is_(None) | (columns.period_start == period.start),
        )  # fmt: skip
        with self.database.read() as connection:
            return list(connection.execute(query).mappings())


@A_THREAD_IS_KILLED
@NOTHING_IS_CLOSED
@pytest.mark.parametrize(
    ("open_database", "days", "seed"),
    [("sqlite", 400, 1), ("postgresql", 40, 2)],
    indirect=["open_database"],
)
def test_a_year_of_trouble_changes_nothing_of_what_must_always_hold(
    open_database: Opened, clock: FakeClock, days: int, seed: int
) -> None:
    world = World(open_database(), clock, seed)
    ends, looked_at = clock.now() + timedelta(days=days), 0
    while world.clock.now() < ends:
        outcomes = world.step()
        for outcome in outcomes:
            if outcome.poll.error is None:
                counts_are_true(world, outcome)
                levels_reached_are_known(world, outcome)
        looked_at += nothing_is_told_twice_or_out_of_order(world)
    nothing_stays_open_or_untold(world)
    assert looked_at > 50


def counts_are_true(world: World, outcome: Outcome) -> None:
    assert outcome.known.usage is not None
    assert outcome.known.usage.used == world.used(outcome)


def levels_reached_are_known(world: World, outcome: Outcome) -> None:
    """What is reached has its story, and nothing of an earlier month or of blindness goes on."""
    watched, pk = outcome.poll.watch, outcome.poll.claim.pk
    ours = world.stories(pk, outcome.poll.period)
    reached = [n for n in watched.thresholds if 100 * world.used(outcome) >= n * watched.limit]
    told = [
        story["level"]
        for story in ours
        if story["rule"] == "threshold"
        and (story["period_start"], story["limit"]) == (outcome.poll.period.start, watched.limit)
    ]
    assert max(reached, default=0) <= max(told, default=0)
    still = [story for story in ours if story["ended_at"] is None]
    assert {story["period_start"] for story in still} <= {outcome.poll.period.start}
    assert "blind" not in {story["rule"] for story in still}


def facts_of(message: Message) -> Iterator[Mapping[str, Any]]:
    yield from message.bodies if isinstance(message.bodies, tuple) else (message.bodies,)


def nothing_is_told_twice_or_out_of_order(world: World) -> int:
    for channel in world.channels:
        seen, told = world.told.setdefault(channel.name, (set(), {}))
        for message in channel.sent[len(seen) :]:
            assert message.id not in seen
            seen.add(message.id)
            for facts in facts_of(message):
                steps = told.setdefault(facts["alert"]["id"], [])
                step = facts["type"], facts["alert"]["level"]
                assert steps or step[0] == "alert.fired", facts
                assert "alert.resolved" not in {kind for kind, _ in steps}, facts
                assert facts["alert"]["rule"] != "threshold" or step not in steps, facts
                steps.append(step)
    return len(world.channels[0].sent)


def nothing_stays_open_or_untold(world: World) -> None:
    world.upstream.errors.clear()
    for days in (0, 40):
        world.clock.advance(timedelta(days=days))
        for outcome in world.step(calm=True):
            levels_reached_are_known(world, outcome)
    with world.database.read() as connection:
        assert set(connection.scalars(select(delivery.c.state))) == {"done"}
