"""The rule `no_plan`: a site collects nothing, because Rybbit requires a plan for it."""

from quota_watch.model.source import Site
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.known import Known
from quota_watch.rules.story import Story
from quota_watch.rules.verdict import Condition, Reason, State, Verdict


def verdict(known: Known) -> Verdict:
    """Judge what Rybbit reports of each site; without a report a site is unknown."""
    sites = known.reported.account.sites if known.reported is not None else ()
    without = sites_without_plan(known)
    if without:
        story_sites = _sites_of(known.open_story(Rule.NO_PLAN))
        names = [site.name for site in without]
        return Verdict(
            state=State.TRUE,
            says=f"{len(names)} of {len(sites)} sites collect nothing without a plan",
            condition=Condition(
                rule=Rule.NO_PLAN,
                severity=Severity.CRITICAL,
                reason=Reason.SITES_NEED_PLAN,
                mark=" ".join(sorted(story_sites | {site.id for site in without})),
                detail={
                    "sites": names,
                    "of": len(sites),
                    "new": [site.name for site in without if site.id not in story_sites],
                },
            ),
        )
    if not sites or any(site.requires_plan is None for site in sites):
        return Verdict(state=State.UNKNOWN, says="Rybbit does not report which sites need a plan")
    return Verdict(state=State.FALSE, says="no site needs a plan to collect events")


def says_more(condition: Condition, story: Story) -> Reason | None:
    """Look for a site that the story does not name yet; each is reported once within it."""
    return Reason.MORE_SITES_NEED_PLAN if _sites_of(condition) - _sites_of(story) else None


def _sites_of(marked: Condition | Story | None) -> set[str]:
    return set() if marked is None else set((marked.mark or "").split())


def sites_without_plan(known: Known) -> list[Site]:
    """List the sites that Rybbit reports to need a plan."""
    reported = known.reported
    return [] if reported is None else [s for s in reported.account.sites if s.requires_plan]
