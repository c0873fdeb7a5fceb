"""Words of `limit`: Rybbit changed the limit, the plan or the subscription's status."""

from collections.abc import Mapping
from typing import Any

from quota_watch.lib.figures import events, number
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.situation import Situation
from quota_watch.messages.words.ahead import told_pace
from quota_watch.messages.words.help import decide
from quota_watch.messages.words.words import Words
from quota_watch.model.rule import Severity
from quota_watch.rules.reason import Reason

_LOWERED = Reason.LIMIT_LOWERED


def limit(case: Situation) -> Words:
    """Say what was and what is, and what that means for what is used."""
    condition = case.transition.condition
    reason = condition.reason if condition else case.transition.story.reason
    before, after = _state(case, "before"), _state(case, "after")
    title = _title(case, reason, before, after)
    summary = [
        f"{title}, says {case.server}.",
        _believed(reason),
        _subscription(before, after, reason),
        case.told_use(),
        case.told_measurement(),
        told_pace(case),
        case.told_reset(),
        case.told_loss() if case.limit is not None else "",
    ]
    at = f": {case.percent} used" if case.percent and reason is not Reason.STATUS_CHANGED else ""
    return Words(f"{title}{at}", join(summary), _next_step(case, reason))


def changed(before: int | None, after: int | None) -> str:
    """Return how a limit changed: `was raised from 100,000 to 250,000 events`."""
    if before is None or after is None:
        return "is no longer known" if after is None else f"is {events(after)} now"
    verb = "raised" if after > before else "lowered"
    return f"was {verb} from {number(before)} to {events(after)}"


def _state(case: Situation, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = case.detail.get(name) or {}
    return found


def _title(
    case: Situation, reason: Reason, before: Mapping[str, Any], after: Mapping[str, Any]
) -> str:
    old, new = before.get("limit"), after.get("limit")
    if reason is Reason.STATUS_CHANGED:
        return f"The subscription of {case.name} {_from_to(before, after, 'status') or 'changed'}"
    if reason is Reason.LIMIT_REMOVED:
        was = f" (it was {events(old)})" if old is not None else ""
        return f"{case.name} has no limit any more{was}"
    if reason is Reason.LIMIT_FOUND:
        return f"A limit{f' of {events(new)}' if new is not None else ''} was found for {case.name}"
    if old is None or new is None:
        verb = "raised" if reason is Reason.LIMIT_RAISED else "lowered"
        return f"The limit of {case.name} was {verb}"
    return f"The limit of {case.name} {changed(old, new)}"


def _from_to(before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> str:
    old, new = (one_line(str(each.get(key) or ""), NAME // 2) for each in (before, after))
    if not new or old == new:
        return ""
    return f"went from {old} to {new}" if old else f"is {new} now"


def _believed(reason: Reason) -> str:
    why = "That is believed because two reads at least half an hour apart said so"
    if reason is Reason.LIMIT_REMOVED:
        return f"{why}."
    return f"{why}, or because Rybbit enforces it already." if reason is _LOWERED else ""


def _subscription(before: Mapping[str, Any], after: Mapping[str, Any], reason: Reason) -> str:
    """Return what else changed: the plan's name and the status."""
    parts = [
        f"the {label} {moved}"
        for key, label in (("plan", "plan"), ("status", "status of the subscription"))
        if (moved := _from_to(before, after, key))
        and not (key == "status" and reason is Reason.STATUS_CHANGED)
    ]
    if not parts:
        return ""
    text = " and ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _next_step(case: Situation, reason: Reason) -> str:
    if case.is_over and case.transition.story.severity is Severity.CRITICAL:
        return f"If that was not meant, look at the billing at {case.server} now. {decide(case)}"
    if reason is Reason.LIMIT_REMOVED:
        return (
            "No level can be told without a limit. If there is one, set `limit` or `plan` for this "
            "organization in the config; else nothing to do."
        )
    if reason is Reason.LIMIT_FOUND:
        return "Nothing to do: levels and forecasts are told under it from now on."
    if reason is Reason.STATUS_CHANGED:
        return (
            f"Nothing to do if that was meant. If not, look at the billing at {case.server}: "
            "without a paid subscription the limit falls to that of the free plan."
        )
    return (
        f"Nothing to do if that was meant; else look at the plan at {case.server}. Levels are told "
        "anew under the limit that holds now."
    )
