"""Bars and charts that need no image."""

from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.channels.email import address, compose
from quota_watch.forecast.forecast import ForecastFacts, TooEarly
from quota_watch.messages.facts import DayFacts
from quota_watch.messages.picture import chart_of, gauge_of
from quota_watch.messages.render import Renderer
from support import made_up
from support.domain import MARCH, NOON, usage
from support.samples import sample_facts
from support.telling import BIG, fired, tell

SHAPES = sample_facts(now=NOON)
COUNTS = st.integers(0, 10**9)


def gauge(used, limit, *band, drops=False):
    forecast = None
    if band:
        low, likely, high = band
        forecast = ForecastFacts(
            p10=low, p50=likely, p90=high, probability_over=None, crosses_on=None
        )
    return gauge_of(used, limit, forecast, drops=drops)


def days(*rows, **changes):
    facts = [
        DayFacts(date=date(2026, 3, n), used=used, expected=expected)
        for n, (used, expected) in enumerate(rows, 1)
    ]
    return replace(tell(fired()), daily=tuple(facts), **changes)


@pytest.mark.parametrize(
    ("numbers", "drawn"),
    [
        ((50, 100), "[####################....................]"),
        ((50, 100, 60, 70, 80), "[####################========----........]"),
        ((50, 100, 150, 175, 200), "[##########==========|==============------]"),
        ((200, 100), "[####################|####################]"),
        ((0, 100), "[........................................]"),
        ((0, 0), "[|........................................]"),
    ],
)
def test_a_bar_shows_what_is_used_what_may_come_and_the_limit(numbers, drawn):
    assert gauge(*numbers).text() == drawn


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_a_bar_is_always_whole_and_marks_the_limit_once_at_most(used, limit, low, more):
    drawn = gauge(used, limit, used + low, used + low, used + low + more)
    assert sum(part.width for part in drawn.parts) == 100
    assert sum(part.kind == "limit" for part in drawn.parts) <= 1
    assert all(part.width > 0 or part.kind == "limit" for part in drawn.parts)


def test_what_lies_above_the_limit_is_lost_where_events_are_dropped():
    drawn = gauge(50, 100, 150, 175, 200, drops=True)
    assert drawn.text() == "[##########==========|xxxxxxxxxxxxxx------]"
    assert drawn.caption.endswith("about 175 expected (150–200) · about 75 would be lost")  # noqa: RUF001


def test_days_past_the_crossing_would_be_lost():
    bars = chart_of(SHAPES["will_exceed"]).bars
    assert [bar.day.day for bar in bars if bar.lost] == list(range(19, 32))


def test_the_first_event_is_seen():
    assert gauge(1, 100_000).parts[0].kind == "used"


def test_without_a_limit_there_is_no_bar():
    assert gauge(5, None) is None


def test_a_chart_needs_two_days():
    assert chart_of(days((5, None))) is None
    assert chart_of(tell(fired())) is None


def test_the_highest_day_is_the_highest_bar_and_none_is_higher():
    bars = chart_of(days((10, None), (40, None), (20, 60), (None, 50))).bars
    heights = [(bar.height, bar.more_height) for bar in bars]
    assert heights == [(11, 0), (43, 0), (21, 43), (0, 53)]


def test_a_chart_says_in_words_all_that_it_shows():
    chart = chart_of(days((10, None), (None, None), (20, 60), (None, 5000)))
    assert chart.label == (
        "Events per day. Sun 1 March: 10; Tue 3 March: 20 so far; Wed 4 March: about 5,000."
    )


def test_today_is_not_in_the_mean():
    assert "10 a day on average" in chart_of(days((10, None), (3, None), (None, None))).caption


@pytest.mark.parametrize("first", [date(2026, month, 1) for month in range(1, 13)])
def test_the_weeks_under_a_chart_are_as_wide_as_it(first):
    rows = [
        DayFacts(date=day, used=5, expected=None)
        for day in made_up.counted(100, first, date(first.year, first.month, 28))
    ]
    bars = chart_of(replace(tell(fired()), daily=tuple(rows))).bars
    assert sum(bar.span for bar in bars) == len(bars)
    starts = [n for n, bar in enumerate(bars) if bar.span] + [len(bars)]
    assert [b - a for a, b in pairwise(starts)] == [bar.span for bar in bars if bar.span]


def test_the_days_of_a_message_are_those_counted_and_those_expected():
    rows = SHAPES["will_exceed"].daily
    assert len(rows) == 31
    known = [row for row in rows if row.used is not None]
    assert sum(row.used for row in known) == SHAPES["will_exceed"].usage.used
    today = rows[14]
    assert today.expected > today.used
    assert [row.expected is None for row in rows] == [True] * 14 + [False] * 17


def test_a_day_that_is_not_known_is_null():
    past = made_up.analysis(TooEarly(days=0), counted={date(2026, 3, 2): 7})
    facts = tell(fired(), of=BIG, counted=replace(usage(9), today=date(2026, 3, 4)), analysis=past)
    assert [row.used for row in facts.daily[:5]] == [None, 7, None, 9, None]


def test_days_of_another_month_are_not_shown():
    past = made_up.analysis(TooEarly(days=0), counted={date(2026, 2, 28): 7})
    seen = tell(fired(), None, measured_at=None, analysis=past)
    assert seen.daily is None
    assert MARCH.start not in past.past.counted


def test_without_a_look_ahead_no_day_is_known():
    assert tell(fired()).daily is None
    assert SHAPES["blind"].daily is None


def test_of_several_about_one_organization_there_is_one_picture():
    mail = Renderer().email(SHAPES["fired"], SHAPES["will_exceed"])
    assert mail.text.count("\n91.2 % used") == 1


def test_the_days_are_the_picture_where_they_matter():
    assert Renderer().email(SHAPES["spike"]).text.count("EVENTS PER DAY") == 1
    assert "EVENTS PER DAY" not in Renderer().email(SHAPES["will_exceed"]).text


def many(n, of="spike"):
    for each in range(n):
        facts = SHAPES[of]
        organization = replace(facts.organization, id=f"org_{each}", name=f"Customer {each}")
        yield replace(facts, organization=organization)


@pytest.mark.parametrize("shape", ["spike", "will_exceed", "dropping", "blind"])
def test_no_mail_is_so_long_that_it_is_cut_off(shape):
    facts = list(many(300, shape))
    mail = Renderer().email(*facts)
    sender = address("q@w.example")
    sent = compose(
        mail, facts, id="m", sender=sender, recipient=sender, reply_to=None, now=NOON
    ).as_bytes()
    assert len(sent) < 80_000
    assert "290 MORE" in mail.text
