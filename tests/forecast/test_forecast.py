import math
import operator
import random
from dataclasses import replace
from datetime import date, timedelta
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota_watch.forecast.forecast import Forecast, TooEarly, forecast
from quota_watch.model.period import ONE_DAY, month_of
from support.domain import MARCH

MARCH_10 = date(2026, 3, 10)


def days(counts, *, until=MARCH_10):
    """Return a history whose last count is that of `until`."""
    first = until - timedelta(days=len(counts) - 1)
    return {first + timedelta(days=n): count for n, count in enumerate(counts)}


def forecast_of(counts, *, until=MARCH_10, **how) -> Forecast:
    """Return the forecast for the month of `until`, at its end."""
    seen = forecast(days(counts, until=until), period=month_of(until), as_of=until, **how)
    assert isinstance(seen, Forecast)
    return seen


def uneven(number, *, spread=0.2, seed=1, mean=1000):
    return [round(mean * factor) for factor in factors(number, spread=spread, seed=seed)]


def factors(number, *, spread, seed):
    chance = random.Random(seed)  # noqa: S311 -- made-up traffic, nothing secret
    return [chance.lognormvariate(0, spread) for _ in range(number)]


def test_two_days_are_too_early() -> None:
    seen = forecast(days([5, 5]), period=MARCH, as_of=MARCH_10)
    assert seen == TooEarly(days=2, needed=3)


def test_three_days_are_enough() -> None:
    assert forecast_of([100, 100, 100]).p50 > 300


def test_a_new_organization_has_a_forecast_from_its_third_day_of_the_month() -> None:
    first_days = {date(2026, 3, 17): 40, date(2026, 3, 18): 60, date(2026, 3, 19): 50}
    early = {day: count for day, count in first_days.items() if day.day < 19}
    assert forecast(early, period=MARCH, as_of=date(2026, 3, 18)) == TooEarly(days=2)
    seen = forecast(first_days, period=MARCH, as_of=date(2026, 3, 19))
    assert isinstance(seen, Forecast)
    assert (seen.used, seen.p50) == (150, pytest.approx(150 + 12 * 50, rel=0.1))


def test_a_month_of_nothing_before_the_first_event_is_no_data() -> None:
    seen = forecast(days([0] * 60 + [5, 5]), period=MARCH, as_of=MARCH_10)
    assert seen == TooEarly(days=2)


def test_excluded_days_are_too_early_too() -> None:
    history = days([5] * 5)
    seen = forecast(history, period=MARCH, as_of=MARCH_10, excluded=list(history)[:3])
    assert seen == TooEarly(days=2)


def test_an_even_series_goes_on_as_it_was() -> None:
    assert forecast_of([100] * 90).p50 == pytest.approx(3100, rel=0.005)


def test_an_even_series_is_a_sure_one() -> None:
    seen = forecast_of([100] * 90)
    assert seen.p90 - seen.p10 < 0.1 * seen.p50


def test_used_is_what_the_period_had_so_far() -> None:
    assert forecast_of([7] * 90).used == 70


def test_the_path_adds_up_to_what_is_still_to_come() -> None:
    seen = forecast_of(uneven(90))
    assert len(seen.path) == 21
    assert seen.used + math.fsum(seen.path) == pytest.approx(seen.p50, abs=1)


def test_quiet_weekends_stay_quiet() -> None:
    first = MARCH_10 - timedelta(days=69)
    week = [20 if (first + n * ONE_DAY).weekday() > 4 else 100 for n in range(70)]
    seen = forecast_of(week)
    saturday = (date(2026, 3, 14) - MARCH_10).days - 1
    assert seen.path[saturday] < 35
    assert seen.path[saturday - 1] > 90


def test_from_three_days_weekends_are_taken_for_a_little_quieter() -> None:
    seen = forecast_of([100] * 3)
    saturday = (date(2026, 3, 14) - MARCH_10).days - 1
    assert 0.7 < seen.path[saturday] / seen.path[saturday - 1] < 1


def test_a_viral_day_is_counted_and_not_expected_again() -> None:
    calm = forecast_of([100] * 90)
    viral = forecast_of([100] * 85 + [2000] + [100] * 4)
    assert viral.p50 - 1900 == pytest.approx(calm.p50, rel=0.1)


