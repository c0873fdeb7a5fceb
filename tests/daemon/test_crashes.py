"""Killed at any statement, started again: nothing is lost and nothing is told twice."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from quota_watch.domain.rules import Watch
from quota_watch.notify.channel import Message
from quota_watch.storage.claims import LEASE
from quota_watch.storage.database import Database
from quota_watch.storage.schema import alert, day_usage, organization, snapshot
from support.clock import START, FakeClock
from support.databases import Opened, empty
from support.threads import wait_until_polled
from support.watching import NO_ANSWER, RecordingChannel, Station, Upstream, watch

HOUR = timedelta(hours=1)
NAMES = ("rising", "leaping", "raised", "lost")
BEFORE = RISING, LEAPING, RAISED, LOST = [watch(name, blind_after=HOUR) for name in NAMES]
AFTER = [RISING, LEAPING, replace(RAISED, limit=200), LOST]
A_THREAD_IS_KILLED = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)


class Killed(BaseException):
    """What nobody catches, like the end of the process."""


class Crossroads:
    """One cycle away from: an alert, a higher level, an end with a new beginning, blindness."""

    def __init__(self, process: Database, *others: Database) -> None:
        self.clock = FakeClock()
        self.upstream = Upstream()
        self.hook = RecordingChannel()
        self.database = process
        self._processes = iter(others)
        empty(process)
        for each, used in ((RISING, 10), (LEAPING, 80), (RAISED, 170), (LOST, 5)):
            self.upstream.set(each, START.date(), pageview=used)
        station = self._station(process, BEFORE)
        station.cycle()
        self.upstream.errors[LOST.organization] = NO_ANSWER
        self.clock.advance(HOUR)
        station.poll()
        self.clock.advance(HOUR)
        self.upstream.set(RISING, START.date(), pageview=75, error=3)
        self.upstream.set(LEAPING, START.date(), pageview=100)

    def started(self) -> Station:
        """Start a process; what the last one had claimed is free once its lease is over."""
        wait_until_polled()
        self.clock.advance(LEASE)
        return self._station(next(self._processes), AFTER)

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
        with self.database.read() as connection:
            rows = connection.execute(select(alert).order_by(alert.c.key)).mappings().all()
            counted = select(organization.c.id, organization.c.used, day_usage.c.counts)
            query = counted.join(day_usage).order_by(organization.c.id)
            return {
                "told": sorted(map(str, self.hook.told())),
                "ids": max(Counter(message.id for message in self.hook.sent).values()),
                "stories": [
                    [bool(row[name]) if name == "ended_at" else row[name] for name in told]
                    + [(step["type"], step["level"]) for step in row["transitions"]]
                    for row in rows
                ],
                "counted": [tuple(row) for row in connection.execute(query)],
                "snapshots": len(connection.execute(select(snapshot)).all()),
            }


@contextmanager
def killed_at(database: Database, statement: int) -> Iterator[Callable[[], int]]:
    """Kill who executes or commits as the `statement`-th; yields how many there were so far."""
    done = 0

    def step(*_: object) -> None:
        nonlocal done
        done += 1
        if done == statement:
            raise Killed

    engines = {database._reader, database._writer}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", step)
        event.listen(engine, "commit", step)
    yield lambda: done
    for engine in engines:
        event.remove(engine, "before_cursor_execute", step)
        event.remove(engine, "commit", step)


@pytest.fixture
def processes(open_database: Opened) -> list[Database]:
    """As many ways into one database as there are processes in a test, one after the other."""
    return [open_database() for _ in range(3)]


@pytest.fixture
def undisturbed(processes: list[Database]) -> tuple[dict[str, Any], int]:
    """What becomes of it where nothing goes wrong, and in how many statements."""
    crossroads = Crossroads(*processes)
    station = crossroads.started()
    with killed_at(station.database, 0) as statements:
        crossroads.poll_in_one_batch(station)
    station.deliver()
    return crossroads.state(), statements()


def test_the_crossroads_leads_everywhere(undisturbed: tuple[dict[str, Any], int]) -> None:
    state, statements = undisturbed
    assert state["told"] == sorted(
        map(
            str,
            [
                ("leaping", "fired", 75),
                ("leaping", "escalated", 100),
                ("lost", "fired", None),
                ("raised", "fired", 100),
                ("raised", "resolved", 100),
                ("raised", "fired", 75),
                ("rising", "fired", 75),
            ],
        )
    )
    assert state["ids"] == 1
    assert statements > 40


def test_killed_at_any_statement_of_a_poll_it_goes_on_as_if_nothing_had_been(
    processes: list[Database], undisturbed: tuple[dict[str, Any], int]
) -> None:
    expected, statements = undisturbed
    for statement in range(1, statements + 1):
        crossroads = Crossroads(*processes)
        station = crossroads.started()
        with killed_at(station.database, statement), pytest.raises(Killed):
            crossroads.poll_in_one_batch(station)
        crossroads.started().cycle()
        assert crossroads.state() == expected, f"killed at statement {statement}"


def test_killed_right_after_the_commit_it_tells_what_was_decided(
    processes: list[Database], undisturbed: tuple[dict[str, Any], int]
) -> None:
    crossroads = Crossroads(*processes)
    station = crossroads.started()
    next(station.watcher.watch(station.due.due()))
    crossroads.started().cycle()
    assert crossroads.state() == undisturbed[0]


@A_THREAD_IS_KILLED
def test_killed_while_it_hands_over_it_hands_over_again(
    processes: list[Database], undisturbed: tuple[dict[str, Any], int]
) -> None:
    def killed(_: Message) -> None:
        raise Killed

    crossroads = Crossroads(*processes)
    crossroads.hook.script = killed
    crossroads.started().cycle()
    crossroads.hook.script = lambda _: None
    crossroads.started().cycle()
    assert crossroads.state() == undisturbed[0]


@A_THREAD_IS_KILLED
def test_killed_at_any_statement_of_a_delivery_it_repeats_that_one_at_most(
    processes: list[Database], undisturbed: tuple[dict[str, Any], int]
) -> None:
    """What was handed over and not yet committed goes out again, with the same id."""
    for statement in range(1, 15):  # two deliveries and the beginning of a third
        crossroads = Crossroads(*processes)
        station = crossroads.started()
        station.poll()
        with killed_at(station.database, statement) as done, suppress(Killed):
            station.deliver()
        assert done() == statement
        crossroads.started().cycle()
        repeated = Counter(message.id for message in crossroads.hook.sent)
        assert repeated.total() - len(repeated) <= 1
        assert set(crossroads.state()["told"]) == set(undisturbed[0]["told"])
