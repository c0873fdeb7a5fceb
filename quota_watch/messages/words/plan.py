"""Words of `limit`, `enforced` and `no_plan`: what Rybbit itself reports of plan and limit."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from quota_watch.lib.text import NAME, events, number, one_line
from quota_watch.messages.words import CHOOSE, DO, FIX, Situation, Words, named, plain_end
from quota_watch.messages.words.forecast import choices, pace
from quota_watch.model.limit import LAPSED
from quota_watch.model.period import is_over
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.verdict import Reason

_Terms = Mapping[str, Any]  # plan, limit and status of a subscription


def limit_fired(case: Situation) -> Words:
    """Say what was and what is, and what that means for what is used."""
    condition = case.transition.condition
    reason = condition.reason if condition else case.transition.story.reason
    before, after = case.detail["before"], case.detail["after"]
    at = f": {case.percent} used" if case.percent and reason is not Reason.STATUS_CHANGED else ""
    critical = case.is_over and case.transition.story.severity is Severity.CRITICAL
    return Words(
        title=f"{_limit_title(case, reason, before, after)}{at}",
        lead=_limit_consequence(case, reason, critical=critical),
        preheader=pace(case),
        details=(
            _subscription(before, after, reason),
            _limit_source(case, reason),
            pace(case),
            case.figures(),
        ),
        heading=CHOOSE if critical else DO,
        steps=_limit_steps(case, reason, critical=critical),
    )


def limit_changed(case: Situation) -> Words:
    """Say that another limit ended an alert; the rule `limit` reports the change itself."""
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


def _limit_title(case: Situation, reason: Reason, before: _Terms, after: _Terms) -> str:
    old, new = before["limit"], after["limit"]
    if reason is Reason.STATUS_CHANGED:
        return f"The subscription of {case.name} {_from_to(before, after, 'status') or 'changed'}"
    if reason is Reason.LIMIT_LOWERED and case.watch.lapsed_plan is not None:
        return f"The plan of {case.name} lapsed: its limit fell from {number(old)} to {events(new)}"
    if reason is Reason.LIMIT_REMOVED:
        return f"{case.name} no longer has a limit (it was {events(old)})"
    if reason is Reason.LIMIT_FOUND:
        return f"A limit of {events(new)} was found for {case.name}"
    return f"The limit of {case.name} {changed(old, new)}"


def _from_to(before: _Terms, after: _Terms, key: str) -> str:
    old, new = (one_line(each[key] or "", NAME // 2) for each in (before, after))
    if not new or old == new:
        return ""
    return f"went from {old} to {new}" if old else f"is {new} now"


def _subscription(before: _Terms, after: _Terms, reason: Reason) -> str:
    """Say what else changed: the plan's name and the status."""
    parts = [
        f"the {label} {moved}"
        for key, label in (("plan", "plan"), ("status", "status of the subscription"))
        if (moved := _from_to(before, after, key))
        and not (key == "status" and reason is Reason.STATUS_CHANGED)
    ]
    text = " and ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


_CONSEQUENCES = {
    Reason.LIMIT_REMOVED: "Levels can't be checked without a limit.",
    Reason.LIMIT_FOUND: "Levels and forecasts are checked against it from now on.",
    Reason.STATUS_CHANGED: "Without a paid subscription the limit falls to that of the free plan.",
}


def _limit_consequence(case: Situation, reason: Reason, *, critical: bool) -> str:
    if critical:
        return "Events are being dropped." if case.watch.drops else "The new limit is exceeded."
    return _CONSEQUENCES.get(reason, "Levels and forecasts use the new limit from now on.")


def _limit_source(case: Situation, reason: Reason) -> str:
    reads = f"Two reads of {case.server} at least 30 minutes apart agree"
    if reason is Reason.LIMIT_REMOVED:
        return f"{reads}."
    if reason is Reason.LIMIT_LOWERED:
        return f"{reads}, or Rybbit enforces it already."
    return f"Reported by {case.server}."


def _limit_steps(case: Situation, reason: Reason, *, critical: bool) -> tuple[str, ...]:
    if reason is Reason.LIMIT_FOUND:
        return ()
    if reason is Reason.LIMIT_REMOVED:
        return ("If there is one, set `limit` or `plan` for this organization in the config.",)
    where = "billing" if critical or reason is Reason.STATUS_CHANGED else "plan"
    check = f"If that wasn't intended, check the {where} at {case.server}."
    return (check, *choices(case)) if critical else (check,)


