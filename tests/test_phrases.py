from datetime import UTC, date, datetime, timedelta

import pytest

from quota_watch import phrases

AT = datetime(2026, 3, 15, 12, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", "15 March 2026, 12:05 UTC"),
        ("Etc/UTC", "15 March 2026, 12:05 UTC"),
        ("Europe/Berlin", "15 March 2026, 13:05 CET (12:05 UTC)"),
        ("America/Sao_Paulo", "15 March 2026, 09:05 UTC-03 (12:05 UTC)"),
        ("Pacific/Auckland", "16 March 2026, 01:05 NZDT (15 March, 12:05 UTC)"),
        ("Asia/Kolkata", "15 March 2026, 17:35 IST (12:05 UTC)"),
        ("No/Such", "15 March 2026, 12:05 UTC"),
        ("../etc/passwd", "15 March 2026, 12:05 UTC"),
    ],
)
def test_a_moment_reads_in_the_readers_zone_and_utc(zone, expected):
    assert phrases.moment(AT, zone) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (date(2026, 3, 1), date(2026, 3, 31), "1–31 March 2026"),  # noqa: RUF001
        (date(2026, 3, 15), date(2026, 4, 14), "15 March – 14 April 2026"),  # noqa: RUF001
        (date(2025, 12, 15), date(2026, 1, 14), "15 December 2025 – 14 January 2026"),  # noqa: RUF001
    ],
)
def test_a_range_of_days_names_each_month_and_year_once(first, last, expected):
    assert phrases.days(first, last) == expected


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(seconds=-5), "0 min"),
        (timedelta(seconds=59), "0 min"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=15, seconds=59), "2 h 15 min"),
        (timedelta(days=1, minutes=59), "1 d"),
        (timedelta(days=40, hours=3), "40 d 3 h"),
    ],
)
def test_a_duration_reads_by_its_two_largest_units(span, expected):
    assert phrases.duration(span) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(91.2, "91.2 %"), (100.0, "100.0 %"), (12345.6, "12,345.6 %"), (None, "\N{EN DASH}")],
)
def test_a_share_has_one_decimal_or_is_a_dash(value, expected):
    assert phrases.share(value) == expected


def test_the_largest_type_comes_first_and_empty_ones_not_at_all():
    counts = {"copy": 0, "b": 5, "a": 5, "pageview": 9}
    assert phrases.largest_first(counts) == [("pageview", 9), ("a", 5), ("b", 5)]


@pytest.mark.parametrize(
    ("raw", "expected"), [("It failed", "It failed."), ("Why?", "Why?"), ("Done.\n", "Done.")]
)
def test_a_sentence_ends_like_one(raw, expected):
    assert phrases.sentence(raw) == expected
