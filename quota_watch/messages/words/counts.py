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
    ours, theirs = case.detail["ours"], case.detail["theirs"]
    return Words(
        title=f"The key for {case.name} sees only {number(ours)} of {events(theirs)}",
        lead=f"{_with_share(theirs - ours, theirs)} are not seen. "
        "Rybbit's own count decides: until this is fixed, alerts come too late.",
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
    ours, theirs = number(case.detail["ours"]), events(case.detail["theirs"])
    return Words(
        title=f"Rybbit counts {theirs} for {case.name}, we count {ours}",
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
    before, now, days = case.detail["before"], case.used or 0, case.detail["days"]
    changed = f" as {plural(days, 'past day')} changed" if days else ""
    return Words(
        title=f"The count of {case.name} fell from {number(before)} to {events(now)}",
        lead=f"{_with_share(before - now, before)} are gone{changed}. "
        "A site was deleted or moved, or the key sees fewer sites now.",
        details=("Levels already sent are not sent again.", case.figures()),
        steps=(
            "If you deleted or moved a site, there is nothing to do.",
            f"Otherwise check at {case.server} that all sites are there.",
            "Run `quota-watch check` to see whether the key sees them.",
        ),
    )


def moved_fired(case: Situation) -> Words:
    """Say how the count of past days changed, and what that means."""
    before, after = number(case.detail["before"]), number(case.detail["after"])
    consequence = "Forecasts use the changed days; today is not a spike."
    return Words(
        title=f"The past count of {case.name} went from {before} to {after}",
        lead=f"{plural(case.detail['days'], 'past day')} changed: a site with a history probably "
        "moved in, or older events were imported.",
        preheader=consequence,
        details=(consequence, case.figures()),
        steps=(
            "If you moved a site here, there is nothing to do.",
            f"Otherwise check at {case.server} which sites are new.",
        ),
    )


def spike_fired(case: Situation) -> Words:
    """Say how far above the usual the day is, and which type grew."""
    detail, grown = case.detail, case.detail["types"][:_MOST_TYPES]
    factor, name = detail["factor"], _type_of(grown[0]) if grown else ""
    times = f"{factor:,.1f} times the usual events" if factor else "far more events than usual"
    look_at = name or "today's events"
    day, expected = short_day(date.fromisoformat(detail["day"])), rough(detail["expected"])
    above = (
        f"{number(detail['counted'])} so far on {day} (UTC) instead of about {expected}: "
        f"{share(detail['excess_percent'])} of the limit on top."
    )
    moves = "Without it the month would probably stay under the limit."
    return Words(
        title=f"{case.name} has {times} today{f', mostly {name}' if name else ''}",
        lead=join([above, moves if detail["moves_over"] else ""]),
        preheader=pace(case),
        details=(_grown_types(grown), pace(case), case.figures()),
        steps=(
            f"Look at {look_at} at {case.server}: which site, which pages.",
            _remedy(SETTINGS.get(str(grown[0]["type"])) if grown else None),
        ),
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


def _type_of(grown: Mapping[str, Any]) -> str:
    return one_line(str(grown["type"]), NAME)


def _grown_types(grown: list[Mapping[str, Any]]) -> str:
    parts = [
        f"{_type_of(each)} {number(each['counted'])} instead of {rough(each['expected'])}"
        for each in grown
    ]
    return f"Grew most: {'; '.join(parts)}." if parts else ""


def _remedy(setting: Setting | None) -> str:
    if setting is Setting.BOT_BLOCKING:
        return "If it's bots, block them in site settings."
    if setting is Setting.OWN_CODE or setting is None:
        return "If a release, a loop or a test sends it too often, roll it back."
    return f"If you don't need it, switch off {SWITCH_NAMES[setting]} (Site Settings, Tracking)."


def stalled_fired(case: Situation) -> Words:
    """Say since when next to nothing comes, and how much should."""
    counted, expected = case.detail["counted"], case.detail["expected"]
    due = f"About {rough(expected)} were due since {case.brief(case.since())}. " if expected else ""
    last, id_ = case.detail["last_seen"], case.watch.organization.id
    quiet = f'quota-watch silence {id_} --rule stalled --for 7d --reason "…"'
    lead = "Polls work, so tracking is probably broken."
    steps: tuple[str, ...] = (
        "Open one of its sites: does Rybbit's script load, and do its requests to /api/track work?",
        (
            "If not, suspect a release without the script, a consent banner, a wrong domain or "
            "site id."
        ),
        f"If it is meant to be quiet: `{quiet}`.",
    )
    without = [site.name for site in sites_without_plan(case.known)]
    if without:
        lead, steps = why_nothing(without), (plan_step(case.server),)
    return Words(
        title=f"{case.name}: {f'only {events(counted)}' if counted else 'no events'} "
        f"for {case.lasted()}",
        lead=f"{due}{lead}",
        preheader="What isn't tracked can't be recovered.",
        details=(
            f"Last event seen {case.brief(datetime.fromisoformat(last))}." if last else "",
            case.figures(),
        ),
        heading=FIX,
        steps=steps,
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
