"""What would help: what still fits, what to switch off, which plan would do."""

from quota_watch.lib.figures import largest_first, long_day, share
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.situation import Situation
from quota_watch.messages.words.foretold import (
    CALM,
    budget,
    largest,
    less,
    smallest_plan,
    taken_again,
)
from quota_watch.model.usage import percent

_LARGEST = 3
_LEAST_SHARE = 1.0  # percent; a smaller type is no lever


def decide(case: Situation) -> str:
    """Return what to do about a limit that is near, will be passed, or is passed."""
    advice = case.known.advice
    if case.is_over and case.watch.drops:
        return _accept_or_raise(case)
    if advice is None or case.is_over:
        return join([_choose(case), _plan(case), _types(case)])
    if not advice.high.excess:
        return join([CALM, budget(advice), _types(case)])
    first = "To stay under the limit" if advice.likely.excess else "To be safe"
    how = f"{first}, {_raise(case)}, or let less come."
    return join([how, _plan(case), less(advice), _types(case), _else(case)])


def prevent(case: Situation) -> str:
    """Return what to do so that a period that ended over its limit stays the only one."""
    gone = "Nothing can be done about that period any more."
    how = f"So that the next ones don't end like it, {_raise(case)}, or let less come."
    return join([gone, how, _plan(case), _types(case)])


def _raise(case: Situation) -> str:
    if case.watch.drops:
        return f"raise the plan at {case.server}"
    return "agree on a higher limit and set it in the config"


def _accept_or_raise(case: Situation) -> str:
    again = f"{taken_again(case.server)};"
    end = f"or accept the loss until {long_day(case.period.end)}."
    off = f"Switching off event types helps only from the next period on{_largest(case)}."
    return join([again, end, _plan(case), off, _types(case)])


def _choose(case: Situation) -> str:
    end = (
        "accept that events past the limit are lost"
        if case.watch.drops
        else "accept that this period ends over its limit"
    )
    how = _raise(case)
    off = f"switch off event types you can do without{_largest(case)}"
    return f"{how[0].upper()}{how[1:]}, {off}, or {end}."


def _plan(case: Situation) -> str:
    """Return the smallest plan that fits, where one is known and larger than what there is."""
    fit = case.known.plan_fit
    if fit is None or not case.watch.drops or fit.limit <= (case.limit or 0):
        return ""
    return smallest_plan(fit)


def _types(case: Situation) -> str:
    """Return the largest types and sites, where anything is known of them."""
    return largest(case.known.advice) if case.known.advice else ""


def _else(case: Situation) -> str:
    if case.watch.drops:
        return "Otherwise events past the limit are lost."
    return "Otherwise this period ends over its limit."


def _largest(case: Situation) -> str:
    """Return the types that use most, as a clause, with their shares of what is used."""
    if not case.used or (case.known.advice and case.known.advice.types):
        return ""
    top = [
        f"{one_line(type_, NAME)} {share(percent(n, case.used))}"
        for type_, n in largest_first(case.by_type)[:_LARGEST]
        if n * 100 >= _LEAST_SHARE * case.used
    ]
    return f" (the largest: {', '.join(top)})" if top else ""
