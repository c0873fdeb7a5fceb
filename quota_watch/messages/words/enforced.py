"""Words of `enforced`: Rybbit itself says that it drops events."""

from quota_watch.lib.figures import events, number
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.words import FIX, Situation, Words
from quota_watch.model.limit import LAPSED
from quota_watch.model.period import is_over
from quota_watch.rules.verdict import Reason


def fired(case: Situation) -> Words:
    """Say that events are lost though our numbers don't say so, and why that may be."""
    return Words(
        title=f"Rybbit is dropping events of {case.name}",
        lead=join([_dropped(case), _why(case), _differs(case)]),
        preheader="Every new event is lost until the plan or the limit is corrected.",
        details=(case.figures(),),
        heading=FIX,
        steps=_steps(case),
    )


def ended(case: Situation) -> Words:
    """Say that collection resumes, or that a level tells of it now."""
    if case.transition.reason is Reason.OVERTAKEN:
        return Words(
            title=f"{case.name}: the limit is reached by our count too",
            lead="Rybbit is still dropping events; see the separate alert.",
            details=(case.figures(),),
        )
    return Words(
        title=f"{case.name}: collection resumes",
        lead="Two reads of Rybbit agree. Events dropped in between can't be recovered.",
        details=(case.figures(),),
    )


def _dropped(case: Situation) -> str:
    since = f"Rybbit has said so since {case.brief(case.since())}. "
    return f"{since}New events are dropped and can't be recovered."


def _differs(case: Situation) -> str:
    """Say both numbers, and both limits, where they differ."""
    theirs, their_limit = case.detail.get("theirs"), case.detail.get("their_limit")
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


def _plan(case: Situation) -> str:
    return one_line(str(case.detail.get("plan") or ""), NAME)


def _is_lapsed(case: Situation) -> bool:
    return case.watch.lapsed_plan is not None or case.detail.get("status") in LAPSED - {"free"}


def _why(case: Situation) -> str:
    """Name the one cause that fits what both say, or those there can be."""
    theirs, limit = case.detail.get("theirs"), case.detail.get("their_limit")
    if limit == 0:
        return (
            f"Rybbit does not know the plan it bills ({_plan(case)}), so its limit is 0 and one"
            " event blocks every site."
            if _plan(case)
            else "Rybbit's limit is 0: one event blocks every site."
        )
    if _is_lapsed(case):
        status = one_line(str(case.detail["status"]), NAME)
        return f"The subscription is {status}: the free plan's limit applies."
    if limit is not None and case.limit is not None and limit < case.limit:
        return f"Rybbit enforces {events(limit)}, not the {number(case.limit)} known here."
    if theirs is not None and is_over(theirs, limit):
        return "The key may see only some of the sites."
    return "Possible causes: a lapsed plan, or a failed billing lookup at Rybbit."


def _steps(case: Situation) -> tuple[str, ...]:
    limit, at = case.detail.get("their_limit"), case.server
    if limit == 0:
        return (
            f"Check the billing at {at}; if it is right, ask Rybbit's support to set the plan.",
        )
    if _is_lapsed(case):
        return (
            f"Renew the plan at {at}: collection resumes within 30 minutes.",
            "Run `quota-watch check` afterwards.",
        )
    if limit is not None and case.limit is not None and limit < case.limit:
        return (
            f"Upgrade the plan at {at}: collection resumes within 30 minutes.",
            'Correct the limit in the config, or leave it to Rybbit with `plan = "auto"`.',
        )
    return (
        f"Compare with the usage and the plan shown at {at}.",
        "Run `quota-watch check`: it shows whether the key sees every site.",
    )
