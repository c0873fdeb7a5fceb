"""The self-check, on real databases that fail in real ways."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from quota_watch.model.source import NotYet
from quota_watch.service.health import PROOF_SECONDS, STORE_SECONDS, Health, SelfCheck
from quota_watch.storage import DatabaseUnreachable, StorageError
from quota_watch.storage.claims import LEASE
from quota_watch.storage.database import Database
from quota_watch.storage.schema import delivery
from support.clock import START, FakeClock
from support.databases import Opened
from support.faults import FULL_DISK, READ_ONLY, Trouble, nobody_let_in
from support.postgres import Postgres
from support.watching import (
    NO_ANSWER,
    RecordingChannel,
    Station,
    Upstream,
    organization,
    refuse,
    watches,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
BLIND = ["no organization was polled successfully within two intervals"]
FULL = {"pageview": 100}
ON_SQLITE = pytest.mark.parametrize("open_database", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("open_database", ["postgresql"], indirect=True)


class Watched:
    """A station of two organizations, its health and its self-check."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock, self.database = clock, database
        self.upstream, self.hook = Upstream(), RecordingChannel()
        self.station = Station(database, self.upstream, watches(2), clock, channels=[self.hook])
        self.health = Health(clock=clock)
        database.on_write = self.health.wrote
        self.check = SelfCheck(
            database=database,
            health=self.health,
            clock=clock,
            intervals=dict.fromkeys(self.station.keys.values(), HOUR),
            channels=self.station.channels,
        )

    def cycle(self) -> None:
        for polls, _ in self.station.watcher.watch(self.station.due.due()):
            self.station.due.finished([poll.claim for poll in polls])
            self.check.polled(polls)
        self.station.deliver()

    def doubts(self) -> list[str]:
        self.check.look()
        return self.health.doubts()


@pytest.fixture
def watched(database: Database, clock: FakeClock) -> Watched:
    return Watched(database, clock)


def test_before_the_first_good_poll_nobody_should_rely_on_the_watch(watched: Watched) -> None:
    assert watched.doubts() == BLIND
    assert watched.health.reasons() == []
    watched.cycle()
    assert watched.doubts() == []


def test_what_another_process_polled_well_counts_too(
    open_database: Opened, clock: FakeClock
) -> None:
    Watched(open_database(), clock).cycle()
    assert Watched(open_database(), clock).doubts() == []


def test_one_organization_s_trouble_is_no_doubt(watched: Watched, clock: FakeClock) -> None:
    watched.upstream.errors[organization("0000")] = NO_ANSWER
    for _ in range(4):
        watched.cycle()
        clock.advance(HOUR)
    assert watched.doubts() == []


def test_when_none_is_polled_well_for_two_intervals_it_is_a_doubt(
    watched: Watched, clock: FakeClock
) -> None:
    watched.cycle()
    for each in watches(2):
        watched.upstream.errors[each.organization] = NO_ANSWER
    clock.advance(2 * HOUR)
    watched.cycle()
    assert watched.doubts() == []
    clock.advance(MINUTE)
    assert watched.doubts() == BLIND


def test_while_every_credential_rests_by_design_there_is_no_doubt(
    watched: Watched, clock: FakeClock
) -> None:
    for each in watches(2):
        watched.upstream.errors[each.organization] = NotYet(9000)
        assert watched.doubts() == BLIND
    watched.cycle()
    assert watched.doubts() == []
    watched.upstream.errors = {organization("0000"): NO_ANSWER, organization("0001"): NotYet(9)}
    clock.advance(HOUR)
    watched.cycle()
    assert watched.doubts() == BLIND


@pytest.mark.parametrize("by", [timedelta(days=-1), timedelta(days=40), timedelta(minutes=-90)])
def test_a_clock_that_jumps_is_a_doubt_at_most_until_the_next_poll(
    watched: Watched, clock: FakeClock, by: timedelta
) -> None:
    watched.cycle()
    clock.set(clock.now() + by)
    watched.cycle()
    assert watched.doubts() == []


