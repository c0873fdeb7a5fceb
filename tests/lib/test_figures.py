from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib import text
from quota_watch.lib.text import Estimate

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
    assert text.moment(AT, zone) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (date(2026, 3, 1), date(2026, 3, 31), "1–31 March 2026"),  # noqa: RUF001
        (date(2026, 3, 15), date(2026, 4, 14), "15 March – 14 April 2026"),  # noqa: RUF001
        (date(2025, 12, 15), date(2026, 1, 14), "15 December 2025 – 14 January 2026"),  # noqa: RUF001
    ],
)
def test_a_range_of_days_names_each_month_and_year_once(first, last, expected):
    assert text.days(first, last) == expected


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(seconds=-5), "less than a minute"),
        (timedelta(seconds=59), "less than a minute"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=15, seconds=59), "2 h 15 min"),
        (timedelta(days=1, minutes=59), "1 d"),
        (timedelta(days=40, hours=3), "40 d 3 h"),
    ],
)
def test_a_duration_reads_by_its_two_largest_units(span, expected):
    assert text.duration(span) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(91.2, "91.2 %"), (100.0, "100.0 %"), (12345.6, "12,345.6 %"), (None, "\N{EN DASH}")],
)
def test_a_share_has_one_decimal_or_is_a_dash(value, expected):
    assert text.share(value) == expected


def test_the_largest_type_comes_first_and_empty_ones_not_at_all():
    counts = {"copy": 0, "b": 5, "a": 5, "pageview": 9}
    assert text.largest_first(counts) == [("pageview", 9), ("a", 5), ("b", 5)]


@pytest.mark.parametrize(
    ("raw", "expected"), [("It failed", "It failed."), ("Why?", "Why?"), ("Done.\n", "Done.")]
)
def test_a_sentence_ends_like_one(raw, expected):
    assert text.sentence(raw) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (999, "999"), (1_234, "1,230"), (131_482, "131,000"), (5_555_555, "5,560,000")],
)
def test_an_estimated_number_has_three_digits(value, expected):
    assert text.rough(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Estimate(9_012, 12_034, 15_021), "an estimated 12,000 (9,010–15,000) events"),  # noqa: RUF001
        (Estimate(1, 1, 1), "an estimated 1 event"),
    ],
)
def test_an_estimate_has_its_band(value, expected):
    assert text.estimate(value) == expected


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(1.0, "over 97 %"), (0.97, "97 %"), (0.5, "50 %"), (0.03, "3 %"), (0.0, "under 3 %")],
)
def test_a_probability_is_whole_percent_or_a_bound(probability, expected):
    assert text.certainty(probability) == expected


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_likelier_never_sounds_less_sure(one, other):
    order = ["might", "will probably", "will"]
    low, high = sorted((one, other))
    assert order.index(text.verb(low)) <= order.index(text.verb(high))


def test_a_time_of_these_days_has_no_year():
    assert text.brief(datetime(2026, 3, 6, 3, tzinfo=UTC), "UTC") == "6 March, 03:00 UTC"
    berlin = text.brief(datetime(2026, 3, 6, 23, 30, tzinfo=UTC), "Europe/Berlin")
    assert berlin == "7 March, 00:30 CET (6 March, 23:30 UTC)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, ""), (0.4, "steady"), (12.3, "up 12 %"), (-5.2, "down 5 %"), (1500.0, "up 1,500 %")],
)
def test_growth_reads_as_a_direction(value, expected):
    assert text.growth(value) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_several_things_are_listed_as_people_do(parts, expected):
    assert text.listed(parts) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (date(2026, 3, 17), date(2026, 3, 17), "17 March"),
        (date(2026, 3, 17), date(2026, 3, 20), "17–20 March"),  # noqa: RUF001
        (date(2026, 3, 30), date(2026, 4, 2), "30 March – 2 April"),  # noqa: RUF001
    ],
)
def test_a_range_of_days_is_short_without_its_year(first, last, expected):
    assert text.short_days(first, last) == expected


def test_a_day_has_its_weekday():
    assert text.weekday(date(2026, 3, 18)) == "Wed 18 March"
