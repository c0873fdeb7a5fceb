from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.forecast.forecast import Crossing, Forecast, TooEarly, forecast
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.forecast import (
    Risk,
    RiskReason,
    Tier,
    condition_of,
    judge_risk,
)
from quota_watch.rules.reconcile import why_worse
from quota_watch.rules.story import Story
from quota_watch.rules.verdict import Reason, State, Verdict
from support.domain import ACME, MARCH, NOON

LIMIT = 100_000
THE_20TH = date(2026, 3, 20)
SEEN = Forecast(
    as_of=date(2026, 3, 14),
    used=60_000,
    p10=95_000,
    p50=110_000,
    p90=120_000,
    warn_at=LIMIT,
    path=(3000.0,) * 17,
    probability_over=0.5,
    crosses_on=Crossing(early=date(2026, 3, 18), likely=THE_20TH, late=date(2026, 3, 24)),
)


def story(tier: Tier, severity: Severity, likely: date | None) -> Story:
    return Story(
        about=ACME,
        rule=Rule.FORECAST,
        period_start=MARCH.start,
        limit=LIMIT,
        occurrence=1,
        level=None,
        severity=severity,
        reason=Reason.AT_RISK,
        started_at=NOON,
        tier=tier,
        mark=None if likely is None else likely.isoformat(),
    )


AT_RISK = story(Tier.AT_RISK, Severity.INFO, THE_20TH)
WILL_EXCEED = story(Tier.WILL_EXCEED, Severity.WARNING, THE_20TH)


def tells(risk: Risk, told: Story) -> bool:
    """Ask reconcile whether the risk says more than the story has told."""
    return why_worse(condition_of(risk), told) is not None


def judged(chance, *, sure=False, told=None, ended_before=False, **changes) -> Verdict:
    seen = replace(SEEN, probability_over=chance, warn_at=LIMIT + sure, **changes)
    return judge_risk(seen, limit=LIMIT, now=NOON, open_story=told, ended_before=ended_before)


def crossing(likely) -> Crossing:
    return Crossing(early=likely, likely=likely, late=likely)


def test_an_even_chance_is_no_reason_to_speak() -> None:
    assert judged(0.5) == Verdict(state=State.FALSE, reason=RiskReason.NOT_LIKELY)


def test_at_risk_begins_at_85_chances_in_100() -> None:
    assert judged(0.84).state is State.FALSE
    assert judged(0.85).state is State.TRUE


def test_what_is_likely_without_much_evidence_is_at_risk() -> None:
    risk = judged(0.9).figures
    assert risk is not None
    assert (risk.tier, risk.severity) == (Tier.AT_RISK, Severity.INFO)
    assert (risk.likely, risk.probability) == (THE_20TH, 0.9)


def test_with_evidence_enough_it_will_exceed() -> None:
    risk = judged(0.9, sure=True).figures
    assert risk is not None
    assert (risk.tier, risk.severity) == (Tier.WILL_EXCEED, Severity.WARNING)


@pytest.mark.parametrize(("likely", "severity"), [(17, Severity.CRITICAL), (18, Severity.WARNING)])
def test_a_crossing_that_begins_within_two_days_is_critical(likely, severity) -> None:
    risk = judged(0.9, sure=True, crosses_on=crossing(date(2026, 3, likely))).figures
    assert risk is not None
    assert risk.severity is severity


def test_what_is_only_at_risk_is_never_critical() -> None:
    risk = judged(0.9, crosses_on=crossing(date(2026, 3, 16))).figures
    assert risk is not None
    assert risk.severity is Severity.INFO


def test_nothing_is_told_twice() -> None:
    for told, sure in ((AT_RISK, False), (WILL_EXCEED, True)):
        risk = judged(0.9, sure=sure, told=told).figures
        assert risk is not None
        assert not tells(risk, told)


def test_the_higher_tier_is_told_and_stays() -> None:
    risk = judged(0.9, sure=True, told=AT_RISK).figures
    assert risk is not None
    assert (risk.tier, tells(risk, AT_RISK)) == (Tier.WILL_EXCEED, True)
    risk = judged(0.9, told=WILL_EXCEED).figures
    assert risk is not None
    assert (risk.tier, risk.severity) == (Tier.WILL_EXCEED, Severity.WARNING)
    assert not tells(risk, WILL_EXCEED)


@pytest.mark.parametrize(("likely", "tell"), [(19, False), (18, True), (25, False)])
def test_a_date_two_days_earlier_is_told_again(likely, tell) -> None:
    risk = judged(0.9, told=AT_RISK, crosses_on=crossing(date(2026, 3, likely))).figures
    assert risk is not None
    assert tells(risk, AT_RISK) is tell


def test_a_story_ends_only_when_it_is_clearly_better() -> None:
    assert judged(0.06, told=WILL_EXCEED).reason is RiskReason.STILL_POSSIBLE
    better = judged(0.05, told=WILL_EXCEED)
    assert (better.state, better.reason) == (State.FALSE, RiskReason.CLEARLY_BETTER)


def test_after_a_story_ended_only_near_certainty_begins_another() -> None:
    assert judged(0.95, ended_before=True).state is State.FALSE
    assert judged(0.85, sure=True, ended_before=True).state is State.FALSE
    assert judged(0.95, sure=True, ended_before=True).state is State.TRUE


@pytest.mark.parametrize("used", [LIMIT, LIMIT + 1])
def test_at_the_limit_the_rule_has_nothing_to_add(used) -> None:
    found = judged(1.0, sure=True, used=used, told=WILL_EXCEED)
    assert (found.state, found.reason) == (State.FALSE, RiskReason.LIMIT_REACHED)


def test_too_early_and_no_limit_are_unknown() -> None:
    early = judge_risk(TooEarly(2), limit=LIMIT, now=NOON, open_story=AT_RISK)
    assert (early.state, early.reason) == (State.UNKNOWN, RiskReason.TOO_EARLY)
    assert judge_risk(SEEN, limit=None, now=NOON).reason is RiskReason.NO_LIMIT
    assert judge_risk(None, limit=LIMIT, now=NOON).state is State.UNKNOWN


told = st.sampled_from([None, AT_RISK, WILL_EXCEED])


@given(
    st.lists(st.integers(0, 10**5), max_size=60), st.integers(1, 30), st.integers(1, 10**6), told
)
def test_a_forecast_of_anything_is_judged_and_a_story_never_falls(counts, day, limit, told) -> None:
    as_of = date(2026, 3, day)
    past = {as_of - timedelta(n): count for n, count in enumerate(counts)}
    seen = forecast(past, period=MARCH, as_of=as_of, limit=limit)
    now = datetime(2026, 3, day, 12, tzinfo=UTC)
    found = judge_risk(seen, limit=limit, now=now, open_story=told)
    assert (found.state is State.TRUE) == (found.figures is not None)
    if found.figures is not None and told is not None:
        assert found.figures.severity >= told.severity
        assert told.tier == Tier.AT_RISK or found.figures.tier is Tier.WILL_EXCEED


@given(st.floats(0, 1), st.booleans(), told)
def test_what_was_told_is_not_told_again(chance, sure, told) -> None:
    first = judged(chance, sure=sure, told=told).figures
    if first is not None:
        kept = story(first.tier, first.severity, first.likely)
        again = judged(chance, sure=sure, told=kept).figures
        assert again is None or not tells(again, kept)
