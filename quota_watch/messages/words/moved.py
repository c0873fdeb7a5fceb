"""Words of `moved`: past days grew suddenly."""

from quota_watch.lib.figures import number
from quota_watch.messages.words import Situation, Words, over, past_days


def fired(case: Situation) -> Words:
    """Say what past days had come to and come to now, and what that means."""
    before, after = case.detail.get("before"), case.detail.get("after")
    title, what = f"Past days of {case.name} grew suddenly", ""
    if before is not None and after is not None:
        title = f"The past count of {case.name} went from {number(before)} to {number(after)}"
        changed = past_days(case.detail.get("days"))
        what = f"{number(before)} became {number(after)}{changed}: "
    lead = "a site with a history probably moved in, or older events were imported."
    return Words(
        title=title,
        lead=f"{what}{lead}" if what else f"A{lead[1:]}",
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


ended = over
