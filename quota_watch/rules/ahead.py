"""The rules that look ahead and back: `forecast`, `spike` and `stalled`, judged of one poll."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from quota_watch.forecast.outlook import Foresight
from quota_watch.forecast.usual import usual_days
from quota_watch.lib.plain import plain
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.usage import Usage, is_over
from quota_watch.model.watch import FULL, Watch
from quota_watch.rules.condition import Condition
from quota_watch.rules.forecast import Risk, RiskJudgement, RiskReason, Tier, ToldRisk, judge_risk
from quota_watch.rules.known import Known
from quota_watch.rules.reason import Reason
from quota_watch.rules.spike import SpikeJudgement, Today, judge_spike
from quota_watch.rules.stalled import Sightings, StallJudgement, StallReason, judge_stall
from quota_watch.rules.verdict import Ruling

if TYPE_CHECKING:
    from quota_watch.rules.story import Story

_TIERS = {Tier.AT_RISK: Reason.AT_RISK, Tier.WILL_EXCEED: Reason.WILL_EXCEED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled:
    """What a rule came to: true with its condition, else false; `end` says why it ended."""

    rule: Rule
    condition: Condition | None = None
    end: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgements:
    """What the rules came to, with why; `stall` None where the rule is off.

    `probability` is the chance that the period ends over the limit, where that can be told.
    """

    risk: RiskJudgement
    spike: SpikeJudgement
    stall: StallJudgement | None
    probability: float | None


def judge_ahead(watch: Watch, seen: Known, stories: Sequence["Story"]) -> Judgements | None:
    """Return what the rules came to, also where that is nothing to tell; None: nothing counted."""
    foresight, usage = seen.foresight, seen.usage
    if foresight is None or usage is None:
        return None
    told, after = _Told(stories, usage.period.start), watch.stalled_after
    return Judgements(
        risk=_judge_risk(watch, seen, foresight, told),
        spike=_judge_spike(watch, seen, usage, foresight, told),
        stall=None if after is None else _judge_stall(watch, after, seen, foresight, told),
        probability=None if seen.forecast is None else seen.forecast.probability_over,
    )


def look_ahead(watch: Watch, seen: Known, stories: Sequence["Story"]) -> Iterator[Ruled]:
    """Yield what each of the rules came to that could be judged."""
    foresight, usage = seen.foresight, seen.usage
    if foresight is None or usage is None:
        return
    told = _Told(stories, usage.period.start)
    if watch.forecast:
        yield from _forecast(watch, seen, foresight, told)
    if watch.spike:
        yield from _spike(watch, seen, usage, foresight, told)
    if watch.stalled_after is not None:
        yield from _stalled(watch, watch.stalled_after, seen, foresight, told)


class _Told:
    """The stories so far, by rule, the latest last."""

    def __init__(self, stories: Sequence["Story"], period_start: date) -> None:
        self._stories = sorted(stories, key=lambda story: story.started_at)
        self._period_start = period_start

    def of(self, rule: Rule) -> list["Story"]:
        return [story for story in self._stories if story.rule is rule]

    def open(self, rule: Rule) -> "Story | None":
        return next((story for story in self.of(rule) if story.is_open), None)

    def of_limit(self, rule: Rule, limit: int | None) -> list["Story"]:
        """Return those of this period under the limit."""
        return [
            story
            for story in self.of(rule)
            if story.period_start == self._period_start and story.limit == limit
        ]


def _forecast(watch: Watch, seen: Known, foresight: Foresight, told: _Told) -> Iterator[Ruled]:
    judged = _judge_risk(watch, seen, foresight, told)
    if judged.ruling is Ruling.UNKNOWN:
        return
    if judged.risk is None:
        overtaken = judged.reason is RiskReason.LIMIT_REACHED
        yield Ruled(rule=Rule.FORECAST, end=Reason.OVERTAKEN if overtaken else None)
    else:
        yield Ruled(rule=Rule.FORECAST, condition=_risk(judged.risk))


def _judge_risk(watch: Watch, seen: Known, foresight: Foresight, told: _Told) -> RiskJudgement:
    known = told.of_limit(Rule.FORECAST, watch.limit)
    before = next((story for story in known if story.is_open), None)
    return judge_risk(
        foresight.forecast,
        limit=watch.limit,
        now=seen.at,
        told=None if before is None else _told_risk(before),
        ended_before=any(story.reason is Reason.NO_LONGER_LIKELY for story in known),
    )


def _told_risk(story: "Story") -> ToldRisk:
    return ToldRisk(
        tier=Tier(story.tier or Tier.AT_RISK),
        severity=story.severity,
        likely=None if story.mark is None else date.fromisoformat(story.mark),
    )


def _risk(risk: Risk) -> Condition:
    return Condition(
        rule=Rule.FORECAST,
        severity=risk.severity,
        reason=_TIERS[risk.tier],
        tier=risk.tier,
        mark=None if risk.likely is None else risk.likely.isoformat(),
        detail=plain(risk),
    )


def _spike(
    watch: Watch, seen: Known, usage: Usage, foresight: Foresight, told: _Told
) -> Iterator[Ruled]:
    judged = _judge_spike(watch, seen, usage, foresight, told)
    if judged.ruling is not Ruling.UNKNOWN:
        yield _odd(Rule.SPIKE, Reason.ABOVE_EXPECTED, judged.ruling, plain(judged.spike))


def _judge_spike(
    watch: Watch, seen: Known, usage: Usage, foresight: Foresight, told: _Told
) -> SpikeJudgement:
    goes_on, known = told.open(Rule.SPIKE), told.of(Rule.SPIKE)
    return judge_spike(
        Today(
            now=seen.at,
            counted=usage.used_today,
            limit=watch.limit,
            by_type=seen.today_by_type,
            usual_by_type=foresight.usual_types,
            p50=None if seen.forecast is None else seen.forecast.p50,
            capped=usage.today in foresight.past.capped,
        ),
        usual=foresight.usual,
        shape=foresight.past.shape,
        open_since=None if goes_on is None else goes_on.started_at.date(),
        last_told=known[-1].started_at.date() if known else None,
    )


def _stalled(
    watch: Watch, after: timedelta, seen: Known, foresight: Foresight, told: _Told
) -> Iterator[Ruled]:
    judged = _judge_stall(watch, after, seen, foresight, told)
    if judged.ruling is not Ruling.UNKNOWN:
        yield _odd(Rule.STALLED, Reason.NO_EVENTS, judged.ruling, plain(judged.stall))


def _judge_stall(
    watch: Watch, after: timedelta, seen: Known, foresight: Foresight, told: _Told
) -> StallJudgement:
    if watch.drops and _dropped_since(seen.at - after, watch, seen.usage, told):
        return StallJudgement(ruling=Ruling.UNKNOWN, reason=StallReason.CAPPED)
    past, goes_on = foresight.past, told.open(Rule.STALLED)
    began = seen.at - after
    if goes_on is not None:
        began = min(began, goes_on.started_at - after)
    return judge_stall(
        Sightings(now=seen.at, snapshots=past.snapshots, totals=past.counted),
        after=after,
        usual=usual_days(past.counted, before=began.date(), excluded=past.capped),
        shape=past.shape,
        capped=past.capped,
        is_open=goes_on is not None,
    )


def _dropped_since(moment: datetime, watch: Watch, usage: Usage | None, told: _Told) -> bool:
    """Tell whether events may have been dropped since `moment`, also on days not marked so yet.

    A day is marked when it is over; and a limit just raised, or a new month, ends it all at once.
    """
    if usage is None or is_over(usage.used, watch.limit):
        return usage is not None
    present = told.of_limit(Rule.THRESHOLD, watch.limit)
    return any(
        story not in present if story.ended_at is None else story.ended_at > moment
        for story in told.of(Rule.THRESHOLD)
        if (story.level or 0) >= FULL and not story.subject
    )


def _odd(rule: Rule, reason: Reason, ruling: Ruling, detail: dict[str, object]) -> Ruled:
    if ruling is not Ruling.TRUE:
        return Ruled(rule=rule)
    condition = Condition(rule=rule, severity=Severity.WARNING, reason=reason, detail=detail)
    return Ruled(rule=rule, condition=condition)
