from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.model.period import highest_level
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.blind import is_blind
from quota_watch.rules.known import Known
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.registry import assess
from quota_watch.rules.threshold import severity_of
from quota_watch.rules.verdict import State
from support import made_up
from support.domain import ACME, MARCH, NOON, assess_trouble, assess_usage, trouble, usage, watch
from support.forecasting import forecast_of
from support.telling import BIG, story

LIMITS = (3, 100, 1_000_003)
SHARES = (0, 50, 75, 89, 90, 99, 100, 101, 120, 500)
LEVELS = ((75, 90, 100), (50,), (90, 120), ())
CASES = [
    pytest.param(limit, used, levels, drops, id=f"{used} of {limit}, {levels}, drops={drops}")
    for limit, share, levels, drops in product(LIMITS, SHARES, LEVELS, (True, False))
    for used in {limit * share // 100, -(-limit * share // 100)}
]
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(("limit", "used", "levels", "drops"), CASES)
def test_the_highest_level_reached_is_the_condition(limit, used, levels, drops) -> None:
    judged = {*levels, 100} if drops else {*levels}
    reached = [level for level in judged if Fraction(used, limit) >= Fraction(level, 100)]
    findings = assess_usage(watch(limit=limit, thresholds=levels, drops=drops), usage(used))
    condition = findings.conditions.get(Rule.THRESHOLD)
    assert (condition.level if condition else None) == max(reached, default=None)
    assert findings.verdicts[Rule.THRESHOLD].state is not State.UNKNOWN
    assert findings.verdicts[Rule.BLIND].state is State.FALSE


@pytest.mark.parametrize(
    ("used", "level"),
    [
        (0, None),
        (74, None),
        (75, 75),
        (89, 75),
        (90, 90),
        (99, 90),
        (100, 100),
        (101, 100),
        (10**9, 100),
    ],
)
def test_levels_of_a_limit_of_100(used, level) -> None:
    condition = assess_usage(watch(), usage(used)).conditions.get(Rule.THRESHOLD)
    assert (condition.level if condition else None) == level


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.sets(st.integers(1, 1000)))
def test_a_level_is_exact_to_the_event(used, limit, levels) -> None:
    reached = {level for level in levels if Fraction(used, limit) >= Fraction(level, 100)}
    assert highest_level(used, limit, levels) == max(reached, default=None)


def test_where_events_are_dropped_100_is_always_a_level() -> None:
    assert watch(thresholds=(50,), drops=True).levels == (50, 100)
    assert watch(thresholds=(50,), drops=False).levels == (50,)


def test_levels_rise_and_stand_once() -> None:
    assert watch(thresholds=(100, 90, 75, 90)).levels == (75, 90, 100)


def test_without_a_limit_levels_are_not_judged_but_sight_is() -> None:
    findings = assess_usage(watch(limit=None), usage(10**9))
    assert findings.verdicts[Rule.THRESHOLD].state is State.UNKNOWN
    assert findings.verdicts[Rule.BLIND].state is State.FALSE
    assert (findings.conditions, findings.limit) == ({}, None)


def test_findings_are_of_the_period_that_was_counted() -> None:
    findings = assess_usage(watch(), usage(5))
    assert (findings.period, findings.limit) == (MARCH, 100)


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (1, Severity.INFO),
        (75, Severity.INFO),
        (89, Severity.INFO),
        (90, Severity.WARNING),
        (99, Severity.WARNING),
        (100, Severity.CRITICAL),
        (150, Severity.CRITICAL),
    ],
)
def test_severity_grows_with_the_level(level, severity) -> None:
    assert severity_of(level) is severity
    assert (
        assess_usage(watch(thresholds=(level,), drops=False), usage(1000))
        .conditions[Rule.THRESHOLD]
        .severity
        is severity
    )


def test_severities_are_ordered_and_have_words() -> None:
    assert Severity.INFO < Severity.WARNING < Severity.CRITICAL
    assert [Severity.of(each.label) for each in Severity] == list(Severity)
    assert [each.label for each in Severity] == ["info", "warning", "critical"]


@pytest.mark.parametrize(
    ("polls", "hours", "blind"),
    [(2, 2, True), (2, 1.99, False), (1, 2, False), (1, 500, False), (9, 0, False), (9, 48, True)],
)
def test_blind_is_two_failed_polls_and_the_agreed_time(polls, hours, blind) -> None:
    run = trouble(NOON - hours * HOUR, polls=polls)
    assert is_blind(run, after=2 * HOUR, now=NOON) is blind


