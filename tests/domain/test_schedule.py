from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from quota_watch.domain.schedule import next_slot, phase_of
from quota_watch.domain.source import Organization

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
