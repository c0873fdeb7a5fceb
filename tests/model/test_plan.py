import pytest

from quota_watch.model.limit import LIST_PRICES, NOT_COUNTED, RYBBIT_PLANS, Plan, find_plan

K, M = 1_000, 1_000_000
BIG = {
    "100k": 100 * K,
    "250k": 250 * K,
    "500k": 500 * K,
    "1m": 1 * M,
    "2m": 2 * M,
    "5m": 5 * M,
    "10m": 10 * M,
    "20m": 20 * M,
    "30m": 30 * M,
    "40m": 40 * M,
    "50m": 50 * M,
}
SOLD = (
    {"free": 3 * K, "basic100k": 100 * K, "basic250k": 250 * K}
    | {f"standard{size}": limit for size, limit in BIG.items()}
    | {f"pro{size}": limit for size, limit in BIG.items()}
    | {
        "appsumo-1": 20 * K,
        "appsumo-2": 100 * K,
        "appsumo-3": 250 * K,
        "appsumo-4": 500 * K,
        "appsumo-5": 1 * M,
        "appsumo-6": 2 * M,
        "appsumo-7": 3 * M,
    }
)
"""Every plan of UPSTREAM.md § 6, written out."""


@pytest.mark.parametrize(("name", "limit"), SOLD.items())
def test_a_plan_has_its_limit(name, limit) -> None:
    plan = find_plan(name)
    assert plan is not None
    assert (plan.name, plan.limit, plan.not_counted) == (name, limit, NOT_COUNTED)


@pytest.mark.parametrize(("name", "limit"), SOLD.items())
def test_a_yearly_plan_has_the_monthly_limit_of_its_namesake(name, limit) -> None:
    plan = find_plan(f"{name}-annual")
    assert plan is not None
    assert plan.limit == limit


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("standard100k", "$19 a month"),
        ("standard250k", "$29 a month"),
        ("standard250k-annual", "$232 a year"),
        ("pro50m", "$1,699 a month"),
        ("basic100k", None),
        ("appsumo-3", None),
        ("free", None),
    ],
)
def test_a_plan_has_the_price_of_rybbits_own_list(name, price) -> None:
    assert LIST_PRICES.get(name) == price


def test_there_is_no_other_plan() -> None:
    assert set(RYBBIT_PLANS) == set(SOLD)


@pytest.mark.parametrize(
    "name", ["custom", "Unknown Plan", "", "Free", "pro", "pro3m", "appsumo-8", "-annual"]
)
def test_what_is_no_plan_is_none(name) -> None:
    assert find_plan(name) is None


def test_whether_events_are_dropped_is_the_servers_to_say() -> None:
    assert {plan.drops for plan in RYBBIT_PLANS.values()} == {None}


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RYBBIT_PLANS["free"] = Plan("free", 1)