def trouble_findings(hours: float, *, last_known=None, **changes):
    run = trouble(NOON - hours * HOUR)
    return assess_trouble(watch(**changes), run, last_known=last_known, period=MARCH, now=NOON)


def test_a_failed_poll_judges_no_level() -> None:
    assert trouble_findings(1, last_known=usage(100)).verdicts == {}
    assert set(trouble_findings(3, last_known=usage(100)).verdicts) == {Rule.BLIND}
    assert Rule.THRESHOLD not in trouble_findings(3, last_known=usage(100)).conditions


@pytest.mark.parametrize(
    ("last_known", "limit", "severity"),
    [
        (None, 100, Severity.WARNING),
        (usage(89), 100, Severity.WARNING),
        (usage(90), 100, Severity.CRITICAL),
        (usage(500), 100, Severity.CRITICAL),
        (usage(500), None, Severity.WARNING),
    ],
)
def test_blindness_near_the_limit_is_critical(last_known, limit, severity) -> None:
    findings = trouble_findings(3, last_known=last_known, limit=limit)
    assert findings.conditions[Rule.BLIND].severity is severity


def test_blindness_can_be_switched_off() -> None:
    findings = trouble_findings(1000, blind_after=None)
    assert (findings.conditions, findings.verdicts) == ({}, {})


@pytest.mark.parametrize("last_known", [None, usage(95)])
def test_assess_of_a_failed_poll_is_that_of_its_trouble(last_known) -> None:
    run = trouble(NOON - 3 * HOUR)
    known = Known(watch=watch(), period=MARCH, at=NOON, usage=last_known, trouble=run)
    assert assess(known) == trouble_findings(3, last_known=last_known)


def test_assess_of_a_good_poll_is_that_of_its_usage() -> None:
    known = Known(watch=watch(), period=MARCH, at=NOON, usage=usage(95), measured_at=NOON)
    assert assess(known) == assess_usage(watch(), usage(95))


def test_assess_of_nothing_judges_nothing() -> None:
    findings = assess(Known(watch=watch(), period=MARCH, at=NOON, usage=None, measured_at=None))
    assert (findings.verdicts, findings.conditions) == ({}, {})


def outlook_of(probability: float, p50: int) -> Known:
    forecast = forecast_of(p50, used=76_000, probability=probability)
    return Known(
        watch=BIG,
        period=MARCH,
        at=NOON,
        usage=usage(76_000),
        measured_at=NOON,
        analysis=made_up.analysis(forecast),
    )


USUAL = replace(BIG, usual_levels=True, forecast=True)


@pytest.mark.parametrize(
    ("of", "probability", "quiet"),
    [
        (USUAL, 0.1, True),
        (USUAL, 0.6, False),
        (replace(USUAL, usual_levels=False), 0.1, False),
        (replace(USUAL, forecast=False), 0.1, False),
    ],
)
def test_a_low_usual_level_of_a_month_likely_to_end_under_its_limit_is_no_message(
    of, probability, quiet
) -> None:
    findings = assess(replace(outlook_of(probability, 85_000), watch=of))
    assert findings.conditions[Rule.THRESHOLD].is_quiet is quiet
    (transition,) = [
        each
        for each in reconcile(findings, (), about=ACME, now=NOON)
        if each.story.rule is Rule.THRESHOLD
    ]
    assert transition.condition is not None
    assert transition.condition.is_quiet is quiet
    again = reconcile(findings, (transition.story,), about=ACME, now=NOON)
    assert not [each for each in again if each.story.rule is Rule.THRESHOLD]


def test_a_level_is_as_severe_at_least_as_the_open_forecast() -> None:
    open_forecast = story(
        None, rule=Rule.FORECAST, limit=100_000, severity=Severity.WARNING, tier="will_exceed"
    )
    findings = assess(replace(outlook_of(0.9, 120_000), watch=USUAL, stories=(open_forecast,)))
    assert findings.conditions[Rule.THRESHOLD].severity is Severity.WARNING


def test_a_level_that_was_told_does_not_become_more_severe_by_a_forecast() -> None:
    stories = (
        story(75, severity=Severity.INFO),
        story(None, rule=Rule.FORECAST, limit=100_000, severity=Severity.WARNING),
    )
    findings = assess(replace(outlook_of(0.9, 120_000), watch=USUAL, stories=stories))
    assert findings.conditions[Rule.THRESHOLD].severity is Severity.INFO
