"""Every rule there is, and all that the rest of the program needs to know of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from quota_watch.model.rule import Rule
from quota_watch.rules import (
    blind,
    enforced,
    forecast,
    limit,
    mismatch,
    moved,
    no_plan,
    site_budget,
    spike,
    stalled,
    threshold,
)
from quota_watch.rules.condition import Condition
from quota_watch.rules.known import Known
from quota_watch.rules.reason import Reason
from quota_watch.rules.story import Story
from quota_watch.rules.verdict import Verdict


class About(StrEnum):
    """What the stories of a rule are about."""

    ORGANIZATION = "organization"
    CHANNEL = "channel"
    CONFIG = "config"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A rule: what it is about, how it is judged, and how its stories live.

    `verdict` judges it of an organization; None where it is judged of none. `events` are what it
    tells once, as it happens. `ends` is why a story ends when the rule is false; None: then it
    goes on. `says_more` is why a condition is news within a story although neither its level nor
    its severity rose. `of_limit`: its stories are of a period under one limit and end with either.
    `of_period`: they mean nothing any more once the period is over. `ends_when_off`: switching it
    off ends them.
    """

    about: About = About.ORGANIZATION
    verdict: Callable[[Known], Verdict] | None = None
    events: Callable[[Known], Iterator[Condition]] | None = None
    ends: Reason | None = None
    says_more: Callable[[Condition, Story], Reason | None] | None = None
    of_limit: bool = False
    of_period: bool = False
    ends_when_off: bool = False


REGISTRY: Mapping[Rule, Entry] = {
    Rule.THRESHOLD: Entry(
        verdict=threshold.verdict,
        events=threshold.events,
        says_more=threshold.says_more,
        of_limit=True,
        of_period=True,
    ),
    Rule.FORECAST: Entry(
        verdict=forecast.verdict,
        ends=Reason.NO_LONGER_LIKELY,
        says_more=forecast.says_more,
        of_limit=True,
        of_period=True,
        ends_when_off=True,
    ),
    Rule.SPIKE: Entry(
        verdict=spike.verdict,
        ends=Reason.AS_EXPECTED_AGAIN,
        of_period=True,
        ends_when_off=True,
    ),
    Rule.STALLED: Entry(
        verdict=stalled.verdict,
        ends=Reason.EVENTS_AGAIN,
        ends_when_off=True,
    ),
    Rule.BLIND: Entry(verdict=blind.verdict, ends=Reason.POLLS_WORK_AGAIN),
    Rule.LIMIT: Entry(verdict=limit.verdict, events=limit.events),
    Rule.MISMATCH: Entry(
        verdict=mismatch.verdict,
        events=mismatch.events,
        ends=Reason.COUNTS_AGREE_AGAIN,
    ),
    Rule.DELIVERY: Entry(about=About.CHANNEL, ends=Reason.CHANNEL_WORKS_AGAIN),
    Rule.CONFIG: Entry(about=About.CONFIG, ends=Reason.CONFIG_ACCEPTED),
    Rule.DISCOVERED: Entry(about=About.SERVER),
    Rule.ENFORCED: Entry(
        verdict=enforced.verdict,
        ends=Reason.RYBBIT_TAKES_EVENTS,
        of_limit=True,
        of_period=True,
    ),
    Rule.MOVED: Entry(verdict=moved.verdict, events=moved.events),
    Rule.SITE_BUDGET: Entry(verdict=site_budget.verdict, events=site_budget.events),
    Rule.NO_PLAN: Entry(
        verdict=no_plan.verdict,
        ends=Reason.SITES_COLLECT,
        says_more=no_plan.says_more,
    ),
}
