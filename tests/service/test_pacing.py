"""The daemon against a server that enforces the cloud's rate limits: it never runs into them."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Row, func, select

from quota_watch.config import Config, load
from quota_watch.demo.scenes import Scene
from quota_watch.demo.simulator import BURST, Simulator
from quota_watch.lib.http import Client, fetch
from quota_watch.model.period import DayCounts
from quota_watch.model.source import ErrorKind, NotYet, Organization, UpstreamError
from quota_watch.rybbit.client import RybbitClient
from quota_watch.rybbit.pacing import Pacer
from quota_watch.service.runtime import Runtime
from quota_watch.storage import claims
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization, snapshot
from support.clock import START, FakeClock
from support.databases import Opened
from support.http import Answer, HttpServer, Request
from support.watching import NO_ANSWER, Station, Upstream, watch

MINUTE = timedelta(minutes=1)
QUARTER = 15 * MINUTE
STEP = 5 * MINUTE
"""How far the clock goes at a time: what falls due in between is polled all at once."""

HOUR = timedelta(hours=1)
KEY = "key-of-one-owner-of-all"


@pytest.fixture(scope="module")
def http() -> Iterator[Client]:
    with Client(connections=8) as client:
        yield client


@pytest.fixture
def sqlite(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """A SQLite database: what a whole day costs is time enough on one."""
    (tmp_path / "quota-watch.db").write_bytes(sqlite_template.read_bytes())
    opened = Opened(f"sqlite:///{tmp_path / 'quota-watch.db'}")
    yield opened()
    opened.close()


class Cloud:
    """A server that limits rates, and a station that polls organizations there with one key."""

    def __init__(
        self,
        database: Database,
        clock: FakeClock,
        http: Client,
        simulator: Simulator,
        scenes: Sequence[Scene],
    ) -> None:
        self.clock, self.simulator, self._database = clock, simulator, database
        watched = [
            watch(each.id, organization=Organization(simulator.url, each.id)) for each in scenes
        ]
        keys = {each.organization: KEY for each in watched}
        client = RybbitClient(http, keys=keys, timeout=10, pacer=Pacer(), clock=clock)
        self._station = Station(
            database,
            client,
            watched,
            clock,
            interval=QUARTER,
            stretched=lambda each, configured: client.pace(each, configured).interval,
        )

    def run(self, time: timedelta, *, step: timedelta) -> None:
        until = self.clock.now() + time
        while self.clock.now() < until:
            self._station.poll()
            self.clock.advance(step)

    def statuses(self) -> set[int]:
        return {status for _, status in self.simulator.requests}

    def polls(self) -> list[int]:
        """How often each organization was polled."""
        query = select(func.count(snapshot.c.at)).group_by(snapshot.c.organization_pk)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def rows(self) -> Sequence[Row]:
        with self._database.read() as connection:
            return connection.execute(select(organization)).all()


Play = Callable[[int], Cloud]


@pytest.fixture
def play(sqlite: Database, clock: FakeClock, http: Client) -> Iterator[Play]:
    """Serve so many organizations of one owner, whose plan allows 5,000 requests a day."""
    with ExitStack() as servers:

        def play(organizations: int) -> Cloud:
            scenes = scenes_of(organizations)
            simulator = servers.enter_context(Simulator(clock, scenes, rate_limits=True))
            return Cloud(sqlite, clock, http, simulator, scenes)

        yield play


def scenes_of(organizations: int) -> list[Scene]:
    return [
        Scene(
            id=f"org_{number:02}",
            name=f"Shop {number}",
            api_key=KEY,
            base=1000,
            started=date(2026, 1, 1),
            plan="standard100k",
        )
        for number in range(organizations)
    ]


def test_half_a_day_of_many_organizations_stays_within_the_limits(play: Play) -> None:
    """Whole days of the pacer alone are in tests/rybbit/test_pacing.py."""
    cloud = play(40)
    cloud.run(12 * HOUR, step=STEP)
    assert cloud.statuses() == {200}
    assert {47 <= polls <= 50 for polls in cloud.polls()} == {True}
    assert len(cloud.polls()) == 40
    assert {row.failing_since for row in cloud.rows()} == {None}
    assert min(row.last_ok for row in cloud.rows()) >= START + 12 * HOUR - QUARTER - STEP


def test_more_than_the_budget_allows_are_polled_half_as_often(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = play(80)
    cloud.run(6 * HOUR, step=STEP)
    assert cloud.statuses() == {200}
    assert {12 <= polls <= 14 for polls in cloud.polls()} == {True}
    (warning,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "15 min is stretched to 30 min" in str(warning.__dict__)
    assert KEY not in str(warning.__dict__)


def test_many_organizations_that_start_at_once_are_all_polled_soon(play: Play) -> None:
    cloud = play(60)
    cloud.run(timedelta(seconds=30), step=timedelta(seconds=0.5))
    assert cloud.statuses() == {200}
    assert len(cloud.polls()) == 60


class Resting(Upstream):
    """Says `NotYet` instead of asking, as long as `rests` is set."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.rests: float | None = seconds

    def days(self, asked: Organization, start: date, end: date) -> Sequence[DayCounts]:
        if self.rests is not None:
            raise NotYet(self.rests)
        return super().days(asked, start, end)


