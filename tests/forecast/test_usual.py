from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.usual import Usual, usual_days

TODAY = date(2026, 3, 30)  # a Monday


def before_today(counts) -> dict[date, int]:
    return {TODAY - timedelta(len(counts) - n): count for n, count in enumerate(counts)}


def usual(counts, **how) -> Usual:
    found = usual_days(before_today(counts), before=TODAY, **how)
    assert found is not None
    return found


def test_even_days_are_what_is_usual() -> None:
    found = usual([1000] * 56)
    assert found.most(TODAY) == pytest.approx(1000, rel=0.03)
    assert found.least(TODAY) == pytest.approx(1000, rel=0.03)


def test_six_days_are_too_few_and_days_before_the_first_event_are_none() -> None:
    assert usual_days(before_today([0] * 40 + [5] * 6), before=TODAY) is None
    assert usual([0] * 40 + [5] * 7).days == 7


def test_a_lone_odd_day_changes_nothing_usual() -> None:
    assert usual([1000] * 55 + [50_000]).most(TODAY) < 1200
    assert usual([1000] * 55 + [0]).least(TODAY) > 900


def test_after_a_quiet_week_a_usual_day_is_not_too_much() -> None:
    found = usual([1000] * 49 + [300] * 7)
    assert found.most(TODAY) > 900
    assert found.least(TODAY) < 400


def test_weekends_are_expected_to_be_what_they_are() -> None:
    weeks = [100 if day.weekday() >= 5 else 1000 for day in before_today([0] * 56)]
    assert usual(weeks).most(date(2026, 4, 4)) < 200


def test_where_bursts_are_usual_so_is_a_burst() -> None:
    found = usual([0, 0, 900, 0, 0, 700, 0, 800] * 7)
    assert found.busy > 250
    assert found.spread_up > 0.7


def test_three_busy_days_in_eight_weeks_are_a_habit_and_two_are_not() -> None:
    assert usual([1000] * 50 + [5000] * 2).highest(TODAY) < 1500
    assert usual([1000] * 50 + [5000] * 3).highest(TODAY) > 5000


def test_where_most_days_have_nothing_a_burst_like_the_last_is_no_news() -> None:
    found = usual([0, 0, 0, 40, 0, 0, 80] * 8)
    assert found.highest(TODAY) > 80
    assert set(found.factors) == {1.0}


def test_excluded_days_teach_nothing() -> None:
    days = before_today([1000] * 40 + [0] * 16)
    found = usual_days(days, before=TODAY, excluded=[d for d, n in days.items() if not n])
    assert found is not None
    assert found.least(TODAY) > 900
    assert found.quiet_runs == ()


def test_silences_are_known_by_their_days() -> None:
    assert usual([100] * 20 + [0] * 3 + [100] * 20 + [0] + [100] * 12).quiet_runs == (3, 1)


@given(st.lists(st.integers(0, 10**9), max_size=70), st.sets(st.integers(0, 60)))
def test_levels_are_ordered_and_nothing_is_negative(counts, missing) -> None:
    days = {d: n for d, n in before_today(counts).items() if (TODAY - d).days not in missing}
    found = usual_days(days, before=TODAY)
    assert found is None or (
        0 <= found.slow <= found.busy and min(found.spread_up, found.spread_down) > 0
    )
