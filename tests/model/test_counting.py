from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.period import DayCounts, count, is_over, percent
from support.domain import MARCH

TYPES = ("pageview", "custom_event", "error", "other", "tomorrows_type")
by_type = st.dictionaries(st.sampled_from(TYPES), st.integers(0, 10**12))
around_march = st.integers(-40, 70).map(lambda days: MARCH.start + timedelta(days=days))
months = st.dictionaries(around_march, by_type, max_size=40).map(
    lambda found: [DayCounts(day, counts) for day, counts in found.items()]
)
types_outside = st.frozensets(st.sampled_from(TYPES))


def usage_of(days, *, today=MARCH.start, not_counted=frozenset({"error"}), limit=None):
    return count(days, period=MARCH, today=today, not_counted=not_counted, limit=limit)


@given(months, types_outside)
def test_used_is_every_counted_event_of_the_period_and_no_other(days, not_counted) -> None:
    brute_force = 0
    for each in days:
        if each.day.year == 2026 and each.day.month == 3:
            for kind, number in each.by_type.items():
                if kind not in not_counted:
                    brute_force += number
    assert usage_of(days, not_counted=not_counted).used == brute_force


@given(months, types_outside)
def test_counted_and_not_counted_types_are_everything_once(days, not_counted) -> None:
    usage = usage_of(days, not_counted=not_counted)
    everything = sum(sum(each.by_type.values()) for each in days if each.day in MARCH)
    assert sum(usage.by_type.values()) == usage.used
    assert usage.used + sum(usage.not_counted.values()) == everything
    assert set(usage.not_counted) <= not_counted
    assert not set(usage.by_type) & not_counted


@given(months, st.integers(0, 10**13))
def test_the_crossing_is_the_first_day_that_ends_over_the_limit(days, limit) -> None:
    totals = {
        day: sum(each.counted({"error"}) for each in days if each.day in MARCH and each.day <= day)
        for day in (each.day for each in days if each.day in MARCH)
    }
    over = [day for day, total in totals.items() if total > limit]
    assert usage_of(days, limit=limit).crossed_on == min(over, default=None)


@given(months.flatmap(st.permutations))
def test_the_order_of_the_days_does_not_matter(days) -> None:
    in_order = sorted(days, key=lambda each: each.day)
    assert usage_of(days, limit=1000) == usage_of(in_order, limit=1000)


@given(months, around_march)
def test_today_is_counted_only_if_it_lies_in_the_period(days, today) -> None:
    counted = sum(each.counted({"error"}) for each in days if each.day == today)
    assert usage_of(days, today=today).used_today == (counted if today in MARCH else 0)


def test_no_days_are_no_events() -> None:
    usage = usage_of([], limit=0)
    assert (usage.used, usage.by_type, usage.not_counted, usage.crossed_on) == (0, {}, {}, None)


def test_errors_are_seen_but_do_not_count() -> None:
    usage = usage_of([DayCounts(MARCH.start, {"pageview": 7, "error": 5})])
    assert (usage.used, usage.by_type, usage.not_counted) == (7, {"pageview": 7}, {"error": 5})


def test_exactly_at_the_limit_is_not_a_crossing() -> None:
    days = [DayCounts(MARCH.start, {"pageview": 100})]
    assert usage_of(days, limit=100).crossed_on is None
    assert usage_of(days, limit=99).crossed_on == MARCH.start


def test_the_last_day_counts_and_the_next_does_not() -> None:
    days = [DayCounts(day, {"pageview": 1}) for day in (MARCH.last_day, MARCH.end)]
    assert usage_of(days).used == 1


def test_counts_past_what_a_double_holds_stay_exact() -> None:
    days = [DayCounts(date(2026, 3, day), {"pageview": 2**53 + 1}) for day in (1, 2)]
    assert usage_of(days).used == 2**54 + 2


@given(st.integers(0, 10**15), st.integers(1, 10**15))
def test_percent_is_cut_to_one_decimal(used, limit) -> None:
    shown = percent(used, limit)
    exact = Fraction(used * 100, limit)
    assert shown is not None
    assert shown == round(shown, 1)
    assert 0 <= exact - Fraction(str(shown)) < Fraction(1, 10)


@given(st.integers(1, 10**15))
def test_percent_is_100_exactly_from_the_limit_on(limit) -> None:
    assert percent(limit - 1, limit) < 100.0
    assert percent(limit, limit) == 100.0


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_there_is_no_percentage(limit) -> None:
    assert percent(5, limit) is None


@pytest.mark.parametrize(
    ("used", "limit", "over"),
    [(99, 100, False), (100, 100, False), (101, 100, True), (10**9, None, False), (1, 0, True)],
)
def test_over_is_past_the_limit(used, limit, over) -> None:
    assert is_over(used, limit) is over
