from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.capped import capped_days, crossing_day, lost
from quota_watch.model.period import Period

MARCH = Period(date(2026, 3, 1), date(2026, 4, 1))
TODAY = date(2026, 3, 20)


def counted(**march: int) -> dict[date, int]:
    """1,000 a day from mid-January to the 19th of March, but for the days of March given."""
    days = {date(2026, 1, 15) + timedelta(n): 1000 for n in range(64)}
    return days | {date(2026, 3, int(day[1:])): n for day, n in march.items()}


def capped(days: dict[date, int], *, limit: int = 10_500) -> list[int]:
    found = capped_days(days, period=MARCH, limit=limit, today=TODAY)
    return sorted(day.day for day in found)


def test_days_that_collapse_after_the_crossing_are_capped_and_so_is_the_crossing() -> None:
    days = counted(d11=600, **{f"d{n}": 0 for n in range(12, 20)})
    assert capped(days) == [*range(11, 20), 20]


def test_a_count_that_goes_on_past_the_limit_is_not_capped() -> None:
    assert capped(counted()) == []


def test_a_quiet_day_before_the_crossing_is_not_capped() -> None:
    assert capped(counted(d5=0), limit=100_000) == []


def test_days_after_a_raise_are_not_capped_and_the_gap_stays() -> None:
    days = counted(d11=600, d12=0, d13=0)
    assert capped(days) == [11, 12, 13]


def test_without_a_measure_nothing_is_called_capped() -> None:
    days = {date(2026, 3, 1): 20_000, date(2026, 3, 2): 0}
    assert capped(days) == []


def test_the_crossing_is_the_first_day_over_not_at_the_limit() -> None:
    assert crossing_day(counted(), period=MARCH, limit=10_000) == date(2026, 3, 11)
    assert crossing_day(counted(), period=MARCH, limit=100_000) is None


def test_the_loss_is_what_the_days_would_have_had() -> None:
    days = counted(d11=600, **{f"d{n}": 0 for n in range(12, 20)})
    found = capped_days(days, period=MARCH, limit=10_500, today=TODAY)
    estimate = lost(days, capped=found, period=MARCH, today=TODAY)
    assert estimate is not None
    assert (estimate.low, estimate.likely, estimate.high) == (8400, 8400, 8400)


def test_what_was_dropped_in_the_month_before_is_no_measure_of_the_loss() -> None:
    known = {date(2026, 2, day) for day in range(20, 29)}
    days = counted(d11=600, **{f"d{n}": 0 for n in range(12, 20)}) | dict.fromkeys(known, 0)
    found = capped_days(days, period=MARCH, limit=10_500, today=TODAY, known=known)
    estimate = lost(days, capped=found | known, period=MARCH, today=TODAY)
    assert estimate is not None
    assert (estimate.low, estimate.likely, estimate.high) == (8400, 8400, 8400)


def test_nothing_is_lost_where_nothing_was_capped() -> None:
    assert lost(counted(), capped=(), period=MARCH, today=TODAY) is None


@given(st.lists(st.integers(0, 5_000), min_size=40, max_size=40), st.integers(1, 60_000))
def test_the_band_holds_the_estimate_and_no_capped_day_is_before_the_crossing(
    volumes: list[int], limit: int
) -> None:
    days = {date(2026, 2, 8) + timedelta(n): volume for n, volume in enumerate(volumes)}
    found = capped_days(days, period=MARCH, limit=limit, today=TODAY)
    crossing = crossing_day(days, period=MARCH, limit=limit)
    assert all(crossing is not None and day >= crossing for day in found)
    estimate = lost(days, capped=found, period=MARCH, today=TODAY)
    assert estimate is None or 0 <= estimate.low <= estimate.likely <= estimate.high
