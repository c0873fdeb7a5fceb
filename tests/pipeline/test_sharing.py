"""Several processes on one database share the work, and none of it is done twice."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from quota_watch.model.watch import Watch
from quota_watch.storage import StorageError, claims, outbox
from quota_watch.storage.claims import new_token
from quota_watch.storage.database import Database
from quota_watch.storage.schema import alert, delivery, snapshot
from support.clock import START, FakeClock
from support.threads import all_at_once, wait_until_polled
from support.watching import RecordingChannel, Station, Upstream, watches

Open = Callable[[], Database]
MANY = watches(300)
FEW = MANY[:90]
HOUR = timedelta(hours=1)
ON_POSTGRESQL = pytest.mark.parametrize("open_database", ["postgresql"], indirect=True)


def count(database: Database, table) -> int:
    with database.read() as connection:
        return len(connection.execute(select(table)).all())


@pytest.fixture
def upstream() -> Upstream:
    upstream = Upstream()
    for each in MANY[::3]:
        upstream.set(each, START.date(), pageview=90)
    return upstream


def stations(
    open_database: Open,
    upstream: Upstream,
    clock: FakeClock,
    hook: RecordingChannel,
    *,
    n: int = 2,
    watched: Sequence[Watch] = FEW,
) -> list[Station]:
    return [
        Station(open_database(), upstream, watched, clock, channels=[hook], concurrency=4)
        for _ in range(n)
    ]


def meeting(upstream: Upstream, n: int) -> list[Upstream]:
    """Return ways to the same upstream whose polls wait until each way has one."""
    together, all_there = threading.Barrier(n, timeout=60), threading.Event()
    ways = [copy(upstream) for _ in range(n)]
    for way in ways:
        first = iter([together.wait])

        def before(_: object, first: Iterator[Callable[[], object]] = first) -> None:
            next(first, all_there.wait)()
            all_there.set()

        way.before = before
    return ways


def test_two_daemons_poll_each_once_and_tell_each_once(
    open_database: Open, upstream: Upstream, clock: FakeClock
) -> None:
    hook, upstreams = RecordingChannel(), meeting(upstream, 2)
    one, other = (
        stations(open_database, each, clock, hook, n=1, watched=MANY)[0] for each in upstreams
    )
    assert all(all_at_once(one.cycle, other.cycle))
    assert upstream.polls() == {each.organization.id: 1 for each in MANY}
    assert sorted(hook.told()) == [(each.name, "fired", 90) for each in MANY[::3]]
    assert set(Counter(hook.tried).values()) == {1}
    assert count(one.database, snapshot) == len(MANY)
    assert count(one.database, alert) == count(one.database, delivery) == len(MANY[::3])


def test_what_one_daemon_died_with_the_other_does(
    open_database: Open, upstream: Upstream, clock: FakeClock
) -> None:
    hook = RecordingChannel()
    dead, alive = stations(open_database, upstream, clock, hook)
    supply = dead.due.due()
    held = {next(supply).pk for _ in range(8)}
    alive.cycle()
    assert len(upstream.polls()) == len(FEW) - len(held)
    clock.advance(claims.LEASE)
    alive.cycle()
    assert upstream.polls().keys() == {each.organization.id for each in FEW}
    assert len(hook.sent) == len(FEW[::3])


def test_what_one_daemon_was_sending_when_it_died_the_other_sends_after_its_lease(
    open_database: Open, upstream: Upstream, clock: FakeClock
) -> None:
    hook = RecordingChannel()
    dead, alive = stations(open_database, upstream, clock, hook)
    dead.poll()
    with dead.database.write() as connection:
        assert outbox.claim(connection, "hook", token=new_token(), now=clock.now())
    alive.deliver()
    assert hook.sent == []
    clock.advance(claims.LEASE)
    alive.deliver()
    assert sorted(hook.told()) == [(each.name, "fired", 90) for each in FEW[::3]]
    assert set(Counter(hook.tried).values()) == {1}


def test_two_daemons_send_what_goes_together_once(
    open_database: Open, upstream: Upstream, clock: FakeClock
) -> None:
    mail = RecordingChannel(batches=True)
    one, other = stations(open_database, upstream, clock, mail)
    all_at_once(one.poll, other.poll)
    clock.advance(60)
    all_at_once(one.deliver, other.deliver)
    assert sorted(mail.told()) == [(each.name, "fired", 90) for each in FEW[::3]]
    assert [len(message.bodies) for message in mail.sent] == [len(FEW[::3])]


def test_what_is_polled_by_hand_meanwhile_is_told_once(
    open_database: Open, upstream: Upstream, clock: FakeClock
) -> None:
    """`poll` takes over what the daemon has under way; only one of the two results counts."""
    hook = RecordingChannel()
    daemon, by_hand = stations(open_database, upstream, clock, hook)

    def poll_by_hand() -> None:
        for polls, _ in by_hand.watcher.watch(by_hand.due.named(list(by_hand.keys.values()))):
            by_hand.due.finished([poll.claim for poll in polls])

    all_at_once(daemon.poll, poll_by_hand)
    all_at_once(daemon.deliver, by_hand.deliver)
    assert set(upstream.polls().values()) <= {1, 2}
    assert sorted(hook.told()) == [(each.name, "fired", 90) for each in FEW[::3]]
    assert count(daemon.database, alert) == len(FEW[::3])


def test_a_daemon_watches_and_tells_only_what_its_own_config_names(
    open_database: Open, upstream: Upstream, clock: FakeClock
) -> None:
    hook, phone = RecordingChannel("hook"), RecordingChannel("phone")
    (one,) = stations(open_database, upstream, clock, hook, n=1)
    other = Station(open_database(), upstream, FEW[:3], clock, channels=[hook, phone])
    one.poll()
    other_only = Station(open_database(), upstream, FEW[:3], clock, channels=[phone])
    other_only.deliver()
    assert (hook.sent, phone.sent) == ([], [])
    other.deliver()
    assert len(hook.sent) == len(FEW[::3])


@ON_POSTGRESQL
def test_a_connection_that_is_cut_in_the_middle_loses_nothing(
    open_database: Open, upstream: Upstream, clock: FakeClock
) -> None:
    hook, admin = RecordingChannel(), open_database()
    (station,) = stations(open_database, upstream, clock, hook, n=1)
    asked = iter(range(1000))

    def cut(_: object) -> None:
        if next(asked) == 50:
            with admin.write() as connection:
                connection.execute(text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
                ))  # fmt: skip

    upstream.before = cut
    for _ in range(3):
        try:
            station.poll()
        except StorageError:
            wait_until_polled()
            clock.advance(claims.LEASE)
    station.deliver()
    assert upstream.polls().keys() == {each.organization.id for each in FEW}
    assert sorted(hook.told()) == [(each.name, "fired", 90) for each in FEW[::3]]
