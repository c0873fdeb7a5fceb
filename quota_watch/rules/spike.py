"""The rule `spike`: today is far above what is usual by now, and enough to matter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

from quota_watch.forecast.usual import DayShape, Usual, share_at
from quota_watch.model.watch import Rule
from quota_watch.rules.known import Known
from quota_watch.rules.verdict import NOTHING_COUNTED, OFF, Reason, State, Verdict, Worded, warning

UNSHAPED_FACTOR = 3
"""Multiple of a whole usual day that today has to exceed until the day's shape is learned."""

_MATTERS_PERCENT = 2
_LEAST_EXCESS = 20.0
_LEAST_SHARE = 0.005
_FAR, _DEVIATIONS, _YOUNG = 1.6, 3.0, 1.5
_STAYS = 0.5
_CALM_FROM, _CALM_FROM_UNSHAPED = 0.5, 0.9
_LONGEST_DAYS = 7


class SpikeReason(Worded):
    """Why today is or is not called a spike."""

    FAR_ABOVE_USUAL = "far_above_usual", "today is far above what is usual"
    STILL_ABOVE_USUAL = "still_above_usual", "today is still above what is usual"
    USUAL = "usual", "today is as usual"
    TOO_SMALL = "too_small", "today is above what is usual, but by too little to matter"
    TOLD_TODAY = "told_today", "today is above what is usual; an alert was already sent"
    NEW_USUAL = "new_usual", "it has lasted so long that it is now the usual level"
    CAPPED = "capped", "events are being dropped today, so its count says nothing"
    NO_LIMIT = "no_limit", "no limit is known, so whether it matters isn't either"
    TOO_LITTLE_HISTORY = "too_little_history", "too few days are known to say what is usual"
    DAY_TOO_YOUNG = "day_too_young", "it is too early in the day to say that it is over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """The present UTC day.

    `by_type` holds the counted types; `usual_by_type` their sums over the weeks before, which show
    which of them grew. `p50` is the likely total of the period, where known.
    """

    now: datetime
    counted: int
    limit: int | None
    by_type: Mapping[str, int]
    usual_by_type: Mapping[str, int]
    p50: int | None = None
    capped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeExcess:
    """A type's count of today, what is usual by now, and the difference."""

    type: str
    counted: int
    expected: int
    excess: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """How far today is above what was expected by now, and the types that grew, most first.

    `excess_percent` is in percent of the limit. `moves_over`: the period ends over its limit only
    because of the excess. `factor` is None where nothing was expected.
    """

    day: date
    counted: int
    expected: int
    excess: int
    excess_percent: float
    factor: float | None
    moves_over: bool
    types: tuple[TypeExcess, ...]


def verdict(known: Known) -> Verdict:
    """Judge the present day in view of the stories so far."""
    usage, analysis = known.usage, known.analysis
    if not known.watch.spike:
        return OFF
    if analysis is None or usage is None:
        return NOTHING_COUNTED
    open_story, stories = known.open_story(Rule.SPIKE), known.stories_of(Rule.SPIKE)
    verdict = judge_spike(
        Today(
            now=known.measured_at or known.at,
            counted=usage.used_today,
            limit=known.watch.limit,
            by_type=known.today_by_type,
            usual_by_type=analysis.outlook.usual_types,
            p50=None if known.forecast is None else known.forecast.p50,
            capped=usage.today in analysis.past.capped,
        ),
        usual=analysis.outlook.usual,
        shape=analysis.past.shape,
        open_since=None if open_story is None else open_story.started_at.date(),
        last_began=stories[-1].started_at.date() if stories else None,
    )
    says, spike = SpikeReason(verdict.reason).says, verdict.figures
    if spike is not None:
        says += f": {spike.counted:,} events by then, {spike.expected:,} expected"
    return replace(
        verdict, says=says, condition=warning(verdict, Rule.SPIKE, Reason.ABOVE_EXPECTED)
    )


