from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.accuracy import (
    CheckDay,
    DateCheck,
    PastForecast,
    PastPeriod,
    accuracy,
    date_accuracy,
    days_judged,
)
from quota_watch.forecast.forecast import DateMemory
from quota_watch.model.period import each_day, month_of

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)


def kept(as_of, p50) -> dict[date, PastForecast]:
    return {as_of: PastForecast(as_of=as_of, p10=p50 - 50, p50=p50, p90=p50 + 50)}


def test_every_check_day_has_the_mean_of_what_it_was_off_by() -> None:
    made = kept(date(2026, 1, 10), 1040) | kept(date(2026, 2, 10), 880)
    closed = [
        PastPeriod(period=month_of(JANUARY), counted={JANUARY: 1000}),
        PastPeriod(period=month_of(FEBRUARY), counted={FEBRUARY: 1000}),
    ]
    assert accuracy(closed, made) == (
        CheckDay(
            day=10, periods=2, error_percent=8.0, worst_percent=12.0, bias_percent=-4.0, in_band=1
        ),
    )


def test_a_missing_day_is_stood_for_by_one_of_the_two_before_it() -> None:
    closed = [PastPeriod(period=month_of(JANUARY), counted={JANUARY: 1000})]
    assert [each.day for each in accuracy(closed, kept(date(2026, 1, 8), 1000))] == [10]
    assert accuracy(closed, kept(date(2026, 1, 7), 1000)) == ()


def test_capped_and_empty_periods_are_no_measure() -> None:
    made = kept(date(2026, 1, 10), 1000)
    assert (
        accuracy([PastPeriod(period=month_of(JANUARY), counted={JANUARY: 900}, capped=True)], made)
        == ()
    )
    assert accuracy([PastPeriod(period=month_of(JANUARY), counted={JANUARY: 0})], made) == ()


def test_only_the_latest_periods_count() -> None:
    starts = [date(2026, month, 1) for month in range(7, 0, -1)]
    closed = [PastPeriod(period=month_of(start), counted={start: 1000}) for start in starts]
    made = kept(date(2026, 1, 10), 1500)
    for start in starts[:-1]:
        made |= kept(start.replace(day=10), 1000)
    (check,) = accuracy(closed, made)
    assert (check.periods, check.error_percent) == (6, 0.0)


@given(
    st.dictionaries(st.integers(1, 12), st.integers(0, 10**9)),
    st.lists(st.tuples(st.dates(date(2026, 1, 1), date(2026, 12, 31)), st.integers(0, 10**9))),
)
def test_an_error_is_never_below_its_bias_nor_above_its_worst(totals, made) -> None:
    closed = [
        PastPeriod(period=month_of(date(2026, month, 1)), counted={date(2026, month, 1): n})
        for month, n in totals.items()
    ]
    forecasts = {day: PastForecast(as_of=day, p10=n, p50=n, p90=n) for day, n in made}
    for check in accuracy(closed, forecasts):
        assert abs(check.bias_percent) <= check.error_percent <= check.worst_percent
        assert 0 <= check.in_band <= check.periods


def test_days_that_stand_for_check_days_are_judged_by_and_no_others() -> None:
    made = [date(2026, 1, day) for day in (3, 4, 5, 8, 9, 12, 16, 20, 21)]
    assert sorted(day.day for day in days_judged(made, JANUARY)) == [5, 9, 20]


def test_what_was_made_before_the_period_is_not_judged_by() -> None:
    assert days_judged([date(2026, 1, 31)], FEBRUARY) == frozenset()


def shown(as_of, likely, *, limit=1850) -> dict[date, PastForecast]:
    memory = DateMemory(as_of=as_of, used=0, limit=limit, likely=likely, sure=True)
    return {as_of: PastForecast(as_of=as_of, p10=0, p50=0, p90=0, memory=memory)}


def hundred_a_day(start, *, capped=False) -> PastPeriod:
    period = month_of(start)
    days = dict.fromkeys(each_day(start, period.last_day), 100)
    return PastPeriod(period=month_of(start), counted=days, capped=capped)


def test_dates_shown_are_compared_with_those_on_which_the_limit_was_passed() -> None:
    made = shown(date(2026, 1, 10), date(2026, 1, 20)) | shown(date(2026, 2, 10), date(2026, 2, 16))
    closed = [hundred_a_day(JANUARY, capped=True), hundred_a_day(FEBRUARY)]
    assert date_accuracy(closed, made) == (
        DateCheck(day=10, periods=2, days_off=2.0, worst_days=3),
    )


def test_a_date_that_was_not_shown_counts_as_the_one_after_the_period() -> None:
    (check,) = date_accuracy([hundred_a_day(FEBRUARY)], shown(date(2026, 2, 10), None))
    assert check.worst_days == 29 - 19


def test_of_months_that_did_not_cross_or_had_crossed_before_no_day_is_judged() -> None:
    never = shown(date(2026, 1, 10), None, limit=9999)
    before = shown(date(2026, 2, 20), date(2026, 2, 19))
    assert date_accuracy([hundred_a_day(JANUARY), hundred_a_day(FEBRUARY)], never | before) == ()
