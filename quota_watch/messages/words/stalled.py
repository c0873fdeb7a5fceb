"""Words of `stalled`: events stopped where there should be some."""

from datetime import datetime

from quota_watch.lib.figures import events, number, rough
from quota_watch.messages.words import FIX, Situation, Words, no_plan
from quota_watch.rules.no_plan import sites_without_plan

_SILENCE_DAYS = 7
_BROKEN = "Polls work, so tracking is probably broken."


def fired(case: Situation) -> Words:
    """Say since when next to nothing comes, and how much should."""
    counted, expected = case.detail.get("counted") or 0, case.detail.get("expected")
    came = f"only {events(counted)}" if counted else "no events"
    due = f"About {rough(expected)} were due since {case.brief(case.since())}. " if expected else ""
    without = [site.name for site in sites_without_plan(case.known)]
    return Words(
        title=f"{case.name}: {came} for {case.lasted()}",
        lead=f"{due}{no_plan.why(without) if without else _BROKEN}",
        preheader="What isn't tracked can't be recovered.",
        details=(_last_rise(case), case.figures()),
        heading=FIX,
        steps=(no_plan.plan_step(case.server),)
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
            f"If it is meant to be quiet: `{_silence(case)}`.",
        ),
    )


def ended(case: Situation) -> Words:
    """Say that events are arriving again."""
    today = case.known.usage.used_today if case.known.usage else None
    at = f": {number(today)} today" if today else ""
    return Words(
        title=f"{case.name}: events are back{at}",
        lead="Events are back. Events missed in between are gone for good.",
        details=(case.figures(),),
    )


def _silence(case: Situation) -> str:
    id_ = case.watch.organization.id
    return f'quota-watch silence {id_} --rule stalled --for {_SILENCE_DAYS}d --reason "…"'


def _last_rise(case: Situation) -> str:
    last = case.detail.get("last_seen")
    return f"Last event seen {case.brief(datetime.fromisoformat(last))}." if last else ""
