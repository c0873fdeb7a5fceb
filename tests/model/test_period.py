from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.period import Period, each_day, month_of, previous

days = st.dates(date(1970, 1, 1), date(2199, 12, 31))


@given(days)
def test_a_day_lies_in_its_own_period_and_in_neither_neighbour(day) -> None:
    period = month_of(day)
    before, after = previous(period), month_of(period.end)
    assert [day in each for each in (before, period, after)] == [False, True, False]


@given(days)
def test_all_days_of_a_period_have_that_period(day) -> None:
    period = month_of(day)
    assert {month_of(each) for each in each_day(period.start, period.last_day)} == {period}


@given(days)
def test_periods_follow_each_other_without_gap_or_overlap(day) -> None:
    period = month_of(day)
    assert previous(period).end == period.start
    assert month_of(period.end).start == period.end


@given(days)
def test_a_period_is_half_open(day) -> None:
    period = month_of(day)
    assert period.start in period
    assert period.last_day in period
    assert period.end not in period
    assert period.end - period.last_day == timedelta(days=1)


@given(days)
def test_a_month_begins_on_its_first_day_and_ends_with_the_next_month(day) -> None:
    period = month_of(day)
    assert (period.start.year, period.start.month, period.start.day) == (day.year, day.month, 1)
    assert period.end.day == 1


@pytest.mark.parametrize(
    ("day", "length"),
    [
        (date(2026, 1, 31), 31),
        (date(2026, 2, 28), 28),
        (date(2028, 2, 29), 29),
        (date(2100, 2, 1), 28),
        (date(2000, 2, 1), 29),
        (date(2026, 4, 30), 30),
        (date(2026, 12, 31), 31),
    ],
)
def test_months_have_their_length(day, length) -> None:
    period = month_of(day)
    assert len(list(each_day(period.start, period.last_day))) == length


def test_the_year_turns() -> None:
    december = month_of(date(2026, 12, 31))
    assert december == Period(date(2026, 12, 1), date(2027, 1, 1))
    assert previous(month_of(date(2027, 1, 1))) == december


def test_the_count_resets_at_midnight_utc_after_the_last_day() -> None:
    period = Period(date(2026, 3, 1), date(2026, 4, 1))
    assert period.resets_at == datetime(2026, 4, 1, tzinfo=UTC)


def test_periods_sort_by_time() -> None:
    march, april = month_of(date(2026, 3, 9)), month_of(date(2026, 4, 9))
    assert sorted([april, march]) == [march, april]


def test_each_day_includes_both_ends() -> None:
    first = date(2026, 2, 27)
    assert list(each_day(first, date(2026, 3, 1))) == [first, date(2026, 2, 28), date(2026, 3, 1)]
    assert list(each_day(first, first)) == [first]
    assert list(each_day(first, date(2026, 2, 26))) == []
