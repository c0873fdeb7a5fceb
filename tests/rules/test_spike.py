from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.usual import flat_shape, usual_days
from quota_watch.rules.spike import SpikeReason, Today, judge_spike
from quota_watch.rules.verdict import State, Verdict

MONDAY = date(2026, 3, 30)
NOON = datetime(2026, 3, 30, 12, tzinfo=UTC)
LEARNED = flat_shape(days=28)
USUAL = usual_days({MONDAY - timedelta(n): 1000 + n % 5 * 20 for n in range(1, 57)}, before=MONDAY)
DAY_BEFORE = MONDAY - timedelta(1)


def judged(counted, *, shape=LEARNED, usual=USUAL, now=NOON, **how) -> Verdict:
    told = {name: how.pop(name) for name in ("open_since", "last_began") if name in how}
    today = Today(now=now, counted=counted, limit=30_000, by_type={}, usual_by_type={})
    return judge_spike(replace(today, **how), usual=usual, shape=shape, **told)


def test_a_usual_day_is_no_spike() -> None:
    found = judged(520)
    assert (found.state, found.reason) == (State.FALSE, SpikeReason.USUAL)


def test_three_times_what_should_be_by_now_is_one() -> None:
    found = judged(3000)
    assert (found.state, found.reason) == (State.TRUE, SpikeReason.FAR_ABOVE_USUAL)
    assert found.figures is not None
    assert found.figures.expected == pytest.approx(520, abs=15)
    assert found.figures.excess == 3000 - found.figures.expected
    assert found.figures.excess_percent == pytest.approx(8.3, abs=0.1)
    assert found.figures.factor == pytest.approx(5.8, abs=0.2)


def test_what_is_far_above_but_small_beside_the_limit_is_none() -> None:
    assert judged(3000, limit=1_000_000).reason is SpikeReason.TOO_SMALL


def test_what_moves_the_forecast_over_the_limit_matters_however_small() -> None:
    found = judged(3000, limit=1_000_000, p50=1_001_000)
    assert found.state is State.TRUE
    assert found.figures is not None
    assert found.figures.moves_over


def test_a_forecast_that_was_over_anyway_is_not_moved() -> None:
    assert judged(3000, limit=1_000_000, p50=1_500_000).reason is SpikeReason.TOO_SMALL


def test_a_handful_of_events_is_none_whatever_the_limit() -> None:
    few = usual_days({MONDAY - timedelta(n): 1 for n in range(1, 57)}, before=MONDAY)
    assert judged(15, usual=few, limit=100).state is State.FALSE


def test_until_the_shape_is_known_today_must_pass_three_whole_days() -> None:
    assert judged(2900, shape=flat_shape(6)).state is State.FALSE
    assert judged(3300, shape=flat_shape(6)).state is State.TRUE


def test_the_types_that_grew_are_named_the_greatest_first() -> None:
    found = judged(
        3000,
        by_type={"pageview": 500, "performance": 2000, "copy": 500},
        usual_by_type={"pageview": 25_000, "performance": 3000},
    )
    assert found.figures is not None
    assert [each.type for each in found.figures.types] == ["performance", "copy", "pageview"]
    assert found.figures.types[1].excess == 500


def test_a_day_is_told_once() -> None:
    assert judged(3000, last_began=MONDAY).reason is SpikeReason.TOLD_TODAY
    assert judged(3000, last_began=DAY_BEFORE).state is State.TRUE


def test_a_story_goes_on_while_half_as_far_above() -> None:
    assert judged(1100).state is State.FALSE
    assert judged(1100, open_since=MONDAY).reason is SpikeReason.STILL_ABOVE_USUAL
    assert judged(800, open_since=MONDAY).state is State.FALSE


def test_the_next_day_is_not_judged_calm_before_its_second_half() -> None:
    morning = NOON - timedelta(hours=1)
    assert judged(400, open_since=DAY_BEFORE, now=morning).state is State.UNKNOWN
    assert judged(400, open_since=DAY_BEFORE).state is State.FALSE
    assert judged(400, open_since=DAY_BEFORE, shape=flat_shape(3)).state is State.UNKNOWN


def test_after_a_week_it_is_the_new_usual() -> None:
    found = judged(3000, open_since=MONDAY - timedelta(7))
    assert (found.state, found.reason) == (State.FALSE, SpikeReason.NEW_USUAL)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"capped": True}, SpikeReason.CAPPED),
        ({"limit": None}, SpikeReason.NO_LIMIT),
        ({"usual": None}, SpikeReason.TOO_LITTLE_HISTORY),
    ],
)
def test_what_cannot_be_judged_is_unknown(how, reason) -> None:
    assert judged(9000, **how) == Verdict(state=State.UNKNOWN, reason=reason)


counts = st.lists(st.integers(0, 10**6), min_size=7, max_size=56)
clock = st.integers(0, 86_399).map(
    lambda seconds: datetime(2026, 3, 30, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(counts, st.integers(0, 10**7), st.integers(0, 10**7), clock, st.integers(0, 40))
def test_more_events_are_never_less_of_a_spike(history, one, other, now, days) -> None:
    past = {MONDAY - timedelta(n + 1): count for n, count in enumerate(history)}
    how = {"usual": usual_days(past, before=MONDAY), "shape": flat_shape(days), "now": now}
    low, high = judged(min(one, other), **how), judged(max(one, other), **how)
    assert not (low.state is State.TRUE and high.state is State.FALSE)
    assert low.figures is None or 0 <= low.figures.excess <= min(one, other)
