"""Words of `mismatch`, `moved`, `spike` and `stalled`: what is odd about the counts."""

from collections.abc import Mapping
from datetime import date, datetime
from functools import partial
from typing import Any

from quota_watch.forecast.remedies import SETTINGS, Setting
from quota_watch.lib.text import (
    NAME,
    events,
    join,
    number,
    one_line,
    plural,
    rough,
    share,
    short_day,
)
from quota_watch.messages.words import FIX, Situation, Words, plain_end
from quota_watch.messages.words.forecast import SWITCH_NAMES, pace
from quota_watch.messages.words.plan import plan_step, why_nothing
from quota_watch.model.period import percent
from quota_watch.rules.no_plan import sites_without_plan
from quota_watch.rules.verdict import Reason

_MOST_TYPES = 3
_BROKEN = "Polls work, so tracking is probably broken."


def mismatch_fired(case: Situation) -> Words:
    """Say which two counts do not fit, and why that may be."""
    condition = case.transition.condition
    reason = condition.reason if condition else case.transition.story.reason
    if reason is Reason.USED_FELL:
        return _fell(case)
    if reason is Reason.UPSTREAM_COUNTS_LESS:
        return _upstream_less(case)
    return _restricted(case)


mismatch_ended = partial(
    plain_end,
    "Our count of {name} and Rybbit's agree again",
    "Levels and forecasts can be trusted again.",
)


def _restricted(case: Situation) -> Words:
    ours, theirs = case.detail.get("ours"), case.detail.get("theirs")
    title, numbers = f"The key for {case.name} sees only some of its events", ""
    if ours is not None and theirs is not None:
        title = f"The key for {case.name} sees only {number(ours)} of {events(theirs)}"
        numbers = f"{_with_share(theirs - ours, theirs)} are not seen. "
    return Words(
        title=title,
        lead=f"{numbers}Rybbit's own count decides: until this is fixed, alerts come too late.",
        preheader="A restricted key: levels and forecasts come too late.",
        details=("Two daily reads agree; it is the key of a restricted member.", case.figures()),
        heading=FIX,
        steps=(
            "Create an organization key in Rybbit, or use the key of an owner or admin.",
            "Put it into the config and reload.",
            "Run `quota-watch check`.",
        ),
    )


def _with_share(value: int, of: int) -> str:
    part = percent(value, of)
    return number(value) + (f" ({share(part)})" if part is not None else "")


def _upstream_less(case: Situation) -> Words:
    ours, theirs = case.detail.get("ours"), case.detail.get("theirs")
    title = f"Rybbit counts fewer events for {case.name} than we do"
    if ours is not None and theirs is not None:
        title = f"Rybbit counts {events(theirs)} for {case.name}, we count {number(ours)}"
    return Words(
        title=title,
        lead="Rybbit enforces its own count: levels sent here may be early. "
        "No event is lost by that.",
        details=(
            "Two daily reads agree. Its count may be old, or it doesn't bill a type that we count.",
            case.figures(),
        ),
        steps=(
            f"Compare with the usage shown at {case.server} in the organization's settings.",
            "If a type isn't billed, name it in `not_counted` of a plan in the config.",
        ),
    )


def _fell(case: Situation) -> Words:
    before, now = case.detail.get("before"), case.used
    title, what = f"The count of {case.name} fell within the period", ""
    if before is not None and now is not None:
        title = f"The count of {case.name} fell from {number(before)} to {events(now)}"
        days = case.detail.get("days")
        changed = f" as {plural(days, 'past day')} changed" if days else ""
        what = f"{_with_share(before - now, before)} are gone{changed}. "
    return Words(
        title=title,
        lead=f"{what}A site was deleted or moved, or the key sees fewer sites now.",
        details=("Levels already sent are not sent again.", case.figures()),
        steps=(
            "If you deleted or moved a site, there is nothing to do.",
            f"Otherwise check at {case.server} that all sites are there.",
            "Run `quota-watch check` to see whether the key sees them.",
        ),
    )


def moved_fired(case: Situation) -> Words:
    """Say how the count of past days changed, and what that means."""
    before, after = case.detail.get("before"), case.detail.get("after")
    title, days = f"Past days of {case.name} grew suddenly", case.detail.get("days")
    start = f"{plural(days, 'past day')} changed: a" if days else "A"
    if before is not None and after is not None:
        title = f"The past count of {case.name} went from {number(before)} to {number(after)}"
    return Words(
        title=title,
        lead=f"{start} site with a history probably moved in, or older events were imported.",
        preheader="Forecasts use the changed days; today is not a spike.",
        details=(
            "Forecasts use the changed days; today is not a spike.",
            case.figures(),
        ),
        steps=(
            "If you moved a site here, there is nothing to do.",
            f"Otherwise check at {case.server} which sites are new.",
        ),
    )