def test_a_step_up_is_half_believed_within_a_week_and_all_of_it_is_in_the_band() -> None:
    seen = forecast_of([100] * 83 + [300] * 7)
    used = 3 * 100 + 7 * 300
    assert used + 21 * 170 < seen.p50
    assert seen.p90 > used + 21 * 300


def test_a_step_down_is_mostly_believed_within_a_week() -> None:
    seen = forecast_of([300] * 83 + [100] * 7)
    assert math.fsum(seen.path) < 21 * 150


@pytest.mark.parametrize("factor", [3, 1 / 3])
def test_the_band_reaches_a_step_of_three_days(factor) -> None:
    seen = forecast_of([*uneven(87, spread=0.05), *[round(1000 * factor)] * 3])
    came = seen.used + 21 * 1000 * factor
    assert seen.p10 < 1.2 * came
    assert seen.p90 > 0.8 * came


def test_tracking_that_was_dead_teaches_nothing_once_it_is_back() -> None:
    seen = forecast_of([100] * 78 + [0] * 10 + [100] * 2)
    assert math.fsum(seen.path) == pytest.approx(2100, rel=0.03)


def test_tracking_that_is_dead_for_ten_days_is_expected_back() -> None:
    assert math.fsum(forecast_of([100] * 80 + [0] * 10).path) > 0.9 * 2100


def test_dead_tracking_may_stay_so_to_the_end_of_the_month() -> None:
    alive, dead = (
        forecast_of(uneven(90), limit=20_000),
        forecast_of([*uneven(80), *[0] * 10], limit=20_000),
    )
    assert dead.p10 == dead.used
    assert dead.p90 - dead.used < 1.2 * (alive.p90 - alive.used)
    assert dead.probability_over < 0.7 < alive.probability_over


def test_the_first_event_after_dead_days_makes_the_rest_as_sure_as_ever() -> None:
    back = forecast_of([*uneven(80), *[0] * 10], counted=30, share=0.03)
    assert back.p10 > back.used + 0.5 * (back.p50 - back.used)


def test_a_site_that_is_dead_for_more_than_ten_days_is_closed() -> None:
    assert math.fsum(forecast_of([100] * 79 + [0] * 11).path) == 0


def test_a_site_that_is_quiet_at_weekends_is_not_dead_there() -> None:
    first = MARCH_10 - timedelta(days=69)
    week = [0 if (first + n * ONE_DAY).weekday() > 4 else 100 for n in range(70)]
    saturday = (date(2026, 3, 14) - MARCH_10).days - 1
    assert forecast_of(week).path[saturday] < 5


def test_a_third_outage_in_half_a_year_is_a_habit_and_teaches() -> None:
    once, habit = ([100] * 27 + [0] * 3, ([100] * 27 + [0] * 3) * 3)
    assert math.fsum(forecast_of([*habit, *[100] * 5]).path) < math.fsum(
        forecast_of([100] * 60 + once + [100] * 5).path
    )


def test_bursts_of_a_sparse_site_are_expected_again() -> None:
    seen = forecast_of([0, 0, 0, 0, 0, 0, 70] * 12)
    assert math.fsum(seen.path) == pytest.approx(21 * 10, rel=0.3)


def test_an_import_on_the_first_day_is_not_expected_again() -> None:
    seen = forecast_of([19_000, 0, 0, 0, 0], limit=20_000)
    assert (seen.p50, seen.probability_over) == (19_000, 0)


def test_sums_of_weeks_are_no_days() -> None:
    history = {MARCH_10 - timedelta(weeks=n): 700 for n in range(20)}
    assert forecast(history, period=MARCH, as_of=MARCH_10) == TooEarly(days=0)


def remembered(counts, limit, /, **changed):
    """Return the date told after `changed` was remembered of the day before."""
    before = forecast_of(counts[:-1], limit=limit, until=MARCH_10 - ONE_DAY).memory
    memory = replace(before, **changed)
    return forecast_of(counts, limit=limit, previous=memory).crosses_on.likely


