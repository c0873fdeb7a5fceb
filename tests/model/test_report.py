"""When reports are due, and what they are about."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.schedule import ReportKind, due_report


def due(kind, at, zone="UTC"):
    now = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return due_report(ReportKind(kind), now=now, time_zone=zone)


@pytest.mark.parametrize(
    ("kind", "at", "zone", "name"),
    [
        ("weekly", "2026-03-16T06:59", "UTC", None),
        ("weekly", "2026-03-16T07:00", "UTC", "2026-W11"),
        ("weekly", "2026-03-18T06:59", "UTC", "2026-W11"),
        ("weekly", "2026-03-18T07:00", "UTC", None),
        ("weekly", "2026-03-16T06:00", "Europe/Berlin", "2026-W11"),
        ("weekly", "2026-03-16T10:59", "America/New_York", None),
        ("weekly", "2026-03-16T11:00", "America/New_York", "2026-W11"),
        ("weekly", "2026-03-16T21:59", "Asia/Tokyo", None),
        ("weekly", "2026-03-16T22:00", "Asia/Tokyo", "2026-W11"),
        ("weekly", "2026-01-05T08:00", "UTC", "2026-W01"),
        ("weekly", "2021-01-04T08:00", "UTC", "2020-W53"),
        ("monthly", "2026-04-01T06:59", "UTC", None),
        ("monthly", "2026-04-01T07:00", "UTC", "2026-03"),
        ("monthly", "2026-04-03T07:00", "UTC", None),
        ("monthly", "2026-01-01T07:00", "UTC", "2025-12"),
        ("monthly", "2026-04-01T05:00", "Europe/Berlin", "2026-03"),
    ],
)
def test_a_report_is_due_from_seven_for_two_days(kind, at, zone, name):
    found = due(kind, at, zone)
    assert (found.name if found else None) == name


def test_a_week_is_compared_with_the_one_before():
    span = due("weekly", "2026-03-16T08:00")
    assert (span.before, span.first, span.last) == (
        date(2026, 3, 2),
        date(2026, 3, 9),
        date(2026, 3, 15),
    )


def test_a_month_is_compared_with_the_one_before():
    span = due("monthly", "2026-03-01T08:00")
    assert (span.before, span.first, span.last) == (
        date(2026, 1, 1),
        date(2026, 2, 1),
        date(2026, 2, 28),
    )


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants naive ends
    st.sampled_from(list(ReportKind)),
    st.sampled_from(["UTC", "Pacific/Auckland", "America/Los_Angeles", "Asia/Kathmandu"]),
)
def test_only_days_that_are_over_are_reported_and_no_old_ones(now, kind, zone):
    span = due_report(kind, now=now, time_zone=zone)
    if span is not None:
        assert span.ended_at <= span.due_at <= now < span.due_at + timedelta(days=2)
        assert span.due_at - span.ended_at <= timedelta(days=1)
