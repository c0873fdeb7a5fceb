"""Words of `mismatch` and `moved`: Rybbit counts something else, or past days grew."""

from quota_watch.lib.text import events, number, share
from quota_watch.messages.words import FIX, Situation, Words, past_days
from quota_watch.model.period import percent
from quota_watch.rules.verdict import Reason


def mismatch_fired(case: Situation) -> Words:
    """Say which two counts do not fit, and why that may be."""
    condition = case.transition.condition
    reason = condition.reason if condition else case.transition.story.reason
    if reason is Reason.USED_FELL:
        return _fell(case)
    if reason is Reason.UPSTREAM_COUNTS_LESS:
        return _upstream_less(case)
    return _restricted(case)


def mismatch_ended(case: Situation) -> Words:
    """Say that both counts fit again."""
    return Words(
        title=f"Our count of {case.name} and Rybbit's agree again",
        lead="Levels and forecasts can be trusted again.",
        details=(case.figures(),),
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
        changed = past_days(case.detail.get("days"))
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
    title, changed = f"Past days of {case.name} grew suddenly", past_days(case.detail.get("days"))
    if before is not None and after is not None:
        title = f"The past count of {case.name} went from {number(before)} to {number(after)}"
    return Words(
        title=title,
        lead=f"A site with a history probably moved in, or older events were imported{changed}.",
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
