from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.forecast import Forecast, forecast
from quota_watch.forecast.remedies import (
    PlanFit,
    family_of,
    smaller_plan,
    smallest_plan,
    totals_ahead,
)
from support.domain import MARCH

MARCH_10 = date(2026, 3, 10)


@pytest.mark.parametrize(
    ("plan", "family"),
    [
        ("pro1m-annual", "pro"),
        ("basic100k", "basic"),
        ("appsumo-3", "standard"),
        (None, "standard"),
    ],
)
def test_a_plan_stays_in_its_family(plan, family) -> None:
    assert family_of(plan) == family


def test_the_smallest_plan_that_holds_every_total_is_found() -> None:
    found = smallest_plan([240_000, 260_000, 210_000], plan="pro100k")
    assert found == PlanFit(plan="pro500k", limit=500_000, needed=260_000)


def test_a_basic_plan_that_is_outgrown_becomes_standard() -> None:
    found = smallest_plan([300_000], plan="basic250k")
    assert found is not None
    assert found.plan == "standard500k"


def test_what_no_plan_holds_has_none() -> None:
    assert smallest_plan([60_000_000], plan="pro1m") is None


def test_forty_percent_for_three_months_is_more_than_enough() -> None:
    found = smaller_plan([900_000, 150_000, 90_000, 190_000], plan="standard500k", limit=500_000)
    assert found is not None
    assert found.plan == "standard250k"


@pytest.mark.parametrize("totals", [[150_000] * 2, [150_000, 210_000, 150_000]])
def test_less_evidence_or_more_use_is_no_reason_for_less(totals) -> None:
    assert smaller_plan(totals, plan="standard500k", limit=500_000) is None


def test_the_smallest_plan_has_no_smaller_one() -> None:
    assert smaller_plan([9] * 3, plan="standard100k", limit=100_000) is None


def ahead(counts) -> tuple[int, ...]:
    past = {MARCH_10 - timedelta(len(counts) - 1 - n): count for n, count in enumerate(counts)}
    seen = forecast(past, period=MARCH, as_of=MARCH_10)
    assert isinstance(seen, Forecast)
    return tuple(totals_ahead(seen, counted=past, period=MARCH).values())


def test_an_even_course_needs_a_tenth_of_room() -> None:
    now, april, may = ahead([1000] * 70)
    assert now < 34_000
    assert (april, may) == (pytest.approx(33_000, rel=0.02), pytest.approx(34_100, rel=0.02))


def test_growth_is_expected_to_go_on() -> None:
    grown = ahead([round(1000 * 1.05 ** (n / 7)) for n in range(70)])
    assert grown[2] > 1.15 * grown[1] > 1.15 * grown[0]


@given(st.lists(st.integers(0, 10**7), min_size=3, max_size=70))
def test_a_plan_that_is_found_holds_what_is_to_come(counts) -> None:
    totals = ahead(counts)
    found = smallest_plan(totals, plan="standard100k")
    assert found is None or found.limit >= max(totals) == found.needed
    assert min(totals) >= 0


def test_days_on_which_events_were_dropped_do_not_make_a_plan_look_large_enough() -> None:
    days = {MARCH_10 - timedelta(days=n): 1000 if n > 24 else 3 for n in range(80)}
    dropped = {day for day, count in days.items() if count == 3}
    seen = forecast(days, period=MARCH, as_of=MARCH_10, limit=None, excluded=dropped)
    assert isinstance(seen, Forecast)
    _, april, _ = totals_ahead(seen, counted=days, period=MARCH, excluded=dropped).values()
    assert april >= 30_000
