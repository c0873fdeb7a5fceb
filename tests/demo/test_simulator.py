import json
import socket
import threading
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.demo.scenes import Scene
from quota_watch.demo.simulator import Simulator
from quota_watch.lib.http import fetch
from quota_watch.model.period import each_day, month_of
from quota_watch.model.source import ErrorKind, Organization, UpstreamError
from quota_watch.rybbit.client import RybbitClient

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
CALM = Scene(id="calm", name="Calm", api_key="key-calm", base=3_000, started=date(2026, 1, 1))
OVER = Scene(
    id="over", name="Over", api_key="key-over", base=5_000, started=date(2026, 1, 1), limit=50_000
)


class FixedClock:
    def __init__(self, now=NOON):
        self.time = now

    def now(self):
        return self.time

    def monotonic(self):
        return 0.0


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
def simulator(clock):
    revoked = Scene(
        id="lost", name="Lost", api_key="key-lost", base=10, started=date(2026, 1, 1),
        revoked_at=NOON,
    )  # fmt: skip
    with Simulator(clock, [CALM, OVER, revoked]) as simulator:
        yield simulator


@pytest.fixture
def get(http, simulator):
    def get(target, key="key-calm"):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        request = http.build_request("GET", simulator.url + target, headers=headers)
        return fetch(http, request, seconds=5)

    return get


def billed(scene, month, now):
    days = (scene.counts(day, now) for day in each_day(month.start, month.last_day))
    return sum(counts.total() - counts["error"] for counts in days)


def test_the_client_reads_exactly_what_the_scene_counts(http, simulator, clock):
    organization = Organization(simulator.url, "calm")
    client = RybbitClient(http, keys={organization: "key-calm"}, timeout=5)
    days = client.days(organization, date(2026, 3, 1), date(2026, 3, 15))
    assert len(days) == 15
    for day in days:
        assert day.by_type == +CALM.counts(day.day, clock.now())


def test_an_answer_has_the_shape_of_a_recorded_one(get, golden):
    answer = get("/api/org-event-count/calm?start_date=2026-03-01&end_date=2026-03-02")
    recorded = golden["v5_closed_month_utc"]
    ours, theirs = json.loads(answer.body)["data"][0], recorded["body"]["data"][0]
    assert list(ours) == list(theirs)
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]
    assert answer.headers["content-type"] == recorded["headers"]["content-type"]
    assert ours["event_date"] == "2026-03-01 00:00:00"


def test_future_days_are_zero_rows(get):
    answer = get("/api/org-event-count/calm?start_date=2026-03-15&end_date=2026-03-17")
    totals = [row["event_count"] for row in json.loads(answer.body)["data"]]
    assert totals[0] > 0
    assert totals[1:] == [0, 0]


@pytest.mark.parametrize("query", ["", "?start_date=2026-03-01", "?startDate=x&endDate=y"])
def test_without_both_dates_all_time_is_answered(get, query):
    rows = json.loads(get(f"/api/org-event-count/calm{query}").body)["data"]
    assert rows[0]["event_date"].startswith("2026-01-01")
    assert rows[-1]["event_date"].startswith("2026-03-15")


@pytest.mark.parametrize(
    ("target", "key", "recorded"),
    [
        ("/api/org-event-count/calm", "wrong", "v5_403_unknown_key"),
        ("/api/org-event-count/calm", "", "v5_403_no_credential"),
        ("/api/org-event-count/calm", "key-over", "v5_403_key_of_other_org"),
        ("/api/org-event-count/nobody", "key-calm", "v5_403_unknown_org"),
        ("/api/org-event-count/lost", "key-lost", "v5_403_unknown_key"),
        ("/api/org-event-count", "key-calm", "v5_404_wrong_path"),
        ("/api/org-event-count/", "key-calm", "v5_400_no_org"),
        (
            "/api/org-event-count/calm?start_date=2026-03-05&end_date=2026-03-01",
            "key-calm",
            "v5_start_after_end",
        ),
        (
            "/api/org-event-count/calm?start_date=2026-03-01&end_date=2026-02-30",
            "key-calm",
            "v5_500_clickhouse_down",
        ),
        (
            "/api/org-event-count/calm?start_date=2026-03-01&end_date=2026-03-02&time_zone=x",
            "key-calm",
            "v5_bad_time_zone",
        ),
    ],
)
def test_refusals_are_those_that_were_recorded(get, golden, target, key, recorded):
    answer = get(target, key)
    assert answer.status == golden[recorded]["status"]
    assert json.loads(answer.body) == golden[recorded]["body"]


