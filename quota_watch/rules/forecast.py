"""The rule `forecast`: the period will probably end over the limit."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from quota_watch.forecast.forecast import Forecast, TooEarly
from quota_watch.model.rule import Severity
from quota_watch.rules.verdict import Ruling

_SOON = timedelta(hours=48)
_AT_RISK = 0.85
_CLEARED, _AGAIN = 0.05, 0.9
_CLEARLY_EARLIER = timedelta(days=2)


class Tier(StrEnum):
    """How sure it is; the later word is the surer one."""

    AT_RISK = "at_risk"
    WILL_EXCEED = "will_exceed"


class RiskReason(StrEnum):
    """Why the forecast is or is not worth telling."""

    LIKELY_OVER = "likely_over"
    SURE_ENOUGH = "sure_enough"
    STILL_POSSIBLE = "still_possible"
    CLEARLY_BETTER = "clearly_better"
    NOT_LIKELY = "not_likely"
    LIMIT_REACHED = "limit_reached"
    TOO_EARLY = "too_early"
    NO_LIMIT = "no_limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRisk:
    """What the open story of the period told last."""

    tier: Tier
    severity: Severity
    likely: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """What is true of the period now. Within a story neither tier nor severity falls.

    `likely` is the day on which the limit is passed if as much comes as expected; None: not in
    this period. `tell` is set where this says clearly more than what was told: a new story, the
    higher tier or severity, or a likely date two days earlier or more.
    """

    tier: Tier
    severity: Severity
    probability: float
    early: date | None
    likely: date | None
    late: date | None
    tell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskJudgement:
    """Whether the limit is at risk, why, and how where it is."""

    ruling: Ruling
    reason: RiskReason
    risk: Risk | None = None


def judge_risk(
    seen: Forecast | TooEarly | None,
    *,
    limit: int | None,
    now: datetime,
    told: ToldRisk | None = None,
    ended_before: bool = False,
) -> RiskJudgement:
    """Judge a forecast that was made with `limit`; `told` is the open story, if there is one.

    It will exceed where the limit is below the forecast's `warn_at`, for which early in the
    period strong evidence is needed. It is at risk where it is likely without that evidence. A
    story ends when at most one chance in 20 is left; after that (`ended_before`) only evidence
    and nine chances in ten begin another. Where the limit is reached the rule has nothing to add.
    """
    if limit is None:
        return RiskJudgement(ruling=Ruling.UNKNOWN, reason=RiskReason.NO_LIMIT)
    if not isinstance(seen, Forecast) or seen.probability_over is None:
        return RiskJudgement(ruling=Ruling.UNKNOWN, reason=RiskReason.TOO_EARLY)
    if seen.used >= limit:
        return RiskJudgement(ruling=Ruling.FALSE, reason=RiskReason.LIMIT_REACHED)
    tier = _tier(seen, seen.probability_over, limit, ended_before=ended_before)
    if told is None and tier is None:
        return RiskJudgement(ruling=Ruling.FALSE, reason=RiskReason.NOT_LIKELY)
    if told is not None and seen.probability_over <= _CLEARED:
        return RiskJudgement(ruling=Ruling.FALSE, reason=RiskReason.CLEARLY_BETTER)
    risk = _risk(seen, seen.probability_over, tier, now, told)
    return RiskJudgement(ruling=Ruling.TRUE, reason=_reason(tier), risk=risk)


def _tier(seen: Forecast, probability: float, limit: int, *, ended_before: bool) -> Tier | None:
    if limit < seen.warn_at and (probability >= _AGAIN or not ended_before):
        return Tier.WILL_EXCEED
    if probability >= _AT_RISK and not ended_before:
        return Tier.AT_RISK
    return None


def _risk(
    seen: Forecast, probability: float, tier: Tier | None, now: datetime, told: ToldRisk | None
) -> Risk:
    likely = seen.crosses_on.likely if seen.crosses_on else None
    severity = Severity.INFO
    if tier is Tier.WILL_EXCEED:
        severity = Severity.CRITICAL if _is_soon(likely, now) else Severity.WARNING
    tell = told is None
    if told is not None:
        tell = severity > told.severity or _is_clearly_earlier(likely, told.likely)
        severity = max(severity, told.severity)
        if told.tier is Tier.WILL_EXCEED or tier is None:
            tier = told.tier
    return Risk(
        tier=tier or Tier.AT_RISK,
        severity=severity,
        probability=probability,
        early=seen.crosses_on.early if seen.crosses_on else None,
        likely=likely,
        late=seen.crosses_on.late if seen.crosses_on else None,
        tell=tell,
    )


def _reason(tier: Tier | None) -> RiskReason:
    if tier is Tier.WILL_EXCEED:
        return RiskReason.SURE_ENOUGH
    return RiskReason.LIKELY_OVER if tier is Tier.AT_RISK else RiskReason.STILL_POSSIBLE


def _is_soon(likely: date | None, now: datetime) -> bool:
    return likely is not None and datetime.combine(likely, time.min, UTC) <= now + _SOON


def _is_clearly_earlier(likely: date | None, told: date | None) -> bool:
    return likely is not None and (told is None or told - likely >= _CLEARLY_EARLIER)
