"""Words of `forecast`: the limit is at risk, or will probably be passed; when, and how sure."""

from datetime import date
from typing import Any

from quota_watch.domain.capped import Estimate
from quota_watch.domain.forecast import Crossing
from quota_watch.domain.reasons import Reason
from quota_watch.figures import (
    chances,
    estimate,
    events,
    long_day,
    number,
    rough,
    short_days,
    weekday,
)
from quota_watch.notify.phrases.help import decide
from quota_watch.notify.phrases.words import Words, join
from quota_watch.notify.situation import Situation

AT_RISK = "at_risk"
"""The tier of what is likely, but without the evidence to call it so."""

_EVEN = 0.5


def forecast(case: Situation) -> Words:
    """Say when the limit is reached, how sure that is, and what is lost."""
    risk = case.transition.story.tier == AT_RISK
    summary = [
        _how_sure(case, early=risk),
        case.told_use(),
        case.told_measurement(),
        _outcome(case),
        case.told_reset(),
        told_loss(case),
    ]
    return Words(_title_at_risk(case) if risk else _title(case), join(summary), decide(case))


def told_pace(case: Situation) -> str:
    """Return what the period comes to if it goes on like this; nothing where that is unknown."""
    seen, limit = case.seen.forecast, case.limit
    if seen is None or limit is None or case.is_over:
        return ""
    if seen.p50 > limit:
        return _outcome(case)
    over = seen.probability_over
    odds = f"; the odds that it does not: {chances(over)}" if over is not None else ""
    return (
        f"If it goes on like this the period comes to about {rough(seen.p50)} events "
        f"({_band(seen.p10, seen.p90)}) by {long_day(case.period.last_day)} and stays under the "
        f"limit{odds}."
    )


def crossing(case: Situation) -> Crossing:
    """Return when the limit is likely to be reached, as far as anything is known of it."""
    seen = case.seen.forecast
    if seen is not None and seen.crosses_on is not None:
        return seen.crosses_on
    early, likely, late = (_day(case.detail.get(key)) for key in ("early", "likely", "late"))
    return Crossing(early=early, likely=likely or _day(case.transition.story.mark), late=late)


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else None


def _probability(case: Situation) -> float | None:
    seen = case.seen.forecast
    known = seen.probability_over if seen is not None else case.detail.get("probability")
    return float(known) if known is not None else None


def _title(case: Situation) -> str:
    when, probability = crossing(case), _probability(case)
    odds = f", {chances(probability)}" if probability is not None else ""
    if probability is not None and probability < _EVEN:
        return f"{case.name} may still pass its limit this period{odds}"
    if when.likely is None:
        return f"{case.name} will probably pass its limit this period{odds}"
    return f"{case.name} will probably be full on {_day_and_range(when)}{odds}"


def _title_at_risk(case: Situation) -> str:
    when = crossing(case)
    if when.likely is None:
        return f"{case.name} might pass its limit this period: too early to be sure"
    return f"{case.name} might be full around {weekday(when.likely)}: too early to be sure"


def _day_and_range(when: Crossing) -> str:
    """Return `Thu 18 March (17-20)`, with a proper dash; the likely day alone without a range."""
    if when.likely is None:
        return ""
    here = weekday(when.likely)
    if when.early is None or when.late is None or when.early == when.late:
        return here
    if when.early.month == when.late.month == when.likely.month:
        return f"{here} ({short_days(when.early, when.late).rsplit(' ', 1)[0]})"
    return f"{here} ({short_days(when.early, when.late)})"


def _how_sure(case: Situation, *, early: bool) -> str:
    probability = _probability(case)
    odds = f" ({chances(probability)} to end over it)" if probability is not None else ""
    if probability is not None and probability < _EVEN:
        return f"It is less likely than it was{odds}, but not ruled out."
    if not early:
        return ""
    return (
        f"The limit is at risk{odds}: what came so far points past it, but it is early in the "
        "period and such signs have been wrong before. If it becomes probable you are told again."
    )


def _outcome(case: Situation) -> str:
    """Return what the period comes to, and when the limit is reached on the way."""
    seen, limit = case.seen.forecast, case.limit
    when = _when(crossing(case))
    if seen is None or limit is None:
        what = when or "probably passed before the period ends"
        return f"If it goes on like this the limit is {what}."
    past = f", {rough(seen.p50 - limit)} more than the limit" if seen.p50 > limit else ""
    reached = f". The limit is {when}" if when else ""
    return (
        f"If it goes on like this the period comes to about {rough(seen.p50)} events "
        f"({_band(seen.p10, seen.p90)}) by {long_day(case.period.last_day)}{past}{reached}."
    )


def _band(low: int, high: int) -> str:
    return f"4 chances in 5: {rough(low)} to {rough(high)}"


def _when(crossing: Crossing) -> str:
    if crossing.likely is None:
        return ""
    text = f"then passed on {weekday(crossing.likely)} (UTC)"
    if crossing.early == crossing.late:
        return text
    if crossing.late is None:
        early = f"perhaps as soon as {weekday(crossing.early)}, " if crossing.early else ""
        return f"{text}, {early}perhaps not at all"
    if crossing.early is None:
        return text
    return f"{text}, probably between {weekday(crossing.early)} and {weekday(crossing.late)}"


def told_loss(case: Situation) -> str:
    """Return what becomes of events past the limit, and how many that will be."""
    seen, limit = case.seen.forecast, case.limit
    foreseen = seen is not None and limit is not None and seen.p50 > limit
    if seen is None or limit is None or not foreseen or case.is_over or not case.watch.drops:
        return case.told_loss()
    lost = Estimate(
        low=max(0, seen.p10 - limit), likely=seen.p50 - limit, high=max(0, seen.p90 - limit)
    )
    return (
        f"If nothing is done, Rybbit drops {estimate(lost)} until then; dropped events are gone "
        "for good."
    )


def no_longer_likely(case: Situation) -> Words:
    """Say that the limit will probably hold."""
    seen, limit = case.seen.forecast, case.limit
    expected = ""
    if seen is not None and limit is not None:
        expected = f": about {rough(seen.p50)} of {events(limit)} expected"
    summary = [
        (
            f"You were told on {case.moment(case.transition.story.started_at)} that {case.name} "
            "would pass its limit; that is no longer likely."
        ),
        case.told_use(),
        case.told_measurement(),
        told_pace(case),
        case.told_reset(),
    ]
    return Words(
        f"{case.name} will probably stay under its limit{expected}",
        join(summary),
        "Nothing to do. If it becomes likely again with more evidence, you are told.",
    )


def overtaken(case: Situation) -> Words:
    """Say that what was foretold has come."""
    what = "is over" if case.is_over else "has reached"
    used = f": {number(case.used)} events" if case.used is not None else ""
    summary = [
        f"What was foretold on {case.moment(case.transition.story.started_at)} has happened.",
        "The level that is reached is an alert of its own.",
        case.told_use(),
        case.told_measurement(),
        case.told_reset(),
        case.told_loss(),
    ]
    return Words(f"{case.name} {what} its limit, as foretold{used}", join(summary), decide(case))


ESCALATIONS = {
    Reason.WILL_EXCEED: "So far this was a risk; now it is probable.",
    Reason.EARLIER_DATE: "The limit is now likely to be reached clearly sooner than was told.",
    Reason.BECAME_CRITICAL: "This is critical now: the limit is likely to be reached within 48 "
    "hours.",
}
"""What is said first where a forecast got worse."""
