"""Values are written for people and for JSON as documented."""

import json
import unicodedata
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib import text
from quota_watch.lib.text import Estimate, escape, has_unseen, one_line, plain
from quota_watch.model.watch import Severity
from quota_watch.rules.forecast import Risk, Tier
from quota_watch.rules.stalled import Stall


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Acme", "Acme"),
        ("  Acme\t GmbH ", "Acme GmbH"),
        ("Acme\r\nBcc: all@example.com", "Acme Bcc: all@example.com"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("evil\u202egnp.exe", "evil gnp.exe"),
        ("line\u2028break", "line break"),
        ("half \ud800 surrogate", "half surrogate"),
        ("क्\u200dष", "क्\u200dष"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("", ""),
    ],
)
def test_what_is_left_is_one_line_that_changes_nothing_around_it(raw, expected):
    assert one_line(raw) == expected


def test_a_long_text_is_cut_with_an_ellipsis_if_at_all():
    assert one_line("x" * 100, 10) == "x" * 9 + "…"
    assert one_line("x" * 1000, None) == "x" * 1000


@given(st.text())
def test_one_line_has_no_control_characters_and_can_be_encoded(raw):
    line = one_line(raw)
    line.encode()
    assert not [c for c in line if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}]
    assert one_line(line) == line


@given(st.text())
def test_only_what_is_taken_out_counts_as_unseen(raw):
    assert has_unseen(raw) or one_line(raw, None) == " ".join(raw.split())
    assert not has_unseen(one_line(raw))


@pytest.mark.parametrize("raw", ["a\nb", "a\tb", "\x85", "\u202e", "\u200b", "\u2028"])
def test_line_ends_controls_and_marks_are_unseen(raw):
    assert has_unseen(raw)


@given(st.text())
def test_escaped_text_is_printable_and_stays_on_its_line(text):
    assert escape(text).isprintable()


def test_what_is_printable_stays_as_it_is():
    assert escape("Käse für 3 €, 日本") == "Käse für 3 €, 日本"


def test_line_ends_and_terminal_commands_are_spelt_out():
    assert escape("a\nb\r\x1b[2J\u202e\x85") == "a\\nb\\r\\x1b[2J\\u202e\\x85"


def test_a_character_beyond_the_sixteenth_bit_is_spelt_out_whole():
    assert escape("\U000e0001") == "\\U000e0001"


MARCH_10 = date(2026, 3, 10)


def test_dates_and_words_become_texts() -> None:
    risk = Risk(
        tier=Tier.AT_RISK,
        severity=Severity.INFO,
        probability=0.9,
        early=MARCH_10,
        likely=None,
        late=None,
    )
    assert json.loads(json.dumps(plain(risk))) == {
        "tier": "at_risk",
        "severity": 1,
        "probability": 0.9,
        "early": "2026-03-10",
        "likely": None,
        "late": None,
    }


def test_moments_are_written_in_utc() -> None:
    since = datetime(2026, 3, 10, 6, tzinfo=UTC)
    stall = Stall(since=since, hours=24.0, counted=0, expected=90, last_seen=None)
    assert plain(stall)["since"] == "2026-03-10T06:00:00Z"


def test_what_is_within_becomes_plain_too() -> None:
    estimates = {MARCH_10: (Estimate(low=1, likely=2, high=3),)}
    assert plain(estimates) == {"2026-03-10": [{"low": 1, "likely": 2, "high": 3}]}


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