def judge_spike(
    today: Today,
    *,
    usual: Usual | None,
    shape: DayShape,
    open_since: date | None = None,
    last_began: date | None = None,
) -> Verdict:
    """Judge today against `usual`, which must be learned from the days before it.

    `open_since` is the day the open story began, `last_began` that of the latest one, open or not:
    one story a day at most. A story goes on while today is at least half as far above; on a later
    day it ends in the second half of that day, and after seven days in any case.
    """
    if today.capped:
        return Verdict(state=State.UNKNOWN, reason=SpikeReason.CAPPED)
    if today.limit is None:
        return Verdict(state=State.UNKNOWN, reason=SpikeReason.NO_LIMIT)
    if usual is None:
        return Verdict(state=State.UNKNOWN, reason=SpikeReason.TOO_LITTLE_HISTORY)
    day = today.now.date()
    by_now = share_at(shape, today.now)
    share = by_now if shape.is_learned else 1.0
    spike = _measure(today, day, share * usual.most(day), today.limit)
    far = _bound(usual, shape, share, day)
    if open_since is not None:
        is_young = by_now < (_CALM_FROM if shape.is_learned else _CALM_FROM_UNSHAPED)
        state, reason = _goes_on(spike, far, open_since, is_young=is_young)
    else:
        state, reason = _begins(spike, far, today.limit, last_began)
    return Verdict(state=state, reason=reason, figures=spike)


def _bound(usual: Usual, shape: DayShape, share: float, day: date) -> float:
    """Compute the count that neither chance nor the days so far explain.

    That is three standard deviations of the logarithm, at least a factor of 1.6, with the chance
    in few events added; and more than busy days reach. The younger the day, the wider the margin.
    """
    expected = share * usual.most(day)
    early = shape.uneven * math.sqrt((1 - share) / max(share, _LEAST_SHARE))
    spread = math.hypot(usual.spread_up, early)
    far = expected * max(_FAR, math.exp(_DEVIATIONS * spread)) + _DEVIATIONS * math.sqrt(expected)
    far = max(far, math.exp(_YOUNG * early) * share * usual.highest(day))
    return far if shape.is_learned else max(far, UNSHAPED_FACTOR * usual.most(day))


def _begins(
    spike: Spike, far: float, limit: int, last_began: date | None
) -> tuple[State, SpikeReason]:
    if spike.counted <= far:
        return State.FALSE, SpikeReason.USUAL
    matters = spike.moves_over or spike.excess * 100 >= _MATTERS_PERCENT * limit
    if not matters or spike.excess < _LEAST_EXCESS:
        return State.FALSE, SpikeReason.TOO_SMALL
    if last_began is not None and last_began >= spike.day:
        return State.FALSE, SpikeReason.TOLD_TODAY
    return State.TRUE, SpikeReason.FAR_ABOVE_USUAL


def _goes_on(spike: Spike, far: float, since: date, *, is_young: bool) -> tuple[State, SpikeReason]:
    if (spike.day - since).days >= _LONGEST_DAYS:
        return State.FALSE, SpikeReason.NEW_USUAL
    if spike.excess >= _STAYS * (far - spike.expected):
        return State.TRUE, SpikeReason.STILL_ABOVE_USUAL
    if spike.day > since and is_young:
        return State.UNKNOWN, SpikeReason.DAY_TOO_YOUNG
    return State.FALSE, SpikeReason.USUAL


def _measure(today: Today, day: date, expected: float, limit: int) -> Spike:
    excess = max(0, round(today.counted - expected))
    return Spike(
        day=day,
        counted=today.counted,
        expected=round(expected),
        excess=excess,
        excess_percent=round(100 * excess / limit, 1) if limit else 100.0,
        factor=round(today.counted / expected, 1) if expected >= 1 else None,
        moves_over=today.p50 is not None and today.p50 > limit >= today.p50 - excess,
        types=_grown(today, expected),
    )


def _grown(today: Today, expected: float) -> tuple[TypeExcess, ...]:
    """List the types that are above what is usual, the greatest excess first."""
    whole = sum(today.usual_by_type.values())
    grown = []
    for type_, counted in today.by_type.items():
        usual = expected * today.usual_by_type.get(type_, 0) / whole if whole else 0.0
        excess = round(counted - usual)
        if excess > 0:
            grown.append(
                TypeExcess(type=type_, counted=counted, expected=round(usual), excess=excess)
            )
    return tuple(sorted(grown, key=lambda each: (-each.excess, each.type)))