def row(station: Station) -> Row:
    with station.database.read() as connection:
        return connection.execute(select(organization)).one()


def test_what_can_not_be_asked_yet_is_due_again_when_it_can(
    database: Database, clock: FakeClock
) -> None:
    station = Station(database, Resting(3.0001), [watch()], clock)
    assert station.poll() == []
    assert row(station).next_at == START + timedelta(seconds=3, milliseconds=1)
    assert row(station).claimed_by is None


def test_what_can_not_be_asked_for_long_is_tried_after_an_interval(
    database: Database, clock: FakeClock
) -> None:
    station = Station(database, Resting(80_000.0), [watch()], clock, interval=QUARTER)
    station.poll()
    assert row(station).next_at == START + QUARTER


def test_a_poll_that_was_put_off_is_neither_a_failure_nor_a_success(
    database: Database, clock: FakeClock
) -> None:
    upstream = Resting(60.0)
    station = Station(database, upstream, [watch()], clock, interval=QUARTER)
    upstream.rests, upstream.errors[watch().organization] = None, NO_ANSWER
    station.poll()
    clock.advance(QUARTER)
    failed, upstream.rests = row(station), 60.0
    station.poll()
    put_off = row(station)
    assert put_off.next_at == clock.now() + MINUTE
    assert {**put_off._mapping, "next_at": failed.next_at} == failed._mapping


def test_one_that_is_put_off_harms_no_other_of_its_batch(
    database: Database, clock: FakeClock
) -> None:
    class Source(Upstream):
        def days(self, asked: Organization, start: date, end: date) -> Sequence[DayCounts]:
            if asked == watch("late").organization:
                raise NotYet(5.0)
            return super().days(asked, start, end)

    station = Station(database, Source(), [watch("late"), watch("good")], clock)
    assert [outcome.poll.watch.name for outcome in station.poll()] == ["good"]


def test_a_claim_that_was_taken_over_is_not_put_off(database: Database, clock: FakeClock) -> None:
    upstream = Resting(60.0)
    station = Station(database, upstream, [watch()], clock)
    claim = next(station.due.due())
    with database.write() as connection:
        claims.claim_now(connection, [claim.pk], now=clock.now())
    list(station.watcher.watch(iter([claim])))
    assert row(station).next_at == START
    assert row(station).claimed_by is not None


def test_a_stretched_interval_is_kept_to(database: Database, clock: FakeClock) -> None:
    def stretched(_: Organization, configured: timedelta) -> timedelta:
        return 8 * configured

    upstream = Upstream()
    station = Station(database, upstream, [watch()], clock, interval=QUARTER, stretched=stretched)
    for _ in range(96):
        station.poll()
        clock.advance(QUARTER)
    assert 12 <= len(upstream.asked) <= 13


def test_a_command_waits_for_its_turn_and_polls_all(
    sqlite: Database, clock: FakeClock, tmp_path: Path
) -> None:
    scenes = scenes_of(60)
    with Simulator(clock, scenes, rate_limits=True) as simulator:
        settings = config(tmp_path, simulator, scenes)
        runtime = Runtime(settings, database=sqlite, clock=clock, sleep=clock.advance)
        steps: list[int] = []
        outcomes, put_off = runtime.poll_named(settings.credentials(), done=steps.append)
        runtime.close(5)
    assert (len(outcomes), put_off, sum(steps)) == (60, {}, 60)
    assert {status for _, status in simulator.requests} == {200}
    assert clock.now() < START + timedelta(seconds=30)


