import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib.text import escape, has_unseen, one_line


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
