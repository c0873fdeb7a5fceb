import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import Row, select, text

from quota_watch.model.period import DayCounts
from quota_watch.model.source import ErrorKind, Organization, UpstreamError
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.storage import StorageError, claims, deliveries, stories
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization
from support.clock import START, FakeClock
from support.watching import NO_ANSWER, RecordingChannel, Station, Upstream, watch, watches

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIRST = START.date()
ACME = watch()

Open = Callable[[], Database]
ON_SQLITE = pytest.mark.parametrize("open_database", ["sqlite"], indirect=True)


@pytest.fixture
def station(
    database: Database, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> Station:
    return Station(database, upstream, [ACME], clock, channels=[channel])


def row(station: Station, watched: Watch = ACME) -> Row:
    pk = station.keys[watched.organization]
    with station.database.read() as connection:
        return connection.execute(select(organization).where(organization.c.pk == pk)).one()


def reconfigured(station: Station, upstream: Upstream, *watched: Watch) -> Station:
    """Return what a restart with another config makes."""
    return Station(
        station.database, upstream, watched, station.clock, channels=station.channels.values()
    )


def test_what_was_counted_is_kept_and_told(
    station: Station, upstream: Upstream, channel: RecordingChannel
) -> None:
    upstream.set(ACME, FIRST, pageview=60, event=31, error=500)
    (outcome,) = station.cycle()
    assert outcome.known.usage.used == row(station).used == 91
    assert channel.told() == [("acme", "fired", 90)]
    usage = channel.sent[0].bodies[0]["usage"]
    assert (usage["used"], usage["by_type"]) == (91, {"pageview": 60, "event": 31})


def test_the_whole_period_is_asked_for_with_both_dates(station: Station, clock: FakeClock) -> None:
    ranges: list[tuple[date, date]] = []

    class Source(Upstream):
        def days(self, asked: Organization, start: date, end: date) -> Sequence[DayCounts]:
            ranges.append((start, end))
            return super().days(asked, start, end)

    station = reconfigured(station, Source(), ACME)
    station.poll()
    clock.advance(20 * DAY)
    station.poll()
    assert ranges == [(FIRST, FIRST), (FIRST, FIRST + 20 * DAY)]


def test_a_poll_is_repeated_at_its_next_slot_and_not_before(
    station: Station, upstream: Upstream, clock: FakeClock
) -> None:
    station.poll()
    clock.set(row(station).next_at - timedelta(milliseconds=1))
    assert station.poll() == []
    clock.advance(timedelta(milliseconds=1))
    assert len(station.poll()) == 1


def test_polls_keep_their_place_in_the_interval(
    database: Database, upstream: Upstream, clock: FakeClock
) -> None:
    station = Station(database, upstream, watches(50), clock)
    station.poll()
    slots = {row(station, each).next_at for each in watches(50)}
    assert min(slots) > START
    assert max(slots) <= START + HOUR
    assert len(slots) == 50
    clock.advance(HOUR)
    station.poll()
    assert {row(station, each).next_at for each in watches(50)} == {slot + HOUR for slot in slots}


def test_the_interval_is_recorded_while_polls_fail_too(
    station: Station, upstream: Upstream, clock: FakeClock
) -> None:
    station.poll()
    upstream.errors[ACME.organization] = NO_ANSWER
    clock.advance(HOUR)
    Station(station.database, upstream, [ACME], clock, interval=timedelta(minutes=5)).poll()
    assert row(station).interval_seconds == 300


def test_a_failed_poll_keeps_what_was_known_and_tells_nothing(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    upstream.set(ACME, FIRST, pageview=91)
    station.cycle()
    upstream.errors[ACME.organization] = NO_ANSWER
    for _ in range(2):
        clock.advance(HOUR)
        station.cycle()
    assert (row(station).used, row(station).failing_since) == (91, START + HOUR)
    assert channel.told() == [("acme", "fired", 90)]


def test_blindness_is_told_with_what_was_last_known(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    upstream.set(ACME, FIRST, pageview=95)
    station.cycle()
    upstream.errors[ACME.organization] = NO_ANSWER
    for _ in range(3):
        clock.advance(HOUR)
        station.cycle()
    (facts,) = channel.sent[-1].bodies
    assert (facts["alert"]["rule"], facts["alert"]["severity"]) == ("blind", "critical")
    assert (facts["usage"]["used"], facts["usage"]["measured_at"]) == (95, "2026-03-01T00:00:00Z")


def test_what_is_last_known_of_another_period_is_not_told(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    station.cycle()
    upstream.errors[ACME.organization] = NO_ANSWER
    clock.advance(31 * DAY)
    for _ in range(3):
        station.cycle()
        clock.advance(HOUR)
    assert channel.sent[-1].bodies[0]["usage"] is None


@pytest.mark.parametrize(
    "answer",
    [
        ValueError("a defect"),
        [DayCounts(FIRST, {"pageview": 2**70})],
        [DayCounts(FIRST, {"pageview": "many"})],
        None,
    ],
    ids=["raises", "too large", "no number", "nothing"],
)
def test_a_source_that_misbehaves_is_a_failed_poll_of_that_organization_alone(
    database: Database, clock: FakeClock, channel: RecordingChannel, answer: object
) -> None:
    good, bad = watches(30), watch("bad")

    class Source(Upstream):
        def days(self, asked: Organization, start: date, end: date) -> Sequence[DayCounts]:
            if asked != bad.organization:
                return super().days(asked, start, end)
            if isinstance(answer, Exception):
                raise answer
            return answer

    source = Source()
    for each in good:
        source.set(each, FIRST, pageview=75)
    station = Station(database, source, [bad, *good], clock, channels=[channel])
    outcomes = station.cycle()
    assert {each.poll.watch.name for each in outcomes if each.poll.error} == {"bad"}
    assert len(outcomes) == 31
    assert sorted(channel.told()) == [(each.name, "fired", 75) for each in good]
    assert row(station, bad).last_error["kind"] == "internal"
    assert row(station, bad).next_at > clock.now()


def test_an_organization_that_can_never_be_recorded_becomes_blind(
    database: Database, clock: FakeClock, upstream: Upstream, channel: RecordingChannel
) -> None:
    upstream.set(ACME, FIRST, pageview=2**70)
    station = Station(database, upstream, [ACME], clock, channels=[channel])
    for _ in range(4):
        station.cycle()
        clock.advance(HOUR)
    (message,) = channel.sent
    assert message.bodies[0]["alert"]["rule"] == "blind"


def test_an_organization_whose_alert_cannot_be_written_fails_alone(
    database: Database, clock: FakeClock, upstream: Upstream, channel: RecordingChannel
) -> None:
    bad, good = watch("bad", channels=("nowhere",)), watch("good")
    for each in (bad, good):
        upstream.set(each, FIRST, pageview=75)
    station = Station(database, upstream, [bad, good], clock, channels=[channel])
    station.cycle()
    assert channel.told() == [("good", "fired", 75)]
    assert (row(station, bad).used, row(station, bad).failed_polls) == (None, 1)
    with database.read() as connection:
        assert len(stories.rows_of(connection, None, only_open=True)) == 1


def test_a_result_whose_claim_was_taken_over_is_dropped(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    def take_over(_: Organization) -> None:
        with station.database.write() as connection:
            claims.claim_now(connection, station.keys.values(), now=clock.now())

    upstream.before = take_over
    upstream.set(ACME, FIRST, pageview=95)
    assert station.cycle() == []
    assert channel.sent == []
    assert (row(station).used, row(station).last_poll) == (None, None)


def test_every_claim_is_told_to_have_ended_after_its_commit(
    station: Station, open_database: Open, upstream: Upstream
) -> None:
    ended, _ = next(station.watcher.watch(station.due.due()))
    station.due.finish_all()
    query = select(organization.c.pk, organization.c.last_ok)
    with open_database().read() as connection:
        seen = [tuple(each) for each in connection.execute(query)]
    assert seen == [(station.keys[ACME.organization], START)]
    assert [poll.claim.pk for poll in ended] == [station.keys[ACME.organization]]


def asks_to_wait(seconds: float) -> UpstreamError:
    return UpstreamError(
        ErrorKind.RATE_LIMITED, "too many", may_pass=True, status=429, retry_after=seconds
    )


@pytest.mark.parametrize(
    ("seconds", "at_least", "at_most"),
    [
        (3, timedelta(seconds=3), HOUR + timedelta(seconds=3)),
        (1800, timedelta(minutes=30), timedelta(minutes=90)),
        (86_400, HOUR, 2 * HOUR),
        (float("inf"), HOUR, 2 * HOUR),
    ],
)
def test_the_next_poll_is_the_first_slot_after_the_wait_upstream_asks_for(
    station: Station,
    upstream: Upstream,
    seconds: float,
    at_least: timedelta,
    at_most: timedelta,
) -> None:
    upstream.errors[ACME.organization] = asks_to_wait(seconds)
    station.poll()
    assert at_least <= row(station).next_at - START <= at_most


def test_a_refused_organization_is_left_alone_until_then(
    database: Database, upstream: Upstream, clock: FakeClock
) -> None:
    """However long the wait is beside the interval."""
    station = Station(database, upstream, [ACME], clock, interval=timedelta(minutes=1))
    upstream.errors[ACME.organization] = asks_to_wait(86_400)
    for _ in range(59):
        station.poll()
        clock.advance(timedelta(minutes=1))
    assert upstream.polls()["org_acme"] == 1
    clock.advance(timedelta(minutes=2))
    station.poll()
    assert upstream.polls()["org_acme"] == 2


def test_a_refused_organization_becomes_blind_however_long_it_is_to_wait(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    upstream.errors[ACME.organization] = asks_to_wait(86_400)
    for _ in range(5):
        station.cycle()
        clock.advance(HOUR)
    assert [message.bodies[0]["alert"]["rule"] for message in channel.sent] == ["blind"]


def test_a_raised_limit_arms_the_levels_anew(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    upstream.set(ACME, FIRST, pageview=160)
    station.cycle()
    station = reconfigured(station, upstream, replace(ACME, limit=200))
    clock.advance(HOUR)
    station.cycle()
    assert channel.told() == [
        ("acme", "fired", 100),
        ("acme", "resolved", 100),
        ("acme", "fired", 75),
    ]


def test_a_limit_that_is_raised_and_lowered_again_is_told_of_again(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    upstream.set(ACME, FIRST, pageview=100)
    for limit in (100, 1000, 100):
        station = reconfigured(station, upstream, replace(ACME, limit=limit))
        station.cycle()
        clock.advance(HOUR)
    steps = [step for _, step, _ in channel.told()]
    assert steps == ["fired", "resolved", "fired"]
    assert len({message.bodies[0]["alert"]["id"] for message in channel.sent}) == 2


def test_a_channel_hears_from_its_severity_on(
    database: Database, upstream: Upstream, clock: FakeClock
) -> None:
    calm = RecordingChannel("calm", min_severity=Severity.CRITICAL)
    eager = RecordingChannel("eager", recipients=("a@acme.example", "b@acme.example"))
    watched = watch(channels=("calm", "eager"))
    station = Station(database, upstream, [watched], clock, channels=[calm, eager])
    for used in (75, 100):
        upstream.set(watched, FIRST, pageview=used)
        station.cycle()
        clock.advance(HOUR)
    assert calm.told() == [("acme", "escalated", 100)]
    assert len(eager.told()) == 4


def test_the_end_of_a_period_is_told_where_it_is_wanted(
    database: Database, upstream: Upstream, clock: FakeClock
) -> None:
    mail = RecordingChannel("mail", takes_period_ends=False)
    hook = RecordingChannel("hook")
    watched = watch(channels=("mail", "hook"))
    upstream.set(watched, FIRST, pageview=75)
    station = Station(database, upstream, [watched], clock, channels=[mail, hook])
    station.cycle()
    clock.advance(31 * DAY)
    station.cycle()
    assert mail.told() == [("acme", "fired", 75)]
    assert hook.told() == [("acme", "fired", 75), ("acme", "resolved", 75)]


@pytest.mark.parametrize("name", ["Größe 👩‍🚀", "a\x00b", "\ud800", "", "x" * 5000, "{{ 7*7 }}"])
def test_events_of_any_type_are_told(
    database: Database, upstream: Upstream, clock: FakeClock, name: str
) -> None:
    odd = replace(ACME, channels=("hook",))
    upstream.set(odd, FIRST, **{name or "?": 75})
    hook = RecordingChannel()
    Station(database, upstream, [odd], clock, channels=[hook]).cycle()
    assert [message.bodies[0]["usage"]["used"] for message in hook.sent] == [75]


def test_a_database_that_fails_midway_loses_nothing(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    upstream.set(ACME, FIRST, pageview=75)
    with station.database.write() as connection:
        connection.execute(text("ALTER TABLE alert RENAME TO gone_away"))
    with pytest.raises(StorageError):
        station.poll()
    with station.database.write() as connection:
        connection.execute(text("ALTER TABLE gone_away RENAME TO alert"))
    assert row(station).used is None
    clock.advance(claims.LEASE)
    station.cycle()
    assert channel.told() == [("acme", "fired", 75)]


@ON_SQLITE
def test_a_full_disk_is_no_organization_s_fault_and_loses_nothing(
    station: Station, upstream: Upstream, channel: RecordingChannel, clock: FakeClock
) -> None:
    def grow_to(pages: int) -> None:
        with station.database.write() as connection:
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))

    upstream.set(ACME, FIRST, **{f"type {n}": 1 for n in range(10_000)})
    grow_to(1)  # that is, no further
    with pytest.raises(StorageError, match="full"):
        station.poll()
    assert row(station).last_poll is None
    grow_to(100_000)
    clock.advance(claims.LEASE)
    station.cycle()
    assert channel.told() == [("acme", "fired", 100)]


@ON_SQLITE
def test_many_organizations_are_polled_once_each(
    database: Database, upstream: Upstream, clock: FakeClock, channel: RecordingChannel
) -> None:
    many = watches(2000)
    for each in many[::10]:
        upstream.set(each, FIRST, pageview=90)
    station = Station(database, upstream, many, clock, channels=[channel])
    station.cycle()
    assert len(upstream.polls()) == 2000
    assert set(upstream.polls().values()) == {1}
    assert sorted(channel.told()) == [(each.name, "fired", 90) for each in many[::10]]


def test_a_slow_organization_holds_up_no_other(
    database: Database, upstream: Upstream, clock: FakeClock, channel: RecordingChannel
) -> None:
    go_on, slow = threading.Event(), watch("slow")
    upstream.before = lambda asked: slow.organization != asked or go_on.wait(10)
    for each in (slow, ACME):
        upstream.set(each, FIRST, pageview=75)
    station = Station(database, upstream, [slow, ACME], clock, channels=[channel])
    polling = threading.Thread(target=station.poll)
    committed = threading.Event()
    finished = station.due.finished
    station.due.finished = lambda ended: (finished(ended), committed.set())
    polling.start()
    assert committed.wait(10)
    station.deliver()
    assert channel.told() == [("acme", "fired", 75)]
    go_on.set()
    polling.join()
    station.deliver()
    assert channel.told() == [("acme", "fired", 75), ("slow", "fired", 75)]


def test_rules_that_are_off_tell_nothing(
    database: Database, upstream: Upstream, clock: FakeClock, channel: RecordingChannel
) -> None:
    quiet = watch(blind_after=None, limit=None)
    upstream.set(quiet, FIRST, pageview=10**9)
    station = Station(database, upstream, [quiet], clock, channels=[channel])
    station.cycle()
    upstream.errors[quiet.organization] = NO_ANSWER
    for _ in range(5):
        clock.advance(HOUR)
        station.cycle()
    assert channel.sent == []
    with database.read() as connection:
        assert stories.rows_of(connection, None, only_open=False) == []
        assert deliveries.count_pending(connection) == 0
    assert Rule.BLIND not in row(station)
