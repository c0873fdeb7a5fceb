from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.capped import Losses, capped_days, losses
from quota_watch.lib.text import Estimate
from support.domain import MARCH

TODAY = date(2026, 3, 20)
CAPPED = [date(2026, 3, day) for day in range(11, 21)]


def found(*, share=0.5, today=TODAY, capped=CAPPED) -> Losses:
    days = {date(2026, 1, 15) + timedelta(n): 1000 for n in range(55)}
    days |= dict.fromkeys(CAPPED, 0) | {CAPPED[0]: 600}
    estimate = losses(days, capped=capped, period=MARCH, today=today, share=share)
    assert estimate is not None
    return estimate


def even(number) -> Estimate:
    return Estimate(number, number, number)


def test_each_capped_day_lost_what_it_should_have_had_beyond_its_count() -> None:
    days = found().days
    assert [day.lost.likely for day in days] == [400, *[1000] * 8, 500]
    assert (days[0].day, days[0].counted) == (CAPPED[0], 600)


def test_the_total_is_the_sum_with_todays_part() -> None:
    assert found().total == even(8900)


def test_until_the_reset_the_rest_of_today_and_every_further_day_are_lost() -> None:
    assert found().a_day == even(1000)
    assert found().until_reset == even(11_500)


def test_on_the_last_day_nothing_is_left_to_lose_but_its_rest() -> None:
    last = found(today=date(2026, 3, 31), share=0.25)
    assert (last.a_day, last.until_reset) == (even(0), even(750))


def test_without_capped_days_or_a_measure_nothing_is_said() -> None:
    assert losses({TODAY: 5}, capped=(), period=MARCH, today=TODAY) is None
    assert losses({TODAY: 5}, capped=[TODAY], period=MARCH, today=TODAY) is None


@given(
    st.lists(st.integers(0, 5_000), min_size=40, max_size=40),
    st.integers(1, 60_000),
    st.floats(0, 1),
)
def test_the_bands_hold_and_nothing_is_negative(volumes, limit, share) -> None:
    days = {date(2026, 2, 8) + timedelta(n): volume for n, volume in enumerate(volumes)}
    capped = capped_days(days, period=MARCH, limit=limit, today=TODAY)
    estimate = losses(days, capped=capped, period=MARCH, today=TODAY, share=share)
    if estimate is not None:
        bands = [estimate.total, estimate.a_day, estimate.until_reset]
        for each in [*bands, *(day.lost for day in estimate.days)]:
            assert 0 <= each.low <= each.likely <= each.high
