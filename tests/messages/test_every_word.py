"""Every rule and reason has words of its own, whatever is known and whatever is not."""

from dataclasses import replace

import pytest

from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.registry import REGISTRY
from quota_watch.rules.story import AboutServer, TransitionType
from quota_watch.rules.verdict import Reason
from support.domain import ACME
from support.telling import BIG, about, ended, later, tell

BEGINNINGS = {
    Rule.THRESHOLD: {Reason.LEVEL_REACHED, Reason.CLOSED_OVER},
    Rule.FORECAST: {Reason.AT_RISK, Reason.WILL_EXCEED},
    Rule.SPIKE: {Reason.ABOVE_EXPECTED},
    Rule.STALLED: {Reason.NO_EVENTS},
    Rule.BLIND: {Reason.POLLS_FAIL, Reason.ALL_POLLS_FAIL},
    Rule.LIMIT: {
        Reason.LIMIT_RAISED,
        Reason.LIMIT_LOWERED,
        Reason.LIMIT_FOUND,
        Reason.LIMIT_REMOVED,
        Reason.STATUS_CHANGED,
    },
    Rule.MISMATCH: {Reason.KEY_SEES_LESS, Reason.UPSTREAM_COUNTS_LESS, Reason.USED_FELL},
    Rule.DELIVERY: {Reason.CHANNEL_FAILS},
    Rule.CONFIG: {Reason.CONFIG_REFUSED},
    Rule.DISCOVERED: {Reason.DISCOVERED},
    Rule.ENFORCED: {Reason.RYBBIT_DROPS_EVENTS},
    Rule.NO_PLAN: {Reason.SITES_NEED_PLAN},
    Rule.MOVED: {Reason.PAST_DAYS_GREW},
    Rule.SITE_BUDGET: {Reason.BUDGET_REACHED},
}
STEPS = {
    TransitionType.ESCALATED: {
        Reason.HIGHER_LEVEL_REACHED,
        Reason.DROPPING_BEGAN,
        Reason.MORE_SITES_NEED_PLAN,
        Reason.WILL_EXCEED,
        Reason.EARLIER_DATE,
        Reason.BECAME_CRITICAL,
        Reason.SILENCE_ENDED,
    },
    TransitionType.REMINDED: {Reason.STILL_TRUE},
}
ENDS = {
    Rule.THRESHOLD: {Reason.LIMIT_CHANGED, Reason.PERIOD_ENDED},
    Rule.FORECAST: {
        Reason.NO_LONGER_LIKELY,
        Reason.OVERTAKEN,
        Reason.LIMIT_CHANGED,
        Reason.PERIOD_ENDED,
        Reason.SWITCHED_OFF,
    },
    Rule.SPIKE: {Reason.AS_EXPECTED_AGAIN, Reason.SWITCHED_OFF},
    Rule.STALLED: {Reason.EVENTS_AGAIN, Reason.SWITCHED_OFF},
    Rule.BLIND: {Reason.POLLS_WORK_AGAIN},
    Rule.MISMATCH: {Reason.COUNTS_AGREE_AGAIN},
    Rule.DELIVERY: {Reason.CHANNEL_WORKS_AGAIN},
    Rule.CONFIG: {Reason.CONFIG_ACCEPTED},
    Rule.ENFORCED: {
        Reason.RYBBIT_TAKES_EVENTS,
        Reason.OVERTAKEN,
        Reason.LIMIT_CHANGED,
        Reason.PERIOD_ENDED,
    },
    Rule.NO_PLAN: {Reason.SITES_COLLECT},
}
ALL_ENDS = {why for whys in ENDS.values() for why in whys}
OWN = {Rule.DELIVERY, Rule.CONFIG, Rule.DISCOVERED}
LONG = replace(BIG, name="W" * 300)


def beginning(rule, reason, **more):
    of_none = rule in OWN or reason is Reason.ALL_POLLS_FAIL
    server = AboutServer("https://a-server-of-a-long-name.example.com")
    tier = reason.value if rule is Rule.FORECAST else None
    return about(rule, reason, about=server if of_none else ACME, tier=tier, **more)


