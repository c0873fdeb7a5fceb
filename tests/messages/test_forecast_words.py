"""What is said of a forecast."""

from dataclasses import replace
from datetime import date

import pytest

from quota_watch.forecast.forecast import Crossing
from quota_watch.messages.wording import subject
from quota_watch.model.rule import Rule, Severity
from quota_watch.rules.reason import Reason
from quota_watch.rules.story import TransitionType
from support.foreseeing import CROSSING, foreseen, known
from support.telling import BIG, about, ended, fired, later, tell

WILL = about(
    Rule.FORECAST, Reason.WILL_EXCEED, tier="will_exceed", mark="2026-03-18", limit=100_000
)
RISK = about(Rule.FORECAST, Reason.AT_RISK, Severity.INFO, tier="at_risk", limit=100_000)
USED = 61_950
NO_DAY = Crossing(early=None, likely=None, late=None)
SEEN = foreseen()


def said(transition=WILL, *, used=USED, of=BIG, **more) -> dict[str, str]:
    return tell(transition, used, of=of, **more)["alert"]


def test_what_will_be_passed_names_the_day_its_range_and_the_odds():
    facts = tell(WILL, USED, forecast=SEEN)
    assert subject(facts) == (
        "Warning: Acme will probably be full on Wed 18 March (17–20), 9 chances in 10"  # noqa: RUF001
    )


def test_a_risk_is_told_apart_from_what_will_happen():
    alert = said(RISK, forecast=SEEN)
    assert alert["title"] == "Acme might be full around Wed 18 March: too early to be sure"
    assert "probably be full" not in alert["title"]
    assert "The limit is at risk (9 chances in 10 to end over it)" in alert["summary"]


@pytest.mark.parametrize(
    ("crossing", "expected"),
    [
        (CROSSING, "full on Wed 18 March (17–20)"),  # noqa: RUF001
        (Crossing(early=None, likely=date(2026, 3, 18), late=None), "full on Wed 18 March,"),
        (Crossing(early=date(2026, 3, 30), likely=None, late=None), "pass its limit this period,"),
        (
            Crossing(early=date(2026, 3, 18), likely=date(2026, 3, 18), late=date(2026, 3, 18)),
            "full on Wed 18 March,",
        ),
    ],
)
def test_the_title_says_as_much_of_the_day_as_is_known(crossing, expected):
    assert expected in said(forecast=foreseen(crosses=crossing))["title"]


def test_the_summary_has_the_total_its_band_and_the_excess():
    text = said(forecast=SEEN)["summary"]
    assert "comes to about 117,000 events (4 chances in 5: 103,000 to 131,000)" in text
    assert "by 31 March 2026, 17,400 more than the limit." in text
    assert "then passed on Wed 18 March (UTC), probably between Tue 17 March and Fri 20" in text


def test_a_day_that_may_not_come_is_said_so():
    crossing = replace(CROSSING, late=None)
    text = said(forecast=foreseen(crosses=crossing))["summary"]
    assert "perhaps as soon as Tue 17 March, perhaps not at all." in text


def test_it_says_how_many_events_are_lost_if_nothing_is_done():
    text = said(forecast=SEEN)["summary"]
    assert "Rybbit drops an estimated 17,400 (3,430–31,400) events until then" in text  # noqa: RUF001


def test_where_nothing_is_dropped_no_loss_is_foretold():
    alert = said(of=replace(BIG, drops=False), **known(SEEN))
    assert "No event is lost" in alert["summary"]
    assert "drop" not in alert["summary"] + alert["next_step"]
    assert "raise the plan" not in alert["next_step"]


def test_without_a_forecast_the_day_that_was_marked_is_told():
    assert said()["title"] == "Acme will probably be full on Wed 18 March"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.EARLIER_DATE, "clearly sooner than was told."),
        (Reason.WILL_EXCEED, "So far this was a risk; now it is probable."),
        (Reason.BECAME_CRITICAL, "within 48 hours."),
    ],
)
def test_what_got_worse_is_said_first(reason, expected):
    worse = later(WILL, TransitionType.ESCALATED, reason)
    first = said(worse, forecast=SEEN)["summary"].split(" Acme has used")[0]
    assert first.endswith(expected)


@pytest.mark.parametrize("transition", [WILL, RISK])
def test_what_became_less_likely_is_not_called_probable(transition):
    again = later(transition, TransitionType.REMINDED, Reason.STILL_TRUE)
    alert = said(again, forecast=foreseen(93_120, probability=0.3, crosses=NO_DAY))
    assert "probably" not in alert["title"]
    assert "It is less likely than it was (3 chances in 10" in alert["summary"]


def test_an_end_says_what_is_expected_now():
    alert = said(ended(WILL, Reason.NO_LONGER_LIKELY), forecast=foreseen(93_120, probability=0.04))
    assert alert["title"] == (
        "Acme will probably stay under its limit: about 93,100 of 100,000 events expected"
    )
    assert "the odds that it does not: less than 1 chance in 10." in alert["summary"]


def test_a_level_tells_the_pace_too():
    text = said(fired(), used=91_234, forecast=foreseen(147_000, used=91_234))["summary"]
    assert "If it goes on like this the period comes to about 147,000 events" in text
    assert "an estimated 47,000" in text


def test_over_the_limit_no_pace_is_told():
    text = said(fired(100), used=104_310, forecast=foreseen(160_000, used=104_310))["summary"]
    assert "goes on like this" not in text