def test_a_critical_alert_that_reaches_nobody_is_a_doubt_after_a_quarter_of_an_hour(
    watched: Watched, clock: FakeClock
) -> None:
    watched.hook.script = refuse()
    watched.upstream.set(watches(1)[0], START.date(), **FULL)
    watched.cycle()
    clock.advance(14 * MINUTE)
    assert watched.doubts() == []
    clock.advance(MINUTE)
    (doubt,) = watched.doubts()
    assert doubt.startswith("a critical alert has reached nobody for 15 min")
    assert "hook" in doubt
    watched.hook.script = lambda _: None
    clock.advance(HOUR)
    watched.station.deliver()
    assert watched.doubts() == []


def test_a_critical_alert_that_failed_for_good_is_a_doubt_while_it_goes_on(
    watched: Watched, clock: FakeClock
) -> None:
    watched.hook.script = refuse(permanent=True)
    watched.upstream.set(watches(1)[0], START.date(), **FULL)
    watched.cycle()
    clock.advance(16 * MINUTE)
    assert len(watched.doubts()) == 1
    clock.advance(timedelta(days=31))
    watched.cycle()
    assert watched.doubts() == []


@ON_SQLITE
def test_a_disk_that_takes_no_write_is_noticed_though_nobody_writes(
    watched: Watched, clock: FakeClock
) -> None:
    watched.cycle()
    clock.advance(PROOF_SECONDS + 1)
    with READ_ONLY(watched.database), pytest.raises(StorageError):
        watched.check.look()
    (reason,) = watched.health.reasons()
    assert reason.startswith("the database does not answer: ")
    assert str(watched.database.label) not in reason


@pytest.mark.parametrize("trouble", [READ_ONLY, FULL_DISK], ids=["read-only", "full"])
@ON_SQLITE
def test_a_poll_that_can_not_be_recorded_is_a_reason_and_is_made_up_for_later(
    watched: Watched, clock: FakeClock, trouble: Trouble
) -> None:
    many = {f"event_{n}": 1 for n in range(1000)}  # so that it takes another page
    watched.upstream.set(watches(1)[0], START.date(), **many)
    with trouble(watched.database), pytest.raises(StorageError):
        watched.cycle()
    assert watched.health.reasons()
    assert watched.hook.sent == []
    watched.station.due.finish_all()
    clock.advance(LEASE)
    watched.cycle()
    clock.advance(STORE_SECONDS - LEASE.total_seconds())
    assert watched.doubts() == []
    assert len(watched.hook.sent) == 1


@ON_POSTGRESQL
def test_a_server_that_is_gone_is_a_reason_and_no_longer_when_it_is_back(
    watched: Watched, postgres_server: Postgres
) -> None:
    watched.cycle()
    with (
        nobody_let_in(postgres_server, watched.database),
        pytest.raises(DatabaseUnreachable, match="not currently accepting"),
    ):
        watched.check.look()
    assert watched.health.reasons()[0].startswith("the database does not answer: ")
    assert watched.health.hung() == []
    assert watched.doubts() == []


def test_a_delivery_that_hangs_is_told_from_a_long_queue(
    watched: Watched, clock: FakeClock
) -> None:
    watched.upstream.set(watches(1)[0], START.date(), **FULL)
    watched.station.poll()
    with watched.database.write() as connection:
        connection.execute(update(delivery).values(claimed_by="x", claimed_until=clock.now()))
    clock.advance(LEASE)
    look_for_two_minutes(watched)
    assert watched.health.hung() == ["a delivery on hook started and never ended"]
    watched.station.deliver()
    watched.check.look()
    assert watched.health.hung() == []


def test_a_poll_that_hangs_is_noticed_and_one_that_nobody_began_is_not(
    watched: Watched, clock: FakeClock
) -> None:
    clock.advance(HOUR)
    look_for_two_minutes(watched)
    assert watched.health.hung() == []
    next(watched.station.due.due())
    clock.advance(3 * LEASE)
    look_for_two_minutes(watched)
    assert watched.health.hung() == ["a poll started and never ended"]


def look_for_two_minutes(watched: Watched) -> None:
    for _ in range(13):
        watched.check.look()
        watched.clock.advance(10)
