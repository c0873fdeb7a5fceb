"""Words of `limit`: Rybbit changed the limit, the plan or the subscription's status."""

from collections.abc import Mapping
from typing import Any

from quota_watch.lib.figures import events, number
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.words import CHOOSE, Situation, Words, over
from quota_watch.messages.words.forecast import choices, pace
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.verdict import Reason

State = Mapping[str, Any]


def fired(case: Situation) -> Words:
    """Say what was and what is, and what that means for what is used."""
    condition = case.transition.condition
    reason = condition.reason if condition else case.transition.story.reason
    before: State = case.detail.get("before") or {}
    after: State = case.detail.get("after") or {}
    at = f": {case.percent} used" if case.percent and reason is not Reason.STATUS_CHANGED else ""
    critical = case.is_over and case.transition.story.severity is Severity.CRITICAL
    return Words(
        title=f"{_title(case, reason, before, after)}{at}",
        lead=join(
            [
                "Events are being dropped." if critical and case.watch.drops else "",
                "" if critical else _consequence(reason),
            ]
        ),
        preheader=pace(case),
        details=(
            _subscription(before, after, reason),
            _believed(case, reason),
            pace(case),
            case.figures(),
        ),
        heading=CHOOSE if critical else "What to do",
        steps=_steps(case, reason, critical=critical),
    )


ended = over


def limit_changed(case: Situation) -> Words:
    """Say that another limit ended an alert; the change itself is told by the rule `limit`."""
    story = case.transition.story
    old, new = story.limit, case.limit
    at = f": {case.percent} used" if case.percent else ""
    if old is None or new is None:
        title = f"The limit of {case.name} is no longer known{at}"
        lead = "Levels can't be checked until it is."
    else:
        ended, subject = "The alert", "It is"
        if story.rule is Rule.FORECAST:
            ended, subject = "The forecast", "The forecast is"
        elif story.level is not None:
            ended, subject = f"Level {story.level} %", "Levels are"
        of = f": {case.percent} of {events(new)} used" if case.percent else ""
        title = f"{ended} of {case.name} no longer applies{of}"
        lead = f"The limit {changed(old, new)}. {subject} checked again against the new one."
    return Words(
        title=title,
        lead=lead,
        preheader=pace(case),
        details=(pace(case), case.figures()),
        steps=(f"If that wasn't intended, check the plan at {case.server} and the config.",),
    )


def changed(before: int | None, after: int | None) -> str:
    """Say how a limit changed: `was raised from 100,000 to 250,000 events`."""
    if before is None or after is None:
        return "is no longer known" if after is None else f"is {events(after)} now"
    verb = "raised" if after > before else "lowered"
    return f"was {verb} from {number(before)} to {events(after)}"


def _title(case: Situation, reason: Reason, before: State, after: State) -> str:
    old, new = before.get("limit"), after.get("limit")
    if reason is Reason.STATUS_CHANGED:
        return f"The subscription of {case.name} {_from_to(before, after, 'status') or 'changed'}"
    if reason is Reason.LIMIT_LOWERED and case.watch.lapsed_plan is not None:
        fell = f": its limit fell from {number(old)} to {events(new)}" if old and new else ""
        return f"The plan of {case.name} lapsed{fell}"
    if reason is Reason.LIMIT_REMOVED:
        was = f" (it was {events(old)})" if old is not None else ""
        return f"{case.name} no longer has a limit{was}"
    if reason is Reason.LIMIT_FOUND:
        return f"A limit{f' of {events(new)}' if new is not None else ''} was found for {case.name}"
    if old is None or new is None:
        verb = "raised" if reason is Reason.LIMIT_RAISED else "lowered"
        return f"The limit of {case.name} was {verb}"
    return f"The limit of {case.name} {changed(old, new)}"


def _from_to(before: State, after: State, key: str) -> str:
    old, new = (one_line(str(each.get(key) or ""), NAME // 2) for each in (before, after))
    if not new or old == new:
        return ""
    return f"went from {old} to {new}" if old else f"is {new} now"


def _subscription(before: State, after: State, reason: Reason) -> str:
    """Say what else changed: the plan's name and the status."""
    parts = [
        f"the {label} {moved}"
        for key, label in (("plan", "plan"), ("status", "status of the subscription"))
        if (moved := _from_to(before, after, key))
        and not (key == "status" and reason is Reason.STATUS_CHANGED)
    ]
    text = " and ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _consequence(reason: Reason) -> str:
    if reason is Reason.LIMIT_REMOVED:
        return "Levels can't be checked without a limit."
    if reason is Reason.LIMIT_FOUND:
        return "Levels and forecasts are checked against it from now on."
    if reason is Reason.STATUS_CHANGED:
        return "Without a paid subscription the limit falls to that of the free plan."
    return "Levels and forecasts use the new limit from now on."


def _believed(case: Situation, reason: Reason) -> str:
    reads = f"Two reads of {case.server} at least 30 minutes apart agree"
    if reason is Reason.LIMIT_REMOVED:
        return f"{reads}."
    if reason is Reason.LIMIT_LOWERED:
        return f"{reads}, or Rybbit enforces it already."
    return f"Reported by {case.server}."


def _steps(case: Situation, reason: Reason, *, critical: bool) -> tuple[str, ...]:
    if critical:
        meant = f"If that wasn't intended, check the billing at {case.server} now."
        return (meant, *choices(case))
    if reason is Reason.LIMIT_FOUND:
        return ()
    if reason is Reason.LIMIT_REMOVED:
        return ("If there is one, set `limit` or `plan` for this organization in the config.",)
    where = "billing" if reason is Reason.STATUS_CHANGED else "plan"
    return (f"If that wasn't intended, check the {where} at {case.server}.",)
