"""Words of `site_budget`: a site used so much of its share of the plan."""

from quota_watch.lib.figures import events, number, share
from quota_watch.lib.text import NAME, one_line
from quota_watch.messages.words import Situation, Words, over
from quota_watch.model.period import percent


def fired(case: Situation) -> Words:
    """Say which site used how much of its budget."""
    used, budget = case.detail.get("used"), case.detail.get("budget")
    site = one_line(str(case.detail.get("site") or "a site"), NAME)
    if used is None or budget is None:
        return Words(
            title=f"{site} of {case.name} has reached a level of its budget",
            lead="It is a share of the plan that the config sets; Rybbit drops nothing because "
            "of it.",
            details=(case.figures(),),
        )
    part, id_ = share(percent(used, budget)), case.watch.organization.id
    return Words(
        title=f"{case.name}: {site} has used {part} of its budget of {events(budget)}",
        lead=f"That is {number(used)} of the plan that {case.name} shares. Rybbit doesn't know "
        "the budget"
        " and drops nothing because of it.",
        details=(case.figures(),),
        steps=(f"See who used the plan: `quota-watch status {id_} --sites`.",),
    )


ended = over
