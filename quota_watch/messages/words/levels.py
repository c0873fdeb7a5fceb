"""Words of `threshold`: a level is reached, or a period turned out to have ended over its limit."""

from quota_watch.lib.figures import days, estimate, events, number, share
from quota_watch.lib.text import join
from quota_watch.messages.situation import Situation
from quota_watch.messages.words.ahead import told_loss, told_pace
from quota_watch.messages.words.help import decide, prevent
from quota_watch.messages.words.words import Words, state
from quota_watch.model.usage import percent
from quota_watch.rules.reason import Reason


def threshold(case: Situation) -> Words:
    """Say which level is reached, or that a closed period was over."""
    if case.transition.reason is Reason.CLOSED_OVER:
        return _closed_over(case)
    level = case.transition.story.level
    summary = [
        f"Level {level} % is reached: {case.told_use()}" if level is not None else case.told_use(),
        case.told_measurement(),
        told_pace(case),
        case.told_reset(),
        told_loss(case),
    ]
    return Words(_title(case), join(summary), decide(case))


def _title(case: Situation) -> str:
    if case.used is None or case.limit is None:
        return f"{case.name} has reached a level of its limit"
    if case.is_over:
        return f"{case.name} is over its limit: {number(case.used)} of {events(case.limit)}"
    if case.is_full:
        return f"{case.name} has reached its limit of {events(case.limit)}"
    return f"{case.name} has used {case.percent} of {events(case.limit)}"


def _closed_over(case: Situation) -> Words:
    used, limit, period = case.detail.get("used"), case.detail.get("limit"), case.told_period
    span = days(period.start, period.last_day)
    if used is None or limit is None:
        title, came_to = (
            f"{case.name} ended {span} over its limit",
            "it came to more than its limit",
        )
    else:
        title = f"{case.name} ended {span} over its limit: {number(used)} of {events(limit)}"
        part = percent(used, limit)
        came_to = (
            f"it came to {events(used)}, {number(used - limit)} more than its limit of "
            f"{number(limit)}" + (f" ({share(part)})" if part is not None else "")
        )
    summary = [
        f"The period {span} is over, and counted once more after its end {came_to}.",
        "That was not seen before it ended.",
        _closed_loss(case),
        f"Now: {state(case)}",
    ]
    return Words(title, join(summary), prevent(case))


def _closed_loss(case: Situation) -> str:
    if not case.watch.drops:
        return "No event is lost: this server keeps them all."
    if case.told_lost is not None:
        return f"{estimate(case.told_lost).capitalize()} were dropped in it and are gone for good."
    return (
        "What Rybbit dropped of it past the limit is gone for good; how much that was is not known."
    )
