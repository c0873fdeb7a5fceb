from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.messages.samples import sample_facts
from quota_watch.messages.wording import is_late, subject
from quota_watch.model.rule import Severity
from quota_watch.model.source import ErrorKind
from quota_watch.model.watch import Watch
from quota_watch.rules.reason import Reason
from quota_watch.rules.story import Transition, TransitionType
from support.domain import MARCH, NOON, trouble, usage
from support.telling import BIG, fired, resolved, story, tell

BERLIN = replace(BIG, time_zone="Europe/Berlin")
KEPT = replace(BIG, drops=False)
MIXED = replace(usage(91_234), by_type={"pageview": 60_000, "custom_event": 31_234, "copy": 0})
FAILING = trouble(NOON - timedelta(hours=2, minutes=15), polls=9, kind=ErrorKind.FORBIDDEN)


def summary(*args, **kwargs) -> str:
    return tell(*args, **kwargs)["alert"]["summary"]


def next_step(*args, **kwargs) -> str:
    return tell(*args, **kwargs)["alert"]["next_step"]


@pytest.mark.parametrize(
    ("transition", "used", "of", "expected"),
    [
        (fired(), 91_234, BIG, "Warning: Acme has used 91.2 % of 100,000 events, resets 1 April"),
        (fired(75), 75_000, BIG, "Info: Acme has used 75.0 % of 100,000 events, resets 1 April"),
        (
            fired(100),
            100_000,
            BIG,
            "Critical: Acme has reached its limit of 100,000 events, resets 1 April",
        ),
        (
            fired(100),
            100_431,
            KEPT,
            "Critical: Acme is over its limit: 100,431 of 100,000 events, resets 1 April",
        ),
        (
            resolved(Reason.LIMIT_CHANGED),
            91_234,
            replace(BIG, limit=250_000),
            "Resolved: The limit of Acme was raised from 100,000 to 250,000 events: 36.4 % used",
        ),
        (
            resolved(Reason.LIMIT_CHANGED),
            91_234,
            replace(BIG, limit=50_000),
            "Resolved: The limit of Acme was lowered from 100,000 to 50,000 events: 182.4 % used",
        ),
        (
            resolved(Reason.LIMIT_CHANGED),
            91_234,
            replace(BIG, limit=None),
            "Resolved: The limit of Acme is no longer known",
        ),
        (resolved(Reason.PERIOD_ENDED), 12, BIG, "Resolved: A new period began for Acme"),
        (
            resolved(Reason.POLLS_WORK_AGAIN, None),
            91_234,
            BIG,
            "Resolved: Polls of Acme work again: 91.2 % of 100,000 events",
        ),
    ],
)
def test_the_subject_has_severity_name_and_the_one_number(transition, used, of, expected):
    assert subject(tell(transition, used, of=of)) == expected


def test_the_subject_of_blindness_says_how_long_and_what_was_last_known():
    facts = tell(fired(None), trouble=FAILING)
    assert (
        subject(facts) == "Warning: Polls of Acme have failed for 2 h 15 min (last known: 91.2 %)"
    )


def test_just_under_the_limit_is_never_called_100_percent():
    assert "99.9 %" in subject(tell(fired(), 99_999))


@given(st.text(max_size=300))
def test_a_subject_is_one_line_whatever_the_name(name):
    line = subject(tell(fired(), of=replace(BIG, name=name)))
    assert line.splitlines() == [line]
    assert len(line) <= 130


def test_a_name_of_nothing_visible_is_replaced_by_the_id():
    facts = tell(fired(), of=replace(BIG, name="\u202e\n"))
    assert facts["organization"]["name"] == "org_acme"
    assert facts["alert"]["title"].startswith("org_acme has used")


