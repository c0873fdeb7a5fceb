"""The rule `forecast`: the period will probably end over the limit."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from quota_watch.forecast.forecast import Crossing, Forecast, TooEarly
from quota_watch.lib.text import certainty, plain, verb
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.known import Known
from quota_watch.rules.story import Story
from quota_watch.rules.verdict import (
    NOTHING_COUNTED,
    OFF,
    Condition,
    Reason,
    State,
    Verdict,
    Worded,
)

_SOON = timedelta(hours=48)
_AT_RISK = 0.85
_CLEARED, _AGAIN = 0.05, 0.9
_CLEARLY_EARLIER = timedelta(days=2)


class Tier(StrEnum):
    """How sure it is; the later word is the surer one."""

    AT_RISK = "at_risk"
    WILL_EXCEED = "will_exceed"


class RiskReason(Worded):
    """Why the forecast is or is not an alert; `{verb}` says how probable it is, as in mails."""

    LIKELY_OVER = "likely_over", "it {verb} end over the limit"
    SURE_ENOUGH = "sure_enough", "it {verb} end over the limit"
    STILL_POSSIBLE = "still_possible", "it improved, but is not safe yet"
    CLEARLY_BETTER = "clearly_better", "it is no longer likely to end over the limit"
    NOT_LIKELY = "not_likely", "not likely enough to end over the limit"
    LIMIT_REACHED = "limit_reached", "the limit is reached, which is an alert of the rule threshold"
    TOO_EARLY = "too_early", "too few days are known to forecast the period"
    NO_LIMIT = "no_limit", "no limit is known"


_REASONS = {
    Tier.WILL_EXCEED: RiskReason.SURE_ENOUGH,
    Tier.AT_RISK: RiskReason.LIKELY_OVER,
    None: RiskReason.STILL_POSSIBLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """The risk of ending over the limit; within a story neither tier nor severity falls.

    `likely` is the day on which the expected traffic passes the limit; None: not in this period.
    """

    tier: Tier
    severity: Severity
    probability: float
    early: date | None
    likely: date | None
    late: date | None


def verdict(known: Known) -> Verdict:
    """Judge the forecast of the period in view of its open story."""
    if not known.watch.forecast:
        return OFF
    if known.analysis is None or known.usage is None:
        return NOTHING_COUNTED
    stories = known.stories_of_limit(Rule.FORECAST)
    verdict = judge_risk(
        known.analysis.forecast,
        limit=known.watch.limit,
        now=known.measured_at or known.at,
        open_story=next((story for story in stories if story.is_open), None),
        ended_before=any(story.reason is Reason.NO_LONGER_LIKELY for story in stories),
    )
    return replace(
        verdict,
        says=says(verdict, known.forecast),
        condition=None if verdict.figures is None else condition_of(verdict.figures),
        end=Reason.OVERTAKEN if verdict.reason is RiskReason.LIMIT_REACHED else None,
    )


def says_more(condition: Condition, story: Story) -> Reason | None:
    """Compare the likely date with the one in the last message: two days sooner are news."""
    if condition.mark is None or story.mark is None or condition.severity < story.severity:
        return None
    sooner = date.fromisoformat(story.mark) - date.fromisoformat(condition.mark)
    if sooner < _CLEARLY_EARLIER:
        return None
    return Reason.EARLIER_DATE if condition.tier == story.tier else condition.reason


def condition_of(risk: Risk) -> Condition:
    """Turn a risk into the condition to report."""
    return Condition(
        rule=Rule.FORECAST,
        severity=risk.severity,
        reason=Reason(risk.tier),
        tier=risk.tier,
        mark=None if risk.likely is None else risk.likely.isoformat(),
        detail=plain(risk),
    )


def says(verdict: Verdict, forecast: Forecast | None) -> str:
    """Put the verdict in words, with the chance and the date where there are any."""
    reason, risk = RiskReason(verdict.reason), verdict.figures
    chance = None if forecast is None else forecast.probability_over
    words = reason.says.format(verb=verb(chance or 0.0))
    if chance is not None and reason is not RiskReason.LIMIT_REACHED:
        words += f" (chance {certainty(chance)})"
    if risk is not None and risk.likely is not None:
        words += f", tier {risk.tier}, likely on {risk.likely} (UTC)"
    return words


def judge_risk(
    forecast: Forecast | TooEarly | None,
    *,
    limit: int | None,
    now: datetime,
    open_story: Story | None = None,
    ended_before: bool = False,
) -> Verdict:
    """Judge a forecast that was made with `limit`, in view of the open story, if there is one.

    It will exceed where the limit is below the forecast's `warn_at`, which early in the period
    takes strong evidence. It is at risk where that is likely without such evidence. A story ends
    once the probability is at most 5 %; after that (`ended_before`) another begins only with
    evidence and 90 %. Once the limit is reached, the rule has nothing to add.
    """
    if limit is None:
        return Verdict(state=State.UNKNOWN, reason=RiskReason.NO_LIMIT)
    if not isinstance(forecast, Forecast) or forecast.probability_over is None:
        return Verdict(state=State.UNKNOWN, reason=RiskReason.TOO_EARLY)
    if forecast.used >= limit:
        return Verdict(state=State.FALSE, reason=RiskReason.LIMIT_REACHED)
    probability = forecast.probability_over
    tier = _tier(forecast, probability, limit, ended_before=ended_before)
    if open_story is None and tier is None:
        return Verdict(state=State.FALSE, reason=RiskReason.NOT_LIKELY)
    if open_story is not None and probability <= _CLEARED:
        return Verdict(state=State.FALSE, reason=RiskReason.CLEARLY_BETTER)
    return Verdict(
        state=State.TRUE,
        reason=_REASONS[tier],
        figures=_risk(forecast, probability, tier, now, open_story),
    )


def _tier(forecast: Forecast, probability: float, limit: int, *, ended_before: bool) -> Tier | None:
    if limit < forecast.warn_at and (probability >= _AGAIN or not ended_before):
        return Tier.WILL_EXCEED
    if probability >= _AT_RISK and not ended_before:
        return Tier.AT_RISK
    return None


def _risk(
    forecast: Forecast,
    probability: float,
    tier: Tier | None,
    now: datetime,
    open_story: Story | None,
) -> Risk:
    crossing = forecast.crosses_on or Crossing(early=None, likely=None, late=None)
    severity = Severity.INFO
    if tier is Tier.WILL_EXCEED:
        severity = Severity.CRITICAL if _is_soon(crossing.likely, now) else Severity.WARNING
    if open_story is not None:
        severity = max(severity, open_story.severity)
        before = Tier(open_story.tier or Tier.AT_RISK)
        tier = before if before is Tier.WILL_EXCEED else tier or before
    return Risk(
        tier=tier or Tier.AT_RISK,
        severity=severity,
        probability=probability,
        early=crossing.early,
        likely=crossing.likely,
        late=crossing.late,
    )


def _is_soon(likely: date | None, now: datetime) -> bool:
    return likely is not None and datetime.combine(likely, time.min, UTC) <= now + _SOON
