"""What each rule says of an organization, in words."""

from datetime import date, timedelta
from typing import Any

import pytest

from quota_watch.model.limit import NOT_KNOWN, KnownLimit
from quota_watch.model.rule import Rule, Severity
from quota_watch.rules import explain as explaining
from quota_watch.rules.ahead import Judgements
from quota_watch.rules.explain import Known, Standing, explain, words_of
from quota_watch.rules.forecast import Risk, RiskJudgement, RiskReason, Tier
from quota_watch.rules.mismatch import Mismatch, Verdict
from quota_watch.rules.reason import Reason
from quota_watch.rules.spike import SpikeJudgement, SpikeReason
from quota_watch.rules.stalled import Stall, StallJudgement, StallReason
from quota_watch.rules.verdict import Ruling
from support.domain import NOON, trouble, usage, watch

HOUR = timedelta(hours=1)
ALL_ON = watch(forecast=True, spike=True, stalled_after=24 * HOUR)
RISK = Risk(
    tier=Tier.WILL_EXCEED,
    severity=Severity.WARNING,
    probability=0.93,
    early=None,
    likely=date(2026, 3, 20),
    late=None,
    tell=True,
)
STALL = Stall(since=NOON, hours=26.5, counted=1, expected=1200, last_seen=None)


def judged(**changes: Any) -> Judgements:
    values: dict[str, Any] = {
        "risk": RiskJudgement(ruling=Ruling.FALSE, reason=RiskReason.NOT_LIKELY),
        "spike": SpikeJudgement(ruling=Ruling.UNKNOWN, reason=SpikeReason.TOO_LITTLE_HISTORY),
        "stall": StallJudgement(ruling=Ruling.FALSE, reason=StallReason.EVENTS_COME),
        "probability": 0.125,
    }
    return Judgements(**(values | changes))


def says(rule: Rule, **known: Any) -> tuple[Standing, str]:
    values = {"watch": ALL_ON, "now": NOON, "usage": usage(80), "limit": NOT_KNOWN}
    found = explain(Known(**(values | known)))
    return next((each.standing, each.says) for each in found if each.rule is rule)


@pytest.mark.parametrize(
    ("used", "standing", "words"),
    [
        (0, Standing.FALSE, "the next level, 75 %, is 75 events away"),
        (80, Standing.TRUE, "level 75 % is reached; the next level, 90 %, is 10 events away"),
        (100, Standing.TRUE, "level 100 % is reached; there is no higher one"),
    ],
)
def test_the_level_reached_and_how_far_the_next_one_is(used, standing, words) -> None:
    assert says(Rule.THRESHOLD, usage=usage(used)) == (standing, words)


@pytest.mark.parametrize("limit", [7, 333, 1001])
def test_at_the_distance_that_is_said_the_level_is_reached(limit) -> None:
    seen = watch(limit=limit)
    _, words = says(Rule.THRESHOLD, watch=seen, usage=usage(0))
    away = int(words.split()[-3])
    assert says(Rule.THRESHOLD, watch=seen, usage=usage(away))[0] is Standing.TRUE
    assert says(Rule.THRESHOLD, watch=seen, usage=usage(away - 1))[0] is Standing.FALSE


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
    assert standing in {Standing.UNKNOWN, Standing.OFF}
    assert words in text


def test_the_forecast_says_how_sure_it_is_and_its_tier() -> None:
    risk = RiskJudgement(ruling=Ruling.TRUE, reason=RiskReason.SURE_ENOUGH, risk=RISK)
    standing, text = says(Rule.FORECAST, judgements=judged(risk=risk, probability=0.93))
    assert standing is Standing.TRUE
    assert text.startswith("it will probably end over the limit (chance 93 %)")
    assert text.endswith(", tier will_exceed, likely on 2026-03-20 (UTC)")


@pytest.mark.parametrize(
    ("chance", "words"), [(0.001, "below 1 %"), (0.125, "12 %"), (0.999, "above 99 %")]
)
def test_no_chance_is_said_to_be_certain(chance, words) -> None:
    _, text = says(Rule.FORECAST, judgements=judged(probability=chance))
    assert text == f"not likely enough to end over the limit (chance {words})"


def test_a_silence_is_told_with_its_figures() -> None:
    stall = StallJudgement(ruling=Ruling.TRUE, reason=StallReason.NEXT_TO_NOTHING, stall=STALL)
    _, text = says(Rule.STALLED, judgements=judged(stall=stall))
    assert text.endswith(": 1 events in 26.5 hours, 1,200 expected at the least")


@pytest.mark.parametrize("rule", [Rule.FORECAST, Rule.SPIKE, Rule.STALLED, Rule.BLIND])
def test_a_rule_that_is_off_says_so(rule) -> None:
    standing, text = says(rule, watch=watch(blind_after=None), judgements=judged())
    assert (standing, text) == (Standing.OFF, "switched off in the config")


@pytest.mark.parametrize("rule", [Rule.FORECAST, Rule.SPIKE, Rule.STALLED])
def test_before_anything_was_counted_nothing_can_be_judged(rule) -> None:
    assert says(rule)[0] is Standing.UNKNOWN


@pytest.mark.parametrize(
    ("polls", "hours", "standing"),
    [(1, 0.5, Standing.FALSE), (1, 3, Standing.FALSE), (2, 3, Standing.TRUE)],
)
def test_blindness_says_since_when_and_when_it_is_told(polls, hours, standing) -> None:
    run = trouble(NOON - hours * HOUR, polls=polls)
    found, text = says(Rule.BLIND, trouble=run)
    assert found is standing
    assert f"{polls} poll" in text
    assert ("told after 2 h" in text) is (standing is Standing.FALSE)


def test_a_lower_limit_that_is_not_believed_yet_is_told() -> None:
    doubtful = KnownLimit(events=100, source="upstream", lower=50, lower_since=NOON)
    standing, text = says(Rule.LIMIT, watch=watch(auto=True), limit=doubtful)
    assert standing is Standing.UNKNOWN
    assert text.startswith("Rybbit has said 50 events since 2026-03-15 12:00 UTC")


def test_a_fixed_limit_tells_no_changes() -> None:
    assert says(Rule.LIMIT)[0] is Standing.OFF


@pytest.mark.parametrize(
    ("confirmed", "standing"), [(False, Standing.UNKNOWN), (True, Standing.TRUE)]
)
def test_counts_that_differ_are_told_with_both(confirmed, standing) -> None:
    held = Mismatch(
        verdict=Verdict.RESTRICTED, since=NOON, confirmed=confirmed, ours=800, theirs=1000
    )
    found, text = says(Rule.MISMATCH, mismatch=held, compared=True)
    assert found is standing
    assert "(800 here, 1,000 there)" in text


def test_counts_that_agree_or_are_not_known() -> None:
    assert says(Rule.MISMATCH, compared=True) == (Standing.FALSE, "both counts agree")
    assert says(Rule.MISMATCH)[0] is Standing.UNKNOWN


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words(reason) -> None:
    assert words_of(reason)


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (explaining._RISK, RiskReason),
        (explaining._SPIKE, SpikeReason),
        (explaining._STALL, StallReason),
    ],
)
def test_whatever_a_rule_came_to_has_words(words, reasons) -> None:
    assert set(words) == set(reasons)
