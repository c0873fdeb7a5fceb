"""What each rule says of an organization, in words."""

from datetime import date, timedelta
from typing import Any

import pytest

from quota_watch.model.limit import KnownLimit
from quota_watch.model.source import Comparison, Mismatch
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules import forecast, stalled
from quota_watch.rules.forecast import Risk, RiskReason, Tier
from quota_watch.rules.known import Known
from quota_watch.rules.registry import verdicts_of
from quota_watch.rules.spike import SpikeReason
from quota_watch.rules.stalled import Stall, StallReason
from quota_watch.rules.verdict import Reason, State, Verdict
from support.domain import MARCH, NOON, trouble, usage, watch
from support.forecasting import forecast_of

HOUR = timedelta(hours=1)
ALL_ON = watch(forecast=True, spike=True, stalled_after=24 * HOUR)
RISK = Risk(
    tier=Tier.WILL_EXCEED,
    severity=Severity.WARNING,
    probability=0.93,
    early=None,
    likely=date(2026, 3, 20),
    late=None,
)
STALL = Stall(since=NOON, hours=26.5, counted=1, expected=1200, last_seen=None)


def says(rule: Rule, **known: Any) -> tuple[State, str]:
    values = {"watch": ALL_ON, "period": MARCH, "at": NOON, "usage": usage(80)}
    verdict = verdicts_of(Known(**(values | known)))[rule]
    return verdict.state, verdict.says


@pytest.mark.parametrize(
    ("used", "standing", "words"),
    [
        (0, State.FALSE, "the next level, 75 %, is 75 events away"),
        (80, State.TRUE, "level 75 % is reached; the next level, 90 %, is 10 events away"),
        (100, State.TRUE, "level 100 % is reached; there is no higher one"),
    ],
)
def test_the_level_reached_and_how_far_the_next_one_is(used, standing, words) -> None:
    assert says(Rule.THRESHOLD, usage=usage(used)) == (standing, words)


@pytest.mark.parametrize("limit", [7, 333, 1001])
def test_at_the_distance_that_is_said_the_level_is_reached(limit) -> None:
    seen = watch(limit=limit)
    _, words = says(Rule.THRESHOLD, watch=seen, usage=usage(0))
    away = int(words.split()[-3])
    assert says(Rule.THRESHOLD, watch=seen, usage=usage(away))[0] is State.TRUE
    assert says(Rule.THRESHOLD, watch=seen, usage=usage(away - 1))[0] is State.FALSE


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"watch": watch(limit=None)}, "no limit is known"),
        ({"usage": None}, "nothing has been counted"),
        ({"watch": watch(thresholds=(), drops=False)}, "no levels in the config"),
    ],
)
def test_why_no_level_is_judged(known, words) -> None:
    standing, text = says(Rule.THRESHOLD, **known)
    assert standing in {State.UNKNOWN, State.OFF}
    assert words in text


@pytest.mark.parametrize(
    ("chance", "words"),
    [
        (0.84, "it might end over the limit (chance 84 %)"),
        (0.86, "it will probably end over the limit (chance 86 %)"),
        (0.98, "it will end over the limit (chance over 97 %)"),
    ],
)
@pytest.mark.parametrize("reason", [RiskReason.LIKELY_OVER, RiskReason.SURE_ENOUGH])
def test_the_forecast_says_how_sure_it_is_as_mails_do_and_its_tier(reason, chance, words) -> None:
    verdict = Verdict(state=State.TRUE, reason=reason, figures=RISK)
    text = forecast.says(verdict, forecast_of(120_000, used=80, probability=chance))
    assert text.startswith(words)
    assert text.endswith(", tier will_exceed, likely on 2026-03-20 (UTC)")


@pytest.mark.parametrize(
    ("chance", "words"), [(0.001, "under 3 %"), (0.125, "12 %"), (0.999, "over 97 %")]
)
def test_no_chance_is_said_to_be_certain(chance, words) -> None:
    verdict = Verdict(state=State.FALSE, reason=RiskReason.NOT_LIKELY)
    text = forecast.says(verdict, forecast_of(80_000, used=80, probability=chance))
    assert text == f"not likely enough to end over the limit (chance {words})"


def test_a_silence_is_told_with_its_figures() -> None:
    text = stalled.says(
        Verdict(state=State.TRUE, reason=StallReason.NEXT_TO_NOTHING, figures=STALL)
    )
    assert text.endswith(": 1 events in 26.5 hours, 1,200 expected at least")


@pytest.mark.parametrize("rule", [Rule.FORECAST, Rule.SPIKE, Rule.STALLED, Rule.BLIND])
def test_a_rule_that_is_off_says_so(rule) -> None:
    standing, text = says(rule, watch=watch(blind_after=None))
    assert (standing, text) == (State.OFF, "switched off in the config")


@pytest.mark.parametrize("rule", [Rule.FORECAST, Rule.SPIKE, Rule.STALLED])
def test_before_anything_was_counted_nothing_can_be_judged(rule) -> None:
    assert says(rule)[0] is State.UNKNOWN


@pytest.mark.parametrize(
    ("polls", "hours", "standing"),
    [(1, 0.5, State.FALSE), (1, 3, State.FALSE), (2, 3, State.TRUE)],
)
def test_blindness_says_since_when_and_when_it_is_told(polls, hours, standing) -> None:
    run = trouble(NOON - hours * HOUR, polls=polls)
    found, text = says(Rule.BLIND, trouble=run)
    assert found is standing
    assert f"{polls} poll" in text
    assert ("sent after 2 h" in text) is (standing is State.FALSE)


def test_a_lower_limit_that_is_not_believed_yet_is_told() -> None:
    doubtful = KnownLimit(events=100, source="upstream", lower=50, lower_since=NOON)
    standing, text = says(Rule.LIMIT, watch=watch(auto=True), limit=doubtful)
    assert standing is State.UNKNOWN
    assert text.startswith("Rybbit says 50 events since 2026-03-15 12:00 UTC")


def test_a_fixed_limit_tells_no_changes() -> None:
    assert says(Rule.LIMIT)[0] is State.OFF


@pytest.mark.parametrize(("confirmed", "standing"), [(False, State.UNKNOWN), (True, State.TRUE)])
def test_counts_that_differ_are_told_with_both(confirmed, standing) -> None:
    held = Mismatch(
        comparison=Comparison.RESTRICTED, since=NOON, confirmed=confirmed, ours=800, theirs=1000
    )
    found, text = says(Rule.MISMATCH, mismatch=held, compared=True)
    assert found is standing
    assert "(800 here, 1,000 there)" in text


def test_counts_that_agree_or_are_not_known() -> None:
    assert says(Rule.MISMATCH, compared=True) == (State.FALSE, "both counts agree")
    assert says(Rule.MISMATCH)[0] is State.UNKNOWN


@pytest.mark.parametrize("reason", [*Reason, *RiskReason, *SpikeReason, *StallReason])
def test_every_reason_has_words(reason) -> None:
    assert reason.says
