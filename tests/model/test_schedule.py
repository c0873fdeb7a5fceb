from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib.text import span
from quota_watch.model.schedule import Pace, needed_interval, next_slot, phase_of
from quota_watch.model.source import Organization

organizations = st.builds(Organization, st.text(max_size=20), st.text(max_size=20))
intervals = st.timedeltas(timedelta(seconds=1), timedelta(days=2))
moments = st.datetimes(datetime(1980, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis adds the zone


@given(organizations, intervals)
def test_a_phase_lies_within_the_interval(organization, interval) -> None:
    assert timedelta(0) <= phase_of(organization, interval) < interval


@given(organizations, intervals)
def test_a_phase_is_whole_milliseconds_which_is_what_databases_keep(organization, interval) -> None:
    assert phase_of(organization, interval) % timedelta(milliseconds=1) == timedelta(0)


@given(organizations, intervals, moments)
def test_the_next_slot_is_later_and_no_more_than_an_interval(organization, interval, after) -> None:
    slot = next_slot(organization, after=after, interval=interval)
    assert after < slot <= after + interval


@given(organizations, intervals, moments)
def test_slots_are_exactly_an_interval_apart(organization, interval, after) -> None:
    slot = next_slot(organization, after=after, interval=interval)
    assert next_slot(organization, after=slot, interval=interval) == slot + interval


@given(organizations, intervals, moments, st.floats(0, 0.999))
def test_a_restart_at_any_moment_finds_the_same_slot(organization, interval, after, share) -> None:
    slot = next_slot(organization, after=after, interval=interval)
    later = after + (slot - after) * share
    assert next_slot(organization, after=later, interval=interval) == slot


def test_organizations_spread_evenly_over_the_interval() -> None:
    interval = timedelta(minutes=10)
    phases = [phase_of(Organization("https://s", f"org_{n}"), interval) for n in range(1000)]
    per_minute = [sum(phase // timedelta(minutes=1) == n for phase in phases) for n in range(10)]
    assert all(60 < number < 140 for number in per_minute)


sizes = st.integers(1, 5000)
limits = st.integers(1, 25_000)


@given(sizes, limits, st.floats(0, 10))
def test_polls_at_the_needed_interval_stay_within_our_part(number, limit, extra) -> None:
    interval = needed_interval(number, limit, extra_per_day=extra)
    polls = number * timedelta(days=1) / interval
    ours = limit * 0.8
    assert polls <= max(ours - number * extra, ours / 2) * (1 + 1e-9)


@given(sizes, limits)
def test_the_needed_interval_is_not_longer_than_needed(number, limit) -> None:
    shorter = needed_interval(number, limit, extra_per_day=0) - timedelta(seconds=1)
    assert number * timedelta(days=1).total_seconds() > shorter.total_seconds() * limit * 0.8


def test_forty_organizations_need_less_than_a_quarter_of_an_hour_on_a_standard_key() -> None:
    assert needed_interval(40, 5000, extra_per_day=1) == timedelta(seconds=873)


def test_no_organizations_need_no_interval() -> None:
    assert needed_interval(0, 5000) == timedelta(0)


QUARTER = timedelta(minutes=15)


def test_a_pace_as_configured_says_what_it_needs() -> None:
    pace = Pace(organizations=40, configured=QUARTER, interval=QUARTER, daily_limit=5000)
    assert not pace.stretched
    assert pace.describe() == (
        "40 organizations every 15 min need 3,920 requests a day, the key's budget is 5,000 and"
        " 80 % of it is 4,000; plan and limit are read every 12 h, not every 30 min"
    )


@pytest.mark.parametrize(
    ("organizations", "minutes"), [(1, 30), (27, 30), (30, 40), (36, 109), (40, 720), (100, 1440)]
)
def test_plan_and_limit_are_read_as_often_as_polls_leave_room_for(organizations, minutes) -> None:
    pace = Pace(organizations=organizations, configured=QUARTER, interval=QUARTER, daily_limit=5000)
    assert pace.reads_every // timedelta(minutes=1) == minutes
    assert ("plan and limit are read every" in pace.describe()) is (minutes > 30)


def test_a_pace_without_a_budget_says_so() -> None:
    pace = Pace(organizations=1, configured=QUARTER, interval=QUARTER)
    assert pace.describe() == (
        "1 organization every 15 min needs 98 requests a day; the server reports no rate limit"
    )


def test_a_pace_says_why_and_how_far_it_is_stretched_and_that_it_rests() -> None:
    pace = Pace(
        organizations=40,
        configured=QUARTER,
        interval=2 * QUARTER,
        daily_limit=5000,
        used_by_others=2500,
        rests=timedelta(hours=5, minutes=3, seconds=20),
    )
    assert pace.describe().partition("4,000")[2] == (
        "; other programs used 2,500 today; so 15 min is stretched to 30 min; no requests for"
        " the next 5 h 3 min"
    )


def test_a_handful_of_requests_by_others_is_not_worth_telling() -> None:
    pace = Pace(
        organizations=1, configured=QUARTER, interval=QUARTER, daily_limit=5000, used_by_others=3
    )
    assert "other programs" not in pace.describe()


def test_a_span_has_its_two_largest_units() -> None:
    spans = [0, 0.2, 59, 60, 3599, 7200, 90_061, 86_400 * 400]
    assert [span(timedelta(seconds=seconds)) for seconds in spans] == [
        "0 s", "1 s", "59 s", "1 min", "59 min 59 s", "2 h", "1 d 1 h", "400 d",
    ]  # fmt: skip