def test_every_number_of_a_level_is_told():
    assert summary(fired(), of=BERLIN) == (
        "Level 90 % is reached: Acme has used 91,234 of its 100,000 events for 1–31 March 2026 "  # noqa: RUF001
        "(91.2 %); 8,766 are left. Measured 15 March 2026, 13:00 CET (12:00 UTC). The count "
        "starts again from zero on 1 April 2026, 02:00 CEST (00:00 UTC). Past the limit Rybbit "
        "drops every event until then; dropped events are gone for good. It enforces the limit "
        "every half hour."
    )


def test_a_single_event_that_is_left_is_singular():
    assert "; 1 is left." in summary(fired(), 99_999)


def test_over_the_limit_it_says_by_how_much_and_that_events_are_dropped():
    text = summary(fired(100), 100_431)
    assert "100,431 events" in text
    assert "431 more than its limit of 100,000 (100.4 %)" in text
    assert "Rybbit is dropping its events, or will within 30 minutes" in text


def test_at_the_limit_the_next_event_is_over():
    text = summary(fired(100), 100_000)
    assert "has used all of its 100,000 events" in text
    assert "With the next event the limit is passed" in text


@pytest.mark.parametrize("used", [91_234, 100_000, 100_431])
def test_where_nothing_is_dropped_no_loss_is_told(used):
    text = summary(fired(100), used, of=KEPT) + next_step(fired(100), used, of=KEPT)
    assert "No event is lost" in text
    assert "dropp" not in text
    assert "Rybbit" not in text


def test_the_next_step_names_the_largest_types_with_their_share():
    text = next_step(fired(), counted=MIXED)
    assert "the largest: pageview 65.7 %, custom_event 34.2 %" in text
    assert "copy" not in text


def test_a_type_of_less_than_a_percent_is_not_worth_naming():
    seen = replace(usage(10_000), by_type={"pageview": 9_801, "copy": 100, "outbound": 99})
    assert "(the largest: pageview 98.0 %, copy 1.0 %)" in next_step(fired(), counted=seen)


def test_over_the_limit_it_admits_that_fewer_types_no_longer_help():
    text = next_step(fired(100), 100_431)
    assert text.startswith("Raise the plan at https://app.rybbit.io, and Rybbit takes events again")
    assert "helps only from the next period on" in text


def test_a_limit_of_zero_is_told_without_a_percentage():
    facts = tell(fired(100), 5, of=replace(BIG, limit=0))
    assert facts["alert"]["title"] == "Acme is over its limit: 5 of 0 events"
    assert "%)" not in facts["alert"]["summary"]


def test_blindness_tells_since_when_how_often_why_and_what_was_last_known():
    text = summary(fired(None), trouble=FAILING, measured_at=NOON - timedelta(hours=3))
    assert "since 15 March 2026, 09:45 UTC: 9 polls in a row have failed" in text
    assert "The last error: no answer." in text
    assert "91,234 of its 100,000 events" in text
    assert "Measured 15 March 2026, 09:00 UTC." in text


def test_blindness_with_nothing_known_says_so_and_names_the_limit():
    text = summary(fired(None), None, trouble=FAILING, measured_at=None)
    assert "Nothing is known of this period but its limit, 100,000 events." in text
    assert "has used" not in text


@pytest.mark.parametrize(
    ("used", "of", "expected"),
    [
        (91_234, BIG, "the limit may be passed unseen, and events past it are gone for good."),
        (91_234, KEPT, "the limit may be passed unseen."),
        (100_431, BIG, "nothing newer is known. Rybbit is dropping its events"),
        (91_234, replace(BIG, limit=None), "nothing newer is known."),
    ],
)
def test_blindness_tells_what_can_happen_meanwhile(used: int, of: Watch, expected: str):
    assert f"Until a poll works again {expected}" in summary(
        fired(None), used, of=of, trouble=FAILING
    )


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_of_error_has_a_remedy_of_its_own(kind):
    text = next_step(fired(None), trouble=replace(FAILING, kind=kind))
    assert text.startswith("Run `quota-watch check`: it asks https://app.rybbit.io and names")
    assert len(text) > 80


