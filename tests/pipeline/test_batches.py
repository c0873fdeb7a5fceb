"""A batch of polls: read once, written once, and the numbers are those of each alone."""

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from quota_watch.pipeline.poll import Outcome, look_back
from quota_watch.rules.registry import assess
from quota_watch.storage import claims
from quota_watch.storage.database import Database
from support.clock import FakeClock
from support.statements import statements
from support.watching import NO_ANSWER, Station, Upstream, watch, watches

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ACME = watch(limit=30_000, thresholds=(75, 100), forecast=True, spike=True, stalled_after=DAY)
TODAY = date(2026, 3, 10)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)

Step = Callable[[Upstream, FakeClock], None]


def passes(hours: int) -> Step:
    return lambda _, clock: clock.advance(hours * HOUR)


def counted(days_ago: int, n: int) -> Step:
    return lambda upstream, clock: upstream.set(
        ACME, clock.now().date() - days_ago * DAY, pageview=n
    )


steps = st.lists(
    st.builds(passes, st.integers(1, 30))
    | st.builds(counted, st.just(0) | st.integers(0, 40), st.integers(0, 5000))
)


def is_as_a_fresh_look(outcome: Outcome, database: Database) -> None:
    known = outcome.known
    assert known.usage is not None
    with database.read() as connection:
        analysis = look_back(connection, outcome.poll, known.usage)
    fresh = replace(known, analysis=analysis)
    assert known.forecast == fresh.forecast
    assert assess(known).conditions == assess(fresh).conditions


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2000), min_size=5, max_size=70), steps)
def test_the_number_that_a_poll_shows_is_that_of_a_fresh_fit(
    sqlite_template: Path, history: list[int], steps: list[Step]
) -> None:
    upstream, clock = Upstream(), FakeClock(NOON)
    for n, events in enumerate(history):
        upstream.set(ACME, TODAY - n * DAY, pageview=events)
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{shutil.copy(sqlite_template, folder)}")
        station = Station(database, upstream, [ACME], clock, history=60 * DAY)
        for step in (passes(0), *steps):
            step(upstream, clock)
            clock.advance(HOUR)
            for outcome in station.poll():
                is_as_a_fresh_look(outcome, database)
        database.close()


def waits_for_all_others(n: int) -> Callable[[object], None]:
    """Let the first poll wait until the last one began: something is under way till then."""
    lock, begun, last_began = threading.Lock(), count(1), threading.Event()

    def before(_: object) -> None:
        with lock:
            number = next(begun)
        if number == n:
            last_began.set()
        elif number == 1:
            last_began.wait(60)

    return before


def polled_together(station: Station, upstream: Upstream) -> tuple[list[Outcome], list[str]]:
    """Poll all organizations as one batch; return what became of them, and the statements."""
    pks = list(station.keys.values())
    with station.database.write() as connection:
        claimed = claims.claim_now(connection, pks, now=station.clock.now())
    upstream.before = waits_for_all_others(len(pks))
    with statements(Engine) as executed:
        outcomes = [each for _, batch in station.watcher.watch(iter(claimed)) for each in batch]
    return outcomes, executed


def test_an_outage_takes_a_statement_for_many_organizations(
    database: Database, clock: FakeClock
) -> None:
    upstream, many = Upstream(), watches(100, limit=10_000)
    for each in many:
        upstream.set(each, clock.now().date(), pageview=100)
    station = Station(database, upstream, many, clock)
    station.poll()
    clock.advance(HOUR)
    upstream.errors = {each.organization: NO_ANSWER for each in many}
    outcomes, executed = polled_together(station, upstream)
    assert [outcome.known.usage.used for outcome in outcomes] == [100] * len(many)
    assert len(executed) <= 50


def test_a_steady_cycle_takes_a_statement_for_many_organizations(
    database: Database, clock: FakeClock
) -> None:
    upstream, many = Upstream(), watches(100, limit=10_000, forecast=True, stalled_after=DAY)
    for each in many:
        for n in range(20):
            upstream.set(each, clock.now().date() - n * DAY, pageview=100)
    station = Station(database, upstream, many, clock, history=60 * DAY)
    station.poll()
    clock.advance(HOUR)
    outcomes, executed = polled_together(station, upstream)
    assert len(outcomes) == len(many)
    assert all(outcome.known.analysis.is_light for outcome in outcomes)
    assert len(executed) <= 50
