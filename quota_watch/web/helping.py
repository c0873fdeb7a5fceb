"""What would help, in the sentences that `forecast` and messages have."""

from quota_watch.messages.words import foretold
from quota_watch.views.forecast import Prospect


def what_helps(seen: Prospect) -> list[str]:
    """Return what to do; nothing where nothing is foretold."""
    foresight = seen.foresight
    if foresight is None or foresight.advice is None or seen.usage is None:
        return []
    used, fit = seen.usage.used, foresight.plan_fit
    return list(foretold.what_helps(foresight.advice, fit, watch=seen.watch, used=used))


def largest(seen: Prospect) -> str:
    """Return the largest types and sites with their growth; nothing where they are not known."""
    advice = seen.foresight.advice if seen.foresight else None
    return "" if advice is None else foretold.largest(advice)