def test_an_error_of_upstream_cannot_break_the_line():
    text = summary(fired(None), trouble=replace(FAILING, message="bad\r\n\x1b[2J<b>"))
    assert "The last error: bad [2J<b>." in text


def test_polls_that_work_again_say_that_nothing_is_missing():
    facts = tell(resolved(Reason.POLLS_WORK_AGAIN, None))
    assert "No count is missing" in facts["alert"]["summary"]
    assert "91,234 of its 100,000 events" in facts["alert"]["summary"]
    assert facts["alert"]["next_step"] == "Nothing to do."


def test_an_ended_period_says_that_dropped_events_come_again():
    text = summary(resolved(Reason.PERIOD_ENDED, 100), 12)
    assert "The period of Acme from 1 March 2026 is over" in text
    assert "new ones count again within half an hour" in text


def test_an_ended_period_that_dropped_nothing_does_not_speak_of_it():
    assert "dropped" not in summary(resolved(Reason.PERIOD_ENDED, 90), 12)


def test_an_escalation_of_blindness_reads_like_blindness():
    critical = story(None, severity=Severity.CRITICAL, reason=Reason.BECAME_CRITICAL)
    transition = Transition(
        type=TransitionType.ESCALATED, reason=Reason.BECAME_CRITICAL, story=critical, at=NOON
    )
    assert subject(tell(transition, trouble=FAILING)).startswith("Critical: Polls of Acme")


@pytest.mark.parametrize(
    "transition",
    [fired(), fired(None), *(resolved(r) for r in (Reason.PERIOD_ENDED, Reason.LIMIT_CHANGED))],
)
def test_where_no_count_is_known_none_is_told(transition):
    facts = tell(transition, None, measured_at=None)
    assert facts["alert"]["title"]
    assert "used" not in facts["alert"]["summary"]
    assert "None" not in facts["alert"]["summary"]


def test_a_test_is_clearly_marked():
    facts = sample_facts(now=NOON)["test"]
    assert subject(facts) == "Test: Test of the channel ops"
    assert "Nothing has happened" in facts["alert"]["summary"]


@pytest.mark.parametrize("shape", sample_facts(now=NOON))
def test_each_sample_is_made_of_whole_sentences(shape):
    alert = sample_facts(now=NOON)[shape]["alert"]
    for text in (alert["summary"], alert["next_step"]):
        assert text.endswith(".")
        assert ".." not in text
        assert "  " not in text
        assert "None" not in text


def test_the_period_of_the_text_is_the_counts():
    assert "1–31 March 2026" in summary(fired(), counted=usage(91_234, period=MARCH))  # noqa: RUF001


APRIL = NOON + timedelta(days=17)


@pytest.mark.parametrize(
    ("facts", "now", "late"),
    [
        (tell(fired(100), 104_310), APRIL, True),
        (tell(fired(100), 104_310), APRIL - timedelta(days=1), False),
        (tell(fired(100), 104_310), None, False),
        (tell(fired(90)), APRIL, False),
        (tell(resolved(Reason.LIMIT_CHANGED, level=100)), APRIL, False),
        (sample_facts(now=NOON)["test"], APRIL, False),
    ],
)
def test_only_what_is_critical_and_goes_on_can_be_late(facts, now, late):
    assert is_late(facts, now) is late
    assert ("late" in subject(facts, now=now)) is late


def test_a_late_subject_says_when_the_period_ended():
    told = subject(tell(fired(100), 104_310), now=APRIL)
    title = "Acme is over its limit: 104,310 of 100,000 events"
    assert told == f"Critical, late: {title}, the period ended 31 March"


def test_a_subject_says_how_many_more_there_are_even_where_it_is_cut():
    facts = tell(fired())
    assert subject(facts, more=2).endswith("resets 1 April (and 2 more)")
    facts["alert"]["title"] = "x" * 500
    assert subject(facts, more=1_000).endswith("… (and 1,000 more)")
    assert len(subject(facts, more=1_000)) == 200
