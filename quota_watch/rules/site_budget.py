"""The rule `site_budget`: a site used up the share of the plan that the config gives it."""

from collections.abc import Iterator

from quota_watch.model.period import highest_level
from quota_watch.model.source import KnownSite
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.known import Known
from quota_watch.rules.story import is_silenced
from quota_watch.rules.verdict import Condition, Reason, State, Verdict

LEVELS = (75, 90, 100)
"""Levels of a site's budget, in percent, that are reported."""


def verdict(known: Known) -> Verdict:
    """Judge how many budgets are used up; each level is reported once."""
    if not known.watch.budgets:
        return Verdict(state=State.OFF, says="no site has a budget in the config")
    reached = [level for _, _, level in _levels(known)]
    if not reached:
        return Verdict(state=State.UNKNOWN, says="no usage is known of any site with a budget")
    used_up = sum((level or 0) >= max(LEVELS) for level in reached)
    return Verdict(
        state=State.TRUE if any(reached) else State.FALSE,
        says=f"{used_up} of {len(reached)} site budgets are used up",
    )


def events(known: Known) -> Iterator[Condition]:
    """Report each level of a budget that is reached for the first time in this period.

    What a silence holds back is recorded once, and sent when the silence ends.
    """
    silenced = is_silenced(known.silences, Rule.SITE_BUDGET, known.at)
    for id_, site, level in _levels(known):
        if level is None or level <= _recorded(known, id_, unsent=silenced):
            continue
        yield Condition(
            rule=Rule.SITE_BUDGET,
            severity=Severity.INFO,
            reason=Reason.BUDGET_REACHED,
            level=level,
            part=id_,
            mark=str(known.watch.budgets[id_]),
            is_event=True,
            detail={"site": site.name, "used": site.used, "budget": known.watch.budgets[id_]},
        )


def _levels(known: Known) -> Iterator[tuple[str, KnownSite, int | None]]:
    """Yield each site whose budget and use of this period are known, and its level."""
    for id_, budget in known.watch.budgets.items():
        site = known.sites.get(id_)
        if site is None or site.used is None or site.as_of is None:
            continue
        if site.as_of.date() in known.period:
            yield id_, site, highest_level(site.used, budget, LEVELS)


def _recorded(known: Known, id_: str, *, unsent: bool) -> int:
    """Find the highest recorded level of the present budget; another budget starts anew."""
    budget = str(known.watch.budgets[id_])
    levels = (
        story.level or 0
        for story in known.stories_of(Rule.SITE_BUDGET)
        if (story.part, story.period_start) == (id_, known.period.start)
        if story.mark in {None, budget} and (unsent or story.told_at)
    )
    return max(levels, default=0)
