from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.demo.simulator import BURST, Budgets, daily_limit

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def spend(budgets, n, *, now=NOON, daily=5_000, owner="o"):
    return [budgets.charge(owner, daily=daily, now=now) for _ in range(n)][-1]


def rate_headers(answer):
    return {
        name: value
        for name, value in answer["headers"].items()
        if "ratelimit" in name or name == "retry-after"
    }


@pytest.mark.parametrize("name", ["v5_429_burst", "v5_429_daily", "v5_cloud_daily_nearly_spent"])
def test_recorded_headers_and_bodies_are_met(golden, name):
    recorded = golden[name]
    headers = rate_headers(recorded)
    left = int(headers["x-ratelimit-daily-remaining"])
    now = datetime(2026, 11, 23, tzinfo=UTC) - int(headers["x-ratelimit-daily-reset"]) * SECOND
    budgets = Budgets()
    charged = 5_000 - left
    quiet = charged - (BURST if name == "v5_429_burst" else 1) if left else charged
    for n in range(quiet):  # long before, a second apart
        budgets.charge("o", daily=5_000, now=now - (6_000 - n) * SECOND)
    spent = spend(budgets, charged - quiet + (recorded["status"] == 429), now=now)
    assert dict(spent.headers) == headers
    assert spent.body == (recorded["body"] if recorded["status"] == 429 else None)


def test_five_requests_a_second_come_back():
    budgets = Budgets()
    spend(budgets, 50)
    for n in range(1, 26):
        answer = spend(budgets, 1, now=NOON + n * SECOND / 5)
        assert answer.body is None
    assert spend(budgets, 1, now=NOON + 5 * SECOND).body["scope"] == "burst"


def test_a_refused_burst_costs_nothing_of_the_day():
    budgets = Budgets()
    before = spend(budgets, 50).headers["x-ratelimit-daily-remaining"]
    assert spend(budgets, 9).headers["x-ratelimit-daily-remaining"] == before == "4950"


def test_the_day_begins_again_at_midnight_utc():
    budgets = Budgets()
    late = NOON.replace(hour=23, minute=59, second=59)
    assert spend(budgets, 3, now=late, daily=2).body["retryAfter"] == 1
    assert spend(budgets, 1, now=late + SECOND, daily=2).body is None


def test_owners_have_budgets_of_their_own():
    budgets = Budgets()
    assert spend(budgets, 51).body is not None
    assert spend(budgets, 1, owner="other").body is None


def test_a_clock_that_goes_back_refills_nothing():
    budgets = Budgets()
    spend(budgets, 50)
    assert spend(budgets, 1, now=NOON - SECOND).body is not None


@pytest.mark.parametrize(
    ("plan", "a_day"),
    [("free", 5_000), ("standard5m", 5_000), ("appsumo-3", 5_000), ("pro1m", 25_000),
     ("pro100k-annual", 25_000), ("custom", 25_000)],
)  # fmt: skip
def test_the_plan_decides_the_day(plan, a_day):
    assert daily_limit(plan) == a_day


@given(st.lists(st.floats(0, 5), max_size=200), st.integers(1, 100))
def test_never_more_than_the_limits_pass(waits, daily):
    budgets, now, passed = Budgets(), NOON, []
    for wait in waits:
        now += timedelta(seconds=wait)
        if budgets.charge("o", daily=daily, now=now).body is None:
            passed.append(now)
    assert len(passed) <= daily
    for n, first in enumerate(passed):
        for m, last in enumerate(passed[n:], start=1):
            assert m <= BURST + 5 * (last - first).total_seconds() + 0.001