def spike_fired(case: Situation) -> Words:
    """Say how far above the usual the day is, and which type grew."""
    grown = list(case.detail.get("types") or ())[:_MOST_TYPES]
    moves = case.detail.get("moves_over")
    return Words(
        title=_spike_title(case, grown),
        lead=join(
            [
                _above(case),
                "Without it the month would probably stay under the limit." if moves else "",
            ]
        ),
        preheader=pace(case),
        details=(_grown_types(grown), pace(case), case.figures()),
        steps=_spike_steps(case, grown),
        note="Counted events stay counted.",
    )


def spike_ended(case: Situation) -> Words:
    """Say that the day is usual again."""
    return Words(
        title=f"{case.name}: traffic is back to normal",
        lead=join(["Events counted in the meantime stay counted.", pace(case)]),
        preheader=pace(case),
        details=(case.figures(),),
    )


def _spike_title(case: Situation, grown: list[Mapping[str, Any]]) -> str:
    factor = case.detail.get("factor")
    times = f"{factor:,.1f} times the usual events" if factor else "far more events than usual"
    mostly = f", mostly {_grown_name(grown[0])}" if grown else ""
    return f"{case.name} has {times} today{mostly}"


def _above(case: Situation) -> str:
    counted, expected = case.detail.get("counted"), case.detail.get("expected")
    at = case.detail.get("day")
    day = short_day(date.fromisoformat(at) if at else case.known.at.date())
    if counted is None or expected is None:
        return f"Far more than usual on {day}."
    excess = case.detail.get("excess_percent")
    part = "" if excess is None else f": {share(excess)} of the limit on top"
    return f"{number(counted)} so far on {day} (UTC) instead of about {rough(expected)}{part}."


def _grown_name(grown: Mapping[str, Any]) -> str:
    return one_line(str(grown["type"]), NAME)


def _grown_types(grown: list[Mapping[str, Any]]) -> str:
    parts = [
        f"{_grown_name(each)} {number(each['counted'])} instead of {rough(each['expected'])}"
        for each in grown
    ]
    return f"Grew most: {'; '.join(parts)}." if parts else ""


def _spike_steps(case: Situation, grown: list[Mapping[str, Any]]) -> tuple[str, ...]:
    name = _grown_name(grown[0]) if grown else "today's events"
    look = f"Look at {name} at {case.server}: which site, which pages."
    setting = SETTINGS.get(str(grown[0]["type"])) if grown else None
    if setting is Setting.BOT_BLOCKING:
        return look, "If it's bots, block them in site settings."
    if setting is Setting.OWN_CODE or setting is None:
        return look, "If a release, a loop or a test sends it too often, roll it back."
    return (
        look,
        f"If you don't need it, switch off {SWITCH_NAMES[setting]} (Site Settings, Tracking).",
    )


def stalled_fired(case: Situation) -> Words:
    """Say since when next to nothing comes, and how much should."""
    counted, expected = case.detail.get("counted") or 0, case.detail.get("expected")
    count = f"only {events(counted)}" if counted else "no events"
    due = f"About {rough(expected)} were due since {case.brief(case.since())}. " if expected else ""
    without = [site.name for site in sites_without_plan(case.known)]
    last, id_ = case.detail.get("last_seen"), case.watch.organization.id
    quiet = f'quota-watch silence {id_} --rule stalled --for 7d --reason "…"'
    last_event = f"Last event seen {case.brief(datetime.fromisoformat(last))}." if last else ""
    return Words(
        title=f"{case.name}: {count} for {case.lasted()}",
        lead=f"{due}{why_nothing(without) if without else _BROKEN}",
        preheader="What isn't tracked can't be recovered.",
        details=(last_event, case.figures()),
        heading=FIX,
        steps=(plan_step(case.server),)
        if without
        else (
            (
                "Open one of its sites: does Rybbit's script load, and do its requests to "
                "/api/track work?"
            ),
            (
                "If not, suspect a release without the script, a consent banner, a wrong domain or "
                "site id."
            ),
            f"If it is meant to be quiet: `{quiet}`.",
        ),
    )


def stalled_ended(case: Situation) -> Words:
    """Say that events are arriving again."""
    today = case.known.usage.used_today if case.known.usage else None
    at = f", {number(today)} today" if today else ""
    return Words(
        title=f"{case.name}: events are back{at}",
        lead="Events missed in between are gone for good.",
        details=(case.figures(),),
    )