def about_to_cross_on_the_eleventh_day(counts) -> tuple[int, date]:
    seen = forecast_of(counts)
    return seen.used + round(math.fsum(seen.path[:10])) + 20, MARCH_10 + 11 * ONE_DAY


def test_a_date_told_before_stays_while_it_is_about_as_likely() -> None:
    limit, fresh = about_to_cross_on_the_eleventh_day(uneven(90))
    assert forecast_of(uneven(90), limit=limit).crosses_on.likely == fresh
    assert remembered(uneven(90), limit, likely=fresh - ONE_DAY) == fresh - ONE_DAY
    assert remembered(uneven(90), limit, likely=fresh - 3 * ONE_DAY) == fresh


def test_a_date_told_of_another_limit_is_forgotten() -> None:
    limit, fresh = about_to_cross_on_the_eleventh_day(uneven(90))
    assert remembered(uneven(90), limit, likely=fresh - ONE_DAY, limit=limit + 1) == fresh


def test_a_date_is_forgotten_where_a_whole_day_has_changed_since() -> None:
    limit, fresh = about_to_cross_on_the_eleventh_day(uneven(90))
    assert remembered(uneven(90), limit, likely=fresh - ONE_DAY, used=7) == fresh


def test_a_date_is_forgotten_where_there_is_evidence_to_warn_now() -> None:
    fresh = forecast_of(uneven(90), limit=15_000)
    assert fresh.memory.sure
    day = fresh.crosses_on.likely + ONE_DAY
    assert remembered(uneven(90), 15_000, likely=day, sure=False) == fresh.crosses_on.likely


def test_steady_growth_goes_on() -> None:
    counts = [round(1000 * 1.05 ** (n / 7)) for n in range(111)]
    seen = forecast_of(counts[:90])
    assert seen.used + sum(counts[90:]) == pytest.approx(seen.p50, rel=0.04)


def test_an_outage_of_three_days_is_no_new_level() -> None:
    seen = forecast_of([100] * 87 + [0] * 3)
    assert math.fsum(seen.path) > 0.8 * 2100


def test_what_stays_at_zero_is_believed() -> None:
    seen = forecast_of([100] * 69 + [0] * 21)
    assert math.fsum(seen.path) < 0.15 * 2100


def test_last_years_season_is_expected_again() -> None:
    year = [1000] * 393
    start = 393 - 364
    year[start : start + 21] = [1500] * 21
    assert math.fsum(forecast_of(year).path) > 1.1 * math.fsum(forecast_of([1000] * 393).path)


def test_a_spike_on_the_newest_day_moves_the_days_ahead_little() -> None:
    calm, spiked = forecast_of([100] * 60), forecast_of([100] * 59 + [100_000])
    assert math.fsum(spiked.path) < 1.5 * math.fsum(calm.path)


def test_one_huge_day_in_nothing_is_not_the_level() -> None:
    seen = forecast_of([0] * 20 + [10**9] + [0] * 9)
    assert math.fsum(seen.path) < 21 * 10**9 / 30


def test_a_first_day_that_was_huge_is_mostly_taken_for_a_spike() -> None:
    assert math.fsum(forecast_of([5000, 100, 100]).path) < 21 * 250


def test_counts_a_day_that_is_excluded_and_the_newest() -> None:
    seen = forecast(days([100] * 60), period=MARCH, as_of=MARCH_10, excluded=[MARCH_10])
    assert isinstance(seen, Forecast)
    assert (seen.used, len(seen.path)) == (1000, 21)


def test_excluded_days_teach_nothing_but_are_used() -> None:
    history = days([100] * 85 + [3] * 5)
    capped = {day for day, count in history.items() if count == 3}
    seen = forecast(history, period=MARCH, as_of=MARCH_10, excluded=capped)
    assert isinstance(seen, Forecast)
    assert seen.used == 515
    assert math.fsum(seen.path) == pytest.approx(2100, rel=0.03)


def test_missing_days_are_not_zeros() -> None:
    history = days([100] * 90)
    for day in list(history)[70:76]:
        del history[day]
    seen = forecast(history, period=MARCH, as_of=MARCH_10)
    assert isinstance(seen, Forecast)
    assert math.fsum(seen.path) == pytest.approx(2100, rel=0.03)