def enforced_fired(case: Situation) -> Words:
    """Say that events are lost though our numbers don't say so, and why that may be."""
    cause, steps = _cause_and_remedy(case)
    return Words(
        title=f"Rybbit is dropping events of {case.name}",
        lead=f"New events are dropped and can't be recovered. {cause}",
        preheader="Every new event is lost until the plan or the limit is corrected.",
        details=(f"Rybbit has said so since {case.brief(case.since())}.", case.figures()),
        heading=FIX,
        steps=steps,
        note=_differs(case),
    )


enforced_ended = partial(
    plain_end,
    "{name}: collection resumes",
    "Two reads of Rybbit agree. Events dropped in between can't be recovered.",
)


def overtaken(case: Situation) -> Words:
    """Say that what was forecast, or what Rybbit enforces, is an alert of a level now."""
    if case.transition.story.rule is Rule.ENFORCED:
        lead = "Rybbit is still dropping events; see the separate alert."
        return plain_end("{name}: the limit is reached by our count too", lead, case)
    return Words(
        title=f"{case.name}: limit reached, as forecast",
        lead="Limit reached, as forecast; see the separate alert.",
        details=(case.figures(),),
        heading=CHOOSE,
        steps=choices(case),
    )


def _differs(case: Situation) -> str:
    """Say both numbers, and both limits, where they differ."""
    theirs, their_limit = case.detail["theirs"], case.detail["their_limit"]
    if theirs == case.used and not (case.limit or their_limit):
        return ""
    ours = "" if case.used is None else f"We count {_of(case.used, case.limit)}"
    if theirs is None:
        return f"{ours}." if ours else ""
    counts = f"Rybbit {_of(theirs, their_limit)}"
    return f"{ours}, {counts}." if ours else f"{counts} by its own count."


def _of(used: int, limit: int | None) -> str:
    """Write a count and its limit; a limit of nothing is none that could be used up."""
    return f"{number(used)} of {number(limit)}" if limit else events(used)


def _cause_and_remedy(case: Situation) -> tuple[str, tuple[str, ...]]:
    """Name the one cause that fits what both say, or those there can be, and what to do."""
    theirs, limit, at = case.detail["theirs"], case.detail["their_limit"], case.server
    if limit == 0:
        plan = one_line(case.detail["plan"] or "", NAME)
        unknown = f"Rybbit does not know the plan it bills ({plan}), so its" if plan else "Rybbit's"
        return f"{unknown} limit is 0: one event blocks every site.", (
            f"Check the billing at {at}; if it is right, ask Rybbit's support to set the plan.",
        )
    status = case.detail["status"]
    if case.watch.lapsed_plan is not None or status in LAPSED - {"free"}:
        ended = one_line(status or "lapsed", NAME).replace("_", " ")
        return f"The subscription is {ended}: the free plan's limit applies.", (
            f"Renew the plan at {at}: collection resumes within 30 minutes.",
            "Run `quota-watch check` afterwards.",
        )
    if limit is not None and case.limit is not None and limit < case.limit:
        return f"Rybbit enforces {events(limit)}, not the {number(case.limit)} known here.", (
            f"Upgrade the plan at {at}: collection resumes within 30 minutes.",
            'Correct the limit in the config, or leave it to Rybbit with `plan = "auto"`.',
        )
    sees_less = theirs is not None and is_over(theirs, limit)
    others = "Possible causes: a lapsed plan, or a failed billing lookup at Rybbit."
    return "The key may see only some of the sites." if sees_less else others, (
        f"Compare with the usage and the plan shown at {at}.",
        "Run `quota-watch check`: it shows whether the key sees every site.",
    )


def no_plan_fired(case: Situation) -> Words:
    """Say which sites collect nothing."""
    names, of, more = case.detail["sites"], case.detail["of"], case.detail["new"]
    now, new = "", ""
    if case.transition.reason is Reason.MORE_SITES_NEED_PLAN:
        now, new = "now ", f"New: {named(more)}. "
    collect = "collects" if len(names) == 1 else "collect"
    sites = f"{number(len(names))} of {number(of)} sites {collect} nothing"
    return Words(
        title=f"{case.name}: {now}{sites} without a plan",
        lead=f"{new}{why_nothing(names)}",
        preheader="Every event of these sites is lost until there is a plan.",
        details=(case.figures(),),
        heading=FIX,
        steps=(plan_step(case.server), "Run `quota-watch check` afterwards."),
    )


no_plan_ended = partial(
    plain_end,
    "No site of {name} needs a plan now",
    "Every site that Rybbit lists collects events. Events lost before that can't be recovered.",
)


def why_nothing(names: Sequence[str]) -> str:
    """Say why sites collect nothing, and which."""
    return f"Rybbit collects nothing for recently created sites without a plan: {named(names)}."


def plan_step(server: str) -> str:
    """Say what makes them collect events."""
    return f"Choose a plan at {server}: collection begins within 30 minutes."