def transitions():
    for rule, reasons in BEGINNINGS.items():
        for reason in sorted(reasons):
            fired = beginning(rule, reason)
            yield pytest.param(fired, id=f"{rule}-{reason}")
            for type_, whys in STEPS.items():
                for why in sorted(whys):
                    yield pytest.param(later(fired, type_, why), id=f"{rule}-{reason}-{why}")
            for why in sorted(ENDS.get(rule, ())):
                yield pytest.param(ended(fired, why), id=f"{rule}-{reason}-{why}")


def assert_readable(alert):
    assert 10 < len(alert.title) <= 120
    for text in (alert.title, alert.summary, alert.next_step, alert.lead, *alert.steps):
        assert text.splitlines() == [text]
        for sign in ("None", "nan", "{", "}", "  ", "..", "( ", " ,", " .", "::"):
            assert sign not in text
    assert alert.summary.endswith(".")
    assert alert.next_step.endswith(".")


@pytest.mark.parametrize("transition", list(transitions()))
def test_with_nothing_but_its_own_figures_it_still_reads_well(transition):
    for used in (91_234, 104_310, None):
        assert_readable(tell(transition, used, of=LONG, measured_at=None).alert)
    assert_readable(tell(transition, None, of=replace(BIG, limit=None), measured_at=None).alert)
    assert_readable(tell(transition, 91_234, of=replace(BIG, limit=None)).alert)
    assert_readable(tell(transition, 0, of=replace(BIG, limit=0)).alert)
    assert_readable(tell(transition, 104_310, of=replace(BIG, drops=False)).alert)


def test_every_rule_and_reason_begins_in_words_of_its_own():
    titles = [
        tell(beginning(rule, reason)).alert.summary
        for rule, reasons in BEGINNINGS.items()
        for reason in reasons
    ]
    assert len(set(titles)) == len(titles)


def test_every_end_is_told_in_words_of_its_own():
    ends = [
        tell(ended(beginning(rule, min(BEGINNINGS[rule])), why)).alert
        for rule, whys in ENDS.items()
        for why in whys - {Reason.PERIOD_ENDED, Reason.LIMIT_CHANGED}
    ]
    assert len({alert.title + alert.summary for alert in ends}) == len(ends)


def test_no_rule_and_no_reason_is_forgotten():
    steps = {why for whys in STEPS.values() for why in whys}
    assert set(BEGINNINGS) == set(Rule)
    assert {r for reasons in BEGINNINGS.values() for r in reasons} | steps | ALL_ENDS == set(Reason)


def test_every_end_that_reconcile_knows_is_among_these():
    ends = {rule: entry.ends for rule, entry in REGISTRY.items() if entry.ends is not None}
    assert all(reason in ENDS[rule] for rule, reason in ends.items())


@pytest.mark.parametrize("rule", sorted(set(Rule) - OWN))
def test_what_is_about_an_organization_names_it_its_period_and_its_reset(rule):
    for reason in BEGINNINGS[rule] - {Reason.ALL_POLLS_FAIL}:
        alert = tell(beginning(rule, reason)).alert
        assert "Acme" in alert.title
        assert "1 April 2026, 00:00 UTC" in alert.summary
        assert "1–31 March 2026" in alert.summary  # noqa: RUF001
        assert "counted 15 March 2026, 12:00 UTC" in alert.summary


def test_names_of_others_cannot_break_a_line():
    bad = "x\r\n\x1b[2J\u202e" * 3
    detail = {
        "types": [{"type": bad, "counted": 2, "expected": 1, "excess": 1}],
        "names": [bad],
        "error": bad,
        "last_error": bad,
        "problems": [bad],
        "name": bad,
        "plan": bad,
        "server": bad,
        "after": {"plan": bad, "status": bad, "limit": 5},
        "before": {"plan": "a", "status": "b", "limit": 3},
    }
    for rule, reasons in BEGINNINGS.items():
        for reason in reasons - {Reason.USED_FELL, Reason.PAST_DAYS_GREW}:
            story_about = AboutServer(bad) if rule in OWN else ACME
            fired = about(rule, reason, Severity.INFO, detail=detail, about=story_about)
            alert = tell(fired).alert
            text = alert.title + alert.summary + alert.next_step
            assert not set(text) & set("\r\n\x1b\u202e")