def test_days_after_as_of_are_not_looked_at() -> None:
    history = days([100] * 90)
    later = history | {MARCH_10 + ONE_DAY: 10**6}
    assert forecast(later, period=MARCH, as_of=MARCH_10) == forecast(
        history, period=MARCH, as_of=MARCH_10
    )


def test_the_order_of_the_history_does_not_matter() -> None:
    history = list(days(uneven(60)).items())
    assert forecast(dict(history[::-1]), period=MARCH, as_of=MARCH_10) == forecast(
        dict(history), period=MARCH, as_of=MARCH_10
    )


def test_on_the_last_day_all_is_known() -> None:
    seen = forecast_of([100] * 90, until=date(2026, 3, 31))
    assert (seen.p10, seen.p50, seen.p90, seen.warn_at, seen.path) == (3100, 3100, 3100, 3100, ())


def test_a_period_can_be_forecast_before_its_first_day() -> None:
    history = days([100] * 90, until=date(2026, 2, 28))
    seen = forecast(history, period=MARCH, as_of=date(2026, 2, 28))
    assert isinstance(seen, Forecast)
    assert (seen.used, len(seen.path)) == (0, 31)


def test_without_a_limit_nothing_is_said_about_it() -> None:
    seen = forecast_of([100] * 90)
    assert (seen.probability_over, seen.crosses_on) == (None, None)


def test_the_likely_total_as_limit_is_passed_with_even_chances() -> None:
    seen = forecast_of(uneven(90))
    assert forecast_of(uneven(90), limit=seen.p50).probability_over == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("quantile", "chance"), [("p10", 0.9), ("p90", 0.1)])
def test_the_chances_and_the_band_agree(quantile, chance) -> None:
    limit = getattr(forecast_of(uneven(90)), quantile)
    assert forecast_of(uneven(90), limit=limit).probability_over == pytest.approx(chance, abs=0.01)


@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_of_next_to_nothing_is_sure_to_be_passed(limit) -> None:
    seen = forecast_of([100] * 60, until=date(2026, 2, 28), limit=limit)
    assert seen.probability_over == 1.0
    assert seen.crosses_on.likely == date(2026, 2, 1)


def test_before_the_first_day_even_a_limit_of_zero_is_only_expected_to_be_passed() -> None:
    history = days([100] * 60, until=date(2026, 2, 28))
    seen = forecast(history, period=MARCH, as_of=date(2026, 2, 28), limit=0)
    assert isinstance(seen, Forecast)
    assert (seen.used, seen.crosses_on.likely) == (0, date(2026, 3, 1))


def test_exactly_at_the_limit_is_not_over_at_the_end() -> None:
    at_the_end = forecast_of([100] * 90, until=date(2026, 3, 31), limit=3100)
    assert at_the_end.probability_over == 0.0


def test_what_is_over_stays_over() -> None:
    assert forecast_of([100] * 90, limit=999).probability_over == 1.0


def test_the_crossing_is_dated() -> None:
    crossing = forecast_of([100] * 90, limit=1950).crosses_on
    assert crossing.likely == date(2026, 3, 20)
    assert crossing.early <= crossing.likely <= crossing.late


def test_a_crossing_that_is_only_possible_has_no_likely_day() -> None:
    limit = forecast_of(uneven(90)).p50 + 200
    crossing = forecast_of(uneven(90), limit=limit).crosses_on
    assert crossing.early is not None
    assert (crossing.likely, crossing.late) == (None, None)


def test_a_crossing_that_was_is_the_day_it_was() -> None:
    crossing = forecast_of([100] * 90, limit=450).crosses_on
    assert crossing.early == crossing.likely == crossing.late == date(2026, 3, 5)


def test_early_in_the_month_a_warning_takes_strong_evidence() -> None:
    seen = forecast_of(uneven(90), until=date(2026, 3, 3))
    assert seen.warn_at < seen.p10


