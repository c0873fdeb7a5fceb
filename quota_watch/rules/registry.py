"""Every rule there is, and `assess`, which asks each of them and joins their verdicts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from quota_watch.model.watch import Rule, Severity
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
from quota_watch.rules.known import Known
from quota_watch.rules.story import Story
from quota_watch.rules.verdict import Condition, Findings, Reason, State, Verdict

_EVEN = 0.5


class Matter(Enum):
    """What the reader of an alert looks at: the limit and plans, or the days behind it."""

    LIMIT = auto()
    DAYS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A rule: how it is judged, and how its stories live.

    `verdict` judges it for an organization; None where it is about none. `events` are what it
    reports once, as it happens. `ends` is why a story ends when the rule is false; None: it goes
    on. `says_more` is why a condition is news within a story although neither its level nor its
    severity rose. `of_limit`: its stories belong to a period and a limit and end with either.
    `of_period`: they are pointless once the period is over. `ends_when_off`: switching it off ends
    them. `matter` decides what a message links to and shows.
    """

    verdict: Callable[[Known], Verdict] | None = None
    events: Callable[[Known], Iterator[Condition]] | None = None
    ends: Reason | None = None
    says_more: Callable[[Condition, Story], Reason | None] | None = None
    of_limit: bool = False
    of_period: bool = False
    ends_when_off: bool = False
    matter: Matter | None = None


REGISTRY: Mapping[Rule, Entry] = {
    Rule.THRESHOLD: Entry(
        verdict=threshold.verdict,
        events=threshold.events,
        says_more=threshold.says_more,
        matter=Matter.LIMIT,
        of_limit=True,
        of_period=True,
    ),
    Rule.FORECAST: Entry(
        verdict=forecast.verdict,
        ends=Reason.NO_LONGER_LIKELY,
        says_more=forecast.says_more,
        matter=Matter.LIMIT,
        of_limit=True,
        of_period=True,
        ends_when_off=True,
    ),
    Rule.SPIKE: Entry(
        verdict=spike.verdict,
        ends=Reason.AS_EXPECTED_AGAIN,
        matter=Matter.DAYS,
        of_period=True,
        ends_when_off=True,
    ),
    Rule.STALLED: Entry(
        verdict=stalled.verdict,
        ends=Reason.EVENTS_AGAIN,
        matter=Matter.DAYS,
        ends_when_off=True,
    ),
    Rule.BLIND: Entry(verdict=blind.verdict, ends=Reason.POLLS_WORK_AGAIN),
    Rule.LIMIT: Entry(verdict=limit.verdict, matter=Matter.LIMIT),
    Rule.MISMATCH: Entry(
        verdict=mismatch.verdict,
        events=mismatch.events,
        ends=Reason.COUNTS_AGREE_AGAIN,
    ),
    Rule.DELIVERY: Entry(ends=Reason.CHANNEL_WORKS_AGAIN),
    Rule.CONFIG: Entry(ends=Reason.CONFIG_ACCEPTED),
    Rule.DISCOVERED: Entry(),
    Rule.ENFORCED: Entry(
        verdict=enforced.verdict,
        ends=Reason.RYBBIT_TAKES_EVENTS,
        matter=Matter.LIMIT,
        of_limit=True,
        of_period=True,
    ),
    Rule.MOVED: Entry(verdict=moved.verdict),
    Rule.SITE_BUDGET: Entry(verdict=site_budget.verdict, events=site_budget.events),
    Rule.NO_PLAN: Entry(
        verdict=no_plan.verdict,
        ends=Reason.SITES_COLLECT,
        says_more=no_plan.says_more,
    ),
}


def assess(known: Known) -> Findings:
    """Ask every rule, and keep the verdicts that may begin or end a story.

    After a failed poll only blindness can be judged, and only where it is true.
    """
    verdicts = verdicts_of(known)
    if known.trouble is not None:
        is_blind = verdicts[Rule.BLIND].state is State.TRUE
        verdicts = {Rule.BLIND: verdicts[Rule.BLIND]} if is_blind else {}
    elif known.usage is None:
        verdicts = {}
    if _is_sure_of_no_limit(known):
        verdicts |= {
            rule: replace(verdict, state=State.FALSE)
            for rule, verdict in verdicts.items()
            if REGISTRY[rule].of_limit and verdict.state is State.UNKNOWN
        }
    return Findings(
        period=known.period,
        limit=known.watch.limit,
        verdicts={
            rule: _with_reminders(verdict, rule, known)
            for rule, verdict in _level_beside_forecast(verdicts, known).items()
        },
        counted=known.trouble is None and known.usage is not None,
        events=tuple(
            event for entry in REGISTRY.values() if entry.events for event in entry.events(known)
        ),
    )


def verdicts_of(known: Known) -> dict[Rule, Verdict]:
    """Ask each rule that is about an organization."""
    return {
        rule: entry.verdict(known) for rule, entry in REGISTRY.items() if entry.verdict is not None
    }


def _is_sure_of_no_limit(known: Known) -> bool:
    """Whether there surely is no limit: then every alert about one ends."""
    change = known.limit_change
    removed = change is not None and change.reason is Reason.LIMIT_REMOVED
    return known.watch.limit is None and (removed or not known.watch.auto)


def _level_beside_forecast(verdicts: dict[Rule, Verdict], known: Known) -> dict[Rule, Verdict]:
    """Let the severities of one organization, period and limit only rise.

    A new level is at least as severe as the open forecast. With the default levels, one below 90 %
    of a period that is likely to end under its limit is shown and not sent.
    """
    verdict = verdicts.get(Rule.THRESHOLD)
    level = None if verdict is None else verdict.condition
    if verdict is None or level is None:
        return verdicts
    if any(
        story.is_open and (story.level or 0) >= (level.level or 0)
        for story in known.stories_of_limit(Rule.THRESHOLD)
    ):
        return verdicts
    forecasts = [story for story in known.stories_of_limit(Rule.FORECAST) if story.is_open]
    risk = verdicts[Rule.FORECAST].condition
    severities = [each.severity for each in (*forecasts, risk) if each is not None]
    severity = max([level.severity, *severities])
    is_quiet = severity is Severity.INFO and not severities and _is_calm(known)
    level = replace(level, severity=severity, is_quiet=is_quiet)
    return verdicts | {Rule.THRESHOLD: replace(verdict, condition=level)}


def _is_calm(known: Known) -> bool:
    watch, forecast = known.watch, known.forecast
    if not (watch.usual_levels and watch.forecast) or forecast is None:
        return False
    return forecast.probability_over is not None and forecast.probability_over < _EVEN


def _with_reminders(verdict: Verdict, rule: Rule, known: Known) -> Verdict:
    """Set how often the condition is reminded of, as the config has it for the rule."""
    watch, condition = known.watch.of(rule), verdict.condition
    if condition is None or condition.severity < watch.remind_from:
        return verdict
    return replace(verdict, condition=replace(condition, remind_every=watch.remind_every))
