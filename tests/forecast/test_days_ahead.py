from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.forecast import Forecast, days_ahead, forecast
from quota_watch.model.period import ONE_DAY
from support.domain import MARCH

MARCH_10 = date(2026, 3, 10)


def forecast_of(counts: list[int]) -> Forecast:
    days = {MARCH_10 - n * ONE_DAY: count for n, count in enumerate(reversed(counts))}
    seen = forecast(days, period=MARCH, as_of=MARCH_10)
    assert isinstance(seen, Forecast)
    return seen


@given(st.lists(st.integers(0, 10**6), min_size=28, max_size=90))
def test_the_way_leads_to_the_total_and_never_back(counts) -> None:
    seen = forecast_of(counts)
    path = days_ahead(seen)
    assert [path[0].day, path[-1].day] == [MARCH_10 + ONE_DAY, MARCH.last_day]
    assert abs(path[-1].p50 - seen.p50) <= 1
    assert all(a.p50 <= b.p50 for a, b in pairwise(path))
    assert all(each.p10 <= each.p50 <= each.p90 for each in path)


def test_after_the_last_day_nothing_is_ahead() -> None:
    days = {MARCH.last_day - n * ONE_DAY: 100 for n in range(40)}
    seen = forecast(days, period=MARCH, as_of=MARCH.last_day)
    assert days_ahead(seen) == ()