def _refusal(seconds: int) -> Answer:
    body = {"error": "Rate limit exceeded", "scope": "burst", "retryAfter": seconds}
    return 429, {"retry-after": str(seconds)}, json.dumps(body).encode()


def _one_day() -> bytes:
    day = {"event_date": f"{START:%Y-%m-%d} 00:00:00", "pageview_count": 7, "event_count": 7}
    return json.dumps({"data": [day]}).encode()


def test_a_command_waits_as_a_flooded_server_asks_and_polls_all(
    sqlite: Database, clock: FakeClock, tmp_path: Path, http_server: HttpServer
) -> None:
    http_server.answers = [*[_refusal(1)] * 5, (200, {}, _one_day())]
    settings = config(tmp_path, http_server, scenes_of(20))
    runtime = Runtime(settings, database=sqlite, clock=clock, sleep=clock.advance)
    outcomes, put_off = runtime.poll_named(settings.credentials())
    runtime.close(5)
    assert ([each.error for each in outcomes.values()], put_off) == ([None] * 20, {})


class Neighbour:
    """Another program with a key of the same owner, that takes whatever the bucket holds."""

    def __init__(self, http: Client, simulator: Simulator, scenes: Sequence[Scene]) -> None:
        self._http, self._url, self._path = (
            http,
            simulator.url,
            f"/api/org-event-count/{scenes[0].id}",
        )

    def takes(self, requests: int = BURST) -> None:
        for _ in range(requests):
            headers = {"Authorization": f"Bearer {KEY}"}
            request = self._http.build_request("GET", self._url + self._path, headers=headers)
            fetch(self._http, request, seconds=10)


def test_a_flood_by_another_program_costs_many_organizations_seconds_and_no_interval(
    play: Play, http: Client
) -> None:
    cloud = play(60)
    neighbour = Neighbour(http, cloud.simulator, scenes_of(1))
    for _ in range(15):
        neighbour.takes()
        cloud.run(timedelta(seconds=1), step=timedelta(seconds=0.5))
    assert 429 in cloud.statuses()
    cloud.run(timedelta(seconds=30), step=timedelta(seconds=0.5))
    assert len(cloud.polls()) == 60
    assert {row.failing_since for row in cloud.rows()} == {None}


def test_a_command_in_a_flood_goes_on_as_long_as_anyone_gets_through(
    sqlite: Database, clock: FakeClock, tmp_path: Path, http_server: HttpServer
) -> None:
    through: list[datetime] = []

    def answer(request: Request) -> Answer:
        if through and clock.now() < through[-1] + timedelta(seconds=8):
            return _refusal(1)
        through.append(clock.now())
        return 200, {}, _one_day()

    http_server.answers = answer
    settings = config(tmp_path, http_server, scenes_of(10))
    runtime = Runtime(settings, database=sqlite, clock=clock, sleep=clock.advance)
    outcomes, put_off = runtime.poll_named(settings.credentials())
    runtime.close(5)
    assert ([each.error for each in outcomes.values()], put_off) == ([None] * 10, {})
    assert clock.now() > START + MINUTE


def test_an_organization_is_asked_again_after_what_a_burst_refusal_asks_for(
    database: Database, clock: FakeClock
) -> None:
    refusal = UpstreamError(ErrorKind.RATE_LIMITED, "429", may_pass=True, retry_after=3.0)
    upstream, watched = Upstream(), watch()
    upstream.errors[watched.organization] = refusal
    station = Station(database, upstream, [watched], clock, interval=QUARTER)
    station.poll()
    del upstream.errors[watched.organization]
    clock.advance(2)
    station.poll()
    assert len(upstream.asked) == 1
    clock.advance(1)
    station.poll()
    assert len(upstream.asked) == 2


def config(folder: Path, simulator: Simulator | HttpServer, scenes: Sequence[Scene]) -> Config:
    file = folder / "config.toml"
    file.touch(mode=0o600)
    organizations = "".join(
        f'[[organizations]]\nid = "{each.id}"\nlimit = 100000\n' for each in scenes
    )
    file.write_text(f'[rybbit]\nbase_url = "{simulator.url}"\napi_key = "{KEY}"\n{organizations}')
    return load(file)
