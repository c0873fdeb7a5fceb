from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.schedule import QuietHours, until_quiet_ends

MINUTE = timedelta(minutes=1)
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def hours(start: str, end: str, time_zone: str = "UTC") -> QuietHours:
    return QuietHours(
        start=time.fromisoformat(start), end=time.fromisoformat(end), time_zone=time_zone
    )


def ends(quiet: QuietHours | None, now: str) -> str | None:
    end = until_quiet_ends(quiet, datetime.fromisoformat(now).replace(tzinfo=UTC))
    return None if end is None else f"{end:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-03-15 21:59", None),
        ("2026-03-15 22:00", "2026-03-16 07:00"),
        ("2026-03-15 23:59:59.999", "2026-03-16 07:00"),
        ("2026-03-16 00:00", "2026-03-16 07:00"),
        ("2026-03-16 06:59", "2026-03-16 07:00"),
        ("2026-03-16 07:00", None),
    ],
)
def test_a_night_ends_in_the_morning(now: str, expected: str | None) -> None:
    assert ends(hours("22:00", "07:00"), now) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [("12:59", None), ("13:00", "2026-03-15 14:30"), ("14:30", None), ("23:00", None)],
)
def test_a_rest_at_noon_ends_the_same_day(now: str, expected: str | None) -> None:
    assert ends(hours("13:00", "14:30"), f"2026-03-15 {now}") == expected


def test_where_nothing_is_agreed_or_the_ends_are_the_same_it_is_never_quiet() -> None:
    assert ends(None, "2026-03-15 23:00") is None
    assert ends(hours("07:00", "07:00"), "2026-03-15 07:00") is None


def test_the_hours_are_those_of_the_zone() -> None:
    assert ends(hours("22:00", "07:00", BERLIN), "2026-01-10 20:59") is None
    assert ends(hours("22:00", "07:00", BERLIN), "2026-01-10 21:00") == "2026-01-11 06:00"


def test_a_night_in_which_clocks_go_forward_is_an_hour_shorter() -> None:
    assert ends(hours("22:00", "07:00", BERLIN), "2026-03-28 21:00") == "2026-03-29 05:00"


def test_a_night_in_which_clocks_go_back_is_an_hour_longer() -> None:
    assert ends(hours("22:00", "07:00", BERLIN), "2026-10-24 20:00") == "2026-10-25 06:00"


def test_an_end_that_clocks_jump_over_is_when_they_jump() -> None:
    assert ends(hours("22:00", "02:30", BERLIN), "2026-03-28 23:00") == "2026-03-29 01:00"


def test_an_end_that_clocks_show_twice_is_the_first_and_then_the_second() -> None:
    night = hours("22:00", "01:30", NEW_YORK)
    assert ends(night, "2026-11-01 04:00") == "2026-11-01 05:30"
    assert ends(night, "2026-11-01 05:45") is None
    assert ends(night, "2026-11-01 06:10") == "2026-11-01 06:30"


minutes = st.integers(0, 24 * 60 - 1).map(lambda n: time(n // 60, n % 60))
zones = st.sampled_from(["UTC", BERLIN, NEW_YORK, "Asia/Kathmandu", "Australia/Lord_Howe"])
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)
changes = st.sampled_from(["2026-03-29", "2026-10-25", "2026-11-01", "2026-04-05", "2026-03-08"])
near_changes = st.builds(
    lambda day, n: datetime.fromisoformat(day).replace(tzinfo=UTC) + n * MINUTE,
    changes,
    st.integers(-24 * 60, 24 * 60),
)


@given(st.builds(QuietHours, start=minutes, end=minutes, time_zone=zones), moments | near_changes)
def test_it_is_quiet_until_the_end_and_not_then(quiet: QuietHours, now: datetime) -> None:
    end = until_quiet_ends(quiet, now)
    if end is None:
        assert not quiet.hold(now)
        return
    assert timedelta(0) < end - now <= timedelta(hours=25)
    assert not quiet.hold(end)
    step = (end - now) / 200
    assert all(quiet.hold(now + n * step) for n in range(200))