def test_an_uneven_series_asks_for_more_evidence_than_an_even_one() -> None:
    even, restless = forecast_of([1000] * 90), forecast_of(uneven(90, spread=0.5))
    assert restless.warn_at / restless.p50 < even.warn_at / even.p50 < 1


def test_late_in_the_month_little_more_than_the_likely_total_is_asked_for() -> None:
    seen = forecast_of(uneven(90), until=date(2026, 3, 27))
    assert (seen.p10 + seen.p50) / 2 < seen.warn_at < seen.p50


def test_a_day_that_has_not_begun_changes_nothing() -> None:
    assert forecast_of([100] * 90, counted=0, share=0.0) == forecast_of([100] * 90)


def test_a_day_on_its_usual_pace_changes_little() -> None:
    seen = forecast_of([100] * 90, counted=50, share=0.5)
    assert seen.used == 1050
    assert seen.p50 == pytest.approx(3100, rel=0.005)
    assert seen.path[0] == pytest.approx(50, rel=0.05)


def test_a_surge_today_is_counted_and_expected_to_last_the_day() -> None:
    seen = forecast_of([100] * 90, counted=500, share=0.5)
    assert 3100 + 600 < seen.p50 < 3100 + 1000


def test_a_limit_passed_today_is_passed_today() -> None:
    seen = forecast_of([100] * 90, counted=500, share=0.5, limit=1200)
    assert seen.crosses_on.likely == MARCH_10 + ONE_DAY


def test_a_day_that_is_over_has_nothing_more_to_come() -> None:
    seen = forecast_of([100] * 90, counted=80, share=1.0)
    assert (seen.used, seen.path[0]) == (1080, 0)


def test_the_first_day_of_a_period_can_be_a_part_day() -> None:
    history = days([100] * 90, until=date(2026, 2, 28))
    seen = forecast(history, period=MARCH, as_of=date(2026, 2, 28), counted=25, share=0.25)
    assert isinstance(seen, Forecast)
    assert (seen.used, seen.p50) == (25, pytest.approx(3100, rel=0.005))


@pytest.mark.parametrize("limit", [0, 1, 1000])
def test_nothing_at_all_is_expected_to_go_on(limit) -> None:
    seen = forecast_of([0] * 30, limit=limit)
    assert (seen.p10, seen.p50, seen.p90, seen.warn_at) == (0, 0, 0, 0)
    assert (seen.probability_over, seen.crosses_on.early) == (0.0, None)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.just(0), st.integers(0, 20), st.integers(0, 10**15)), min_size=3),
    st.integers(1, 31),
    st.integers(0, 10**15),
    st.just((0, 0.0)) | st.tuples(st.integers(0, 10**15), st.floats(0, 1)),
)
def test_any_history_has_an_ordered_and_finite_answer(counts, day, limit, part) -> None:
    until, (counted, share) = date(2026, 3, day), part
    seen = forecast(
        days(counts, until=until),
        period=MARCH,
        as_of=until,
        limit=limit,
        counted=counted,
        share=share,
    )
    if isinstance(seen, Forecast):
        assert seen.used <= seen.p10 <= seen.p50 <= seen.p90
        assert seen.used <= seen.warn_at <= seen.p50
        assert 0 <= seen.probability_over <= 1
        assert all(math.isfinite(count) and count >= 0 for count in seen.path)


@given(st.lists(st.integers(0, 1000), min_size=3, max_size=60), st.integers(0, 10**5))
def test_a_higher_limit_is_never_likelier_to_be_passed(counts, limit) -> None:
    history, how = days(counts), {"period": MARCH, "as_of": MARCH_10}
    lower, higher = (forecast(history, limit=n, **how) for n in (limit, limit + 50))
    if isinstance(lower, Forecast):
        assert lower.probability_over >= higher.probability_over


def test_four_in_five_months_end_in_the_band() -> None:
    inside = 0
    for seed in range(100):
        level = accumulate(factors(111, spread=0.07, seed=seed), operator.mul)
        counts = [round(a * b) for a, b in zip(level, uneven(111, seed=seed + 500), strict=True)]
        seen = forecast_of(counts[:90])
        inside += seen.p10 <= seen.used + sum(counts[90:]) <= seen.p90
    assert 70 <= inside <= 92
