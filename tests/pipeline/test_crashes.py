"""Killed at any statement, started again: nothing is lost and nothing is told twice."""

import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, insert, select

from quota_watch.messages.facts import Message
from quota_watch.model.watch import Watch
from quota_watch.storage.claims import LEASE
from quota_watch.storage.database import Database
from quota_watch.storage.schema import alert, day_usage, metadata, organization, snapshot
from support.clock import START, FakeClock
from support.databases import Opened, empty
from support.faults import A_THREAD_IS_KILLED, NOTHING_IS_CLOSED, Killed, killed_at
from support.threads import wait_until_polled
from support.watching import NO_ANSWER, RecordingChannel, Station, Upstream, watch

HOUR = timedelta(hours=1)
NAMES = ("rising", "leaping", "raised", "lost")
BEFORE = RISING, LEAPING, RAISED, LOST = [watch(name, blind_after=HOUR) for name in NAMES]
AFTER = [RISING, LEAPING, replace(RAISED, limit=200), LOST]


class Crossroads:
    """One cycle away from: an alert, a higher level, an end with a new beginning, blindness."""

    def __init__(self, databases: list[Database]) -> None:
        self.clock = FakeClock()
        self.upstream = Upstream()
        self.hook = RecordingChannel()
        self._databases = databases
        self._processes = 0
        for each, used in ((RISING, 10), (LEAPING, 80), (RAISED, 170), (LOST, 5)):
            self.upstream.set(each, START.date(), pageview=used)
        station = self._station(databases[0], BEFORE)
        station.cycle()
        self.upstream.errors[LOST.organization] = NO_ANSWER
        self.clock.advance(HOUR)
        station.poll()
        self.clock.advance(HOUR)
        self.upstream.set(RISING, START.date(), pageview=75, error=3)
        self.upstream.set(LEAPING, START.date(), pageview=100)

        self._kept = kept(databases[0])
        self._then = self.clock.now()
        self._sent = list(self.hook.sent)

    def back_again(self) -> None:
        """Be where it was in the beginning."""
        self._processes = 0
        put_back(self._databases[0], self._kept)
        self.clock.set(self._then)
        self.hook.sent = list(self._sent)

    def started(self) -> Station:
        """Start a process; what the last one had claimed is free once its lease is over."""
        wait_until_polled()
        self.clock.advance(LEASE)
        self._processes += 1
        return self._station(self._databases[self._processes], AFTER)

    def _station(self, database: Database, watched: Iterable[Watch]) -> Station:
        return Station(database, self.upstream, watched, self.clock, channels=[self.hook])

    def poll_in_one_batch(self, station: Station) -> None:
        """Poll with all answers at once, so that the same statements come in the same order."""
        together = threading.Barrier(len(NAMES), timeout=10)
        self.upstream.before = lambda _: together.wait()
        try:
            station.poll()
        finally:
            self.upstream.before = lambda _: None

    def state(self) -> dict[str, Any]:
        told = ("rule", "limit", "occurrence", "level", "severity", "reason", "ended_at")
        with self._databases[0].read() as connection:
            rows = connection.execute(select(alert).order_by(alert.c.key)).mappings().all()
            counted = select(organization.c.id, organization.c.used, day_usage.c.counts)
            query = counted.join(day_usage).order_by(organization.c.id)
            return {
                "told": sorted(self.hook.told()),
                "ids": max(Counter(message.id for message in self.hook.sent).values()),
                "stories": [
                    [bool(row[name]) if name == "ended_at" else row[name] for name in told]
                    + [(step["type"], step["level"]) for step in row["transitions"]]
                    for row in rows
                ],
                "counted": [tuple(row) for row in connection.execute(query)],
                "snapshots": len(connection.execute(select(snapshot)).all()),
            }


def kept(database: Database) -> dict[Table, list[dict[str, Any]]]:
    with database.read() as connection:
        return {
            table: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }


def put_back(database: Database, kept: dict[Table, list[dict[str, Any]]]) -> None:
    empty(database)
    with database.write() as connection:
        for table, rows in kept.items():
            if rows:
                connection.execute(insert(table), rows)


@pytest.fixture
def crossroads(open_database: Opened) -> Crossroads:
    return Crossroads([open_database() for _ in range(3)])


@pytest.fixture
def undisturbed(crossroads: Crossroads) -> tuple[dict[str, Any], int]:
    """What becomes of it where nothing goes wrong, and in how many statements."""
    station = crossroads.started()
    with killed_at(station.database, 0) as statements:
        crossroads.poll_in_one_batch(station)
    station.deliver()
    state = crossroads.state()
    crossroads.back_again()
    return state, statements()


def test_the_crossroads_leads_everywhere(undisturbed: tuple[dict[str, Any], int]) -> None:
    state, statements = undisturbed
    assert state["told"] == [
        ("leaping", "escalated", 100),
        ("leaping", "fired", 75),
        ("lost", "fired", None),
        ("raised", "fired", 75),
        ("raised", "fired", 100),
        ("raised", "resolved", 100),
        ("rising", "fired", 75),
    ]
    assert state["ids"] == 1
    assert statements > 40


@A_THREAD_IS_KILLED
@NOTHING_IS_CLOSED
def test_killed_at_any_statement_of_a_poll_it_goes_on_as_if_nothing_had_been(
    crossroads: Crossroads, undisturbed: tuple[dict[str, Any], int]
) -> None:
    (expected, statements), killed = undisturbed, 0
    for statement in range(1, statements + 1):
        station = crossroads.started()
        with killed_at(station.database, statement) as done, suppress(Killed):
            crossroads.poll_in_one_batch(station)
        killed += done() == statement
        crossroads.started().cycle()
        assert crossroads.state() == expected, f"killed at statement {statement}"
        crossroads.back_again()
    assert killed > 40  # a search for what is due more or less, as threads have it


def test_killed_right_after_the_commit_it_tells_what_was_decided(
    crossroads: Crossroads, undisturbed: tuple[dict[str, Any], int]
) -> None:
    station = crossroads.started()
    next(station.watcher.watch(station.due.due()))
    station.due.finish_all()
    crossroads.started().cycle()
    assert crossroads.state() == undisturbed[0]


@A_THREAD_IS_KILLED
def test_killed_while_it_hands_over_it_hands_over_again(
    crossroads: Crossroads, undisturbed: tuple[dict[str, Any], int]
) -> None:
    def killed(_: Message) -> None:
        raise Killed

    crossroads.hook.script = killed
    crossroads.started().cycle()
    crossroads.hook.script = lambda _: None
    crossroads.started().cycle()
    assert crossroads.state() == undisturbed[0]


@A_THREAD_IS_KILLED
def test_killed_at_any_statement_of_a_delivery_it_repeats_that_one_at_most(
    crossroads: Crossroads, undisturbed: tuple[dict[str, Any], int]
) -> None:
    """What was handed over and not yet committed goes out again, with the same id."""
    for statement in range(1, 15):  # two deliveries and the beginning of a third
        station = crossroads.started()
        station.poll()
        with killed_at(station.database, statement) as done, suppress(Killed):
            station.deliver()
        assert done() == statement
        crossroads.started().cycle()
        repeated = Counter(message.id for message in crossroads.hook.sent)
        assert repeated.total() - len(repeated) <= 1
        assert set(crossroads.state()["told"]) == set(undisturbed[0]["told"])
        crossroads.back_again()