def test_a_key_works_until_it_is_revoked(get, clock):
    clock.time = NOON - timedelta(milliseconds=1)
    assert get("/api/org-event-count/lost", "key-lost").status == 200
    clock.time = NOON
    assert get("/api/org-event-count/lost", "key-lost").status == 403


def test_public_paths_answer_without_a_key(get):
    assert json.loads(get("/api/version", key="").body) == {"version": "2.8.0"}
    assert get("/api/health", key="").body == b"OK"


def test_many_threads_are_served(http, simulator, clock):
    organization = Organization(simulator.url, "calm")
    client = RybbitClient(http, keys={organization: "key-calm"}, timeout=5)
    got = []

    def ask():
        got.append(client.days(organization, date(2026, 3, 1), date(2026, 3, 15)))

    ask()  # the first request of a client goes alone
    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [got[0]] * 17


def test_it_ends_at_once_with_connections_open(clock):
    with Simulator(clock, [CALM]) as simulator:
        port = int(simulator.url.rpartition(":")[2])
        idle = socket.create_connection(("127.0.0.1", port))
        idle.sendall(b"GET /api/health HTTP/1.1\r\n\r\n")
        assert idle.recv(10)
    with idle:
        idle.settimeout(5)
        while idle.recv(1000):
            pass


def test_after_its_end_nobody_answers(http, clock):
    with Simulator(clock, [CALM]) as simulator:
        organization = Organization(simulator.url, "calm")
    client = RybbitClient(http, keys={organization: "key-calm"}, timeout=5)
    with pytest.raises(UpstreamError) as caught:
        client.days(organization, date(2026, 3, 1), date(2026, 3, 15))
    assert caught.value.kind is ErrorKind.CONNECTION


def test_a_scene_does_not_show_its_key():
    assert "key-calm" not in repr(CALM)


def test_nothing_was_before_the_start():
    assert CALM.counts(date(2025, 12, 31), NOON).total() == 0
    assert CALM.counts(date(2026, 1, 1), NOON).total() > 0


def test_a_weekend_is_calmer_than_a_working_day():
    monday, sunday = date(2026, 3, 9), date(2026, 3, 8)
    assert CALM.volume(sunday) < 0.8 * CALM.volume(monday)


def test_a_viral_day_has_its_factor():
    day = date(2026, 3, 10)
    viral = Scene(
        id="calm", name="", api_key="k", base=3_000, started=date(2026, 1, 1), viral=((day, 5.0),)
    )
    assert viral.volume(day) == pytest.approx(5 * CALM.volume(day), rel=0.001)
    assert viral.volume(day + timedelta(1)) == CALM.volume(day + timedelta(1))


def test_growth_compounds_by_day():
    grows = Scene(
        id="calm", name="", api_key="k", base=3_000, started=date(2026, 1, 1), growth=1.02
    )
    day = date(2026, 3, 1)
    assert grows.volume(day) == pytest.approx(1.02**59 * CALM.volume(day), rel=0.001)


def test_types_are_split_as_in_life():
    month = Scene(id="m", name="", api_key="k", base=100_000, started=date(2026, 1, 1))
    counts = month.counts(date(2026, 3, 3), NOON)
    assert counts["pageview"] / counts.total() == pytest.approx(0.55, abs=0.01)
    assert 0.019 < counts["error"] / counts.total() < 0.051
    assert len(+counts) == 9


def test_past_the_limit_events_are_dropped_until_the_month_ends():
    month = month_of(date(2026, 3, 1))
    end = month.resets_at
    used = billed(OVER, month, end)
    assert 50_000 < used < 50_500
    assert OVER.counts(month.last_day, end).total() == 0
    assert OVER.counts(month.end, end + timedelta(hours=12)).total() > 0


def test_exactly_the_limit_is_not_over():
    month = month_of(date(2026, 3, 1))
    unlimited = Scene(id="x", name="", api_key="k", base=3_000, started=date(2026, 1, 1))
    used = billed(unlimited, month, month.resets_at)
    at = Scene(id="x", name="", api_key="k", base=3_000, started=date(2026, 1, 1), limit=used)
    assert billed(at, month, month.resets_at) == used


moments = st.integers(0, 95 * 24 * 3600).map(
    lambda seconds: datetime(2025, 12, 30, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(
    st.sampled_from([CALM, OVER]), st.dates(date(2025, 12, 30), date(2026, 4, 2)), moments, moments
)
def test_counts_only_grow(scene, day, first, second):
    earlier, later = sorted((first, second))
    before, after = scene.counts(day, earlier), scene.counts(day, later)
    assert all(0 <= before[kind] <= after[kind] for kind in after)
