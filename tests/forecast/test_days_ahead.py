from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.forecast import DayAhead, KeptForecast, days_ahead

AS_OF = date(2026, 3, 9)
COUNTS = st.integers(0, 10**9)


def shared(used: int, path: list[float], *, p10: int, p50: int, p90: int) -> list[DayAhead]:
    forecast = KeptForecast(
        as_of=AS_OF,
        used=used,
        p10=p10,
        p50=p50,
        p90=p90,
        probability_over=None,
        crosses_on=None,
    )
    return days_ahead(forecast, path)


def test_the_days_lead_from_what_was_used_to_the_forecast():
    days = shared(100, [10.0, 30.0], p10=120, p50=140, p90=180)
    assert [day.date for day in days] == [date(2026, 3, 10), date(2026, 3, 11)]
    assert (days[0].p10, days[0].p50, days[0].p90) == (105, 110, 120)
    assert (days[1].p10, days[1].p50, days[1].p90) == (120, 140, 180)


def test_without_a_path_there_are_no_days_ahead():
    assert shared(100, [], p10=100, p50=100, p90=100) == []


def test_where_nothing_is_expected_the_band_still_opens():
    days = shared(100, [0.0, 0.0], p10=100, p50=100, p90=120)
    assert [day.p90 for day in days] == [110, 120]


@given(
    used=COUNTS,
    path=st.lists(st.floats(0, 1e9), min_size=1, max_size=31),
    more=st.tuples(COUNTS, COUNTS, COUNTS),
)
def test_the_totals_never_fall_and_low_stays_below_high(used, path, more):
    p10, p50, p90 = (used + each for each in sorted(more))
    days = shared(used, path, p10=p10, p50=p50, p90=p90)
    for name in ("p10", "p50", "p90"):
        values = [used, *(getattr(day, name) for day in days)]
        assert all(a <= b * (1 + 1e-9) + 1e-6 for a, b in pairwise(values))
    assert all(day.p10 <= day.p50 <= day.p90 for day in days)
