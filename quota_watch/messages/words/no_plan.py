"""Words of `no_plan`: sites that collect nothing at all without a plan."""

from collections.abc import Sequence

from quota_watch.lib.figures import listed, number
from quota_watch.lib.text import NAME, one_line
from quota_watch.messages.words import FIX, Situation, Words
from quota_watch.rules.verdict import Reason

_MOST_NAMES = 5


def fired(case: Situation) -> Words:
    """Say which sites collect nothing."""
    names, of = case.detail.get("sites") or (), case.detail.get("of") or 0
    more = case.transition.reason is Reason.MORE_SITES_NEED_PLAN
    another = case.detail.get("new") or ()
    new = f"New: {_listed(another)}. " if more and another else ""
    return Words(
        title=f"{case.name}: {'now ' if more else ''}{nothing(names, of)} without a plan",
        lead=f"{new}{why(names)}",
        preheader="Every event of these sites is lost until there is a plan.",
        details=(case.figures(),),
        heading=FIX,
        steps=(plan_step(case.server), "Run `quota-watch check` afterwards."),
    )


def ended(case: Situation) -> Words:
    """Say that every site collects events again."""
    return Words(
        title=f"No site of {case.name} needs a plan now",
        lead="Every site that Rybbit lists collects events. Events lost before that can't be "
        "recovered.",
        details=(case.figures(),),
    )


def nothing(names: Sequence[str], of: int) -> str:
    """Say how many sites collect nothing: `1 of 2 sites collects nothing`."""
    if not names:
        return "some sites collect nothing"
    verb = "collects" if len(names) == 1 else "collect"
    return f"{number(len(names))} of {number(max(of, len(names)))} sites {verb} nothing"


def why(names: Sequence[str]) -> str:
    """Say why sites collect nothing, and which."""
    which = f": {_listed(names)}" if names else ""
    return f"Rybbit collects nothing for recently created sites without a plan{which}."


def _listed(names: Sequence[str]) -> str:
    """List the first names and say how many more there are."""
    shown = [one_line(str(name), NAME) for name in names[:_MOST_NAMES]]
    more = [f"{number(len(names) - len(shown))} more"] if len(names) > len(shown) else []
    return listed([*shown, *more])


def plan_step(server: str) -> str:
    """Say what makes them collect events."""
    return f"Choose a plan at {server}: collection begins within 30 minutes."
