"""Words of `forecast`: the limit is at risk, or will probably be passed; when, and how sure."""

from datetime import date
from typing import Any

from quota_watch.forecast.forecast import Crossing
from quota_watch.lib.figures import chances, events, number, rough, weekday
from quota_watch.lib.text import join
from quota_watch.messages.situation import Situation
from quota_watch.messages.words.foretold import crossed, day_and_range, loss, outcome, under
from quota_watch.messages.words.help import decide
from quota_watch.messages.words.words import Words
from quota_watch.rules.reason import Reason

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
    seen, limit = case.known.forecast, case.limit
    if seen is None or limit is None or case.is_over:
        return ""
    if seen.p50 > limit:
        return _outcome(case)
    return under(seen, case.period.last_day)


def crossing(case: Situation) -> Crossing:
    """Return when the limit is likely to be reached, as far as anything is known of it."""
    seen = case.known.forecast
    if seen is not None and seen.crosses_on is not None:
        return seen.crosses_on
    early, likely, late = (_day(case.detail.get(key)) for key in ("early", "likely", "late"))
    return Crossing(early=early, likely=likely or _day(case.transition.story.mark), late=late)


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else None


def _probability(case: Situation) -> float | None:
    seen = case.known.forecast
    known = seen.probability_over if seen is not None else case.detail.get("probability")
    return float(known) if known is not None else None


def _title(case: Situation) -> str:
    when, probability = crossing(case), _probability(case)
    odds = f", {chances(probability)}" if probability is not None else ""
    if probability is not None and probability < _EVEN:
        return f"{case.name} may still pass its limit this period{odds}"
    if when.likely is None:
        return f"{case.name} will probably pass its limit this period{odds}"
    return f"{case.name} will probably be full on {day_and_range(when)}{odds}"


def _title_at_risk(case: Situation) -> str:
    when = crossing(case)
    if when.likely is None:
        return f"{case.name} might pass its limit this period: too early to be sure"
    return f"{case.name} might be full around {weekday(when.likely)}: too early to be sure"


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
    seen, limit = case.known.forecast, case.limit
    when = crossing(case)
    if seen is None or limit is None:
        what = crossed(when) or "probably passed before the period ends"
        return f"If it goes on like this the limit is {what}."
    return outcome(seen, limit, when, case.period.last_day)


def told_loss(case: Situation) -> str:
    """Return what becomes of events past the limit, and how many that will be."""
    seen, limit = case.known.forecast, case.limit
    foreseen = seen is not None and limit is not None and seen.p50 > limit
    if seen is None or limit is None or not foreseen or case.is_over or not case.watch.drops:
        return case.told_loss()
    return loss(seen, limit)


def no_longer_likely(case: Situation) -> Words:
    """Say that the limit will probably hold."""
    seen, limit = case.known.forecast, case.limit
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
