"""Every rule there is, and assess: ask each of them, and bring the verdicts together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from quota_watch.model.limit import ChangeKind
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A rule: how it is judged, and how its stories live.

    `verdict` judges it of an organization; None where it is judged of none. `events` are what it
    tells once, as it happens. `ends` is why a story ends when the rule is false; None: then it
    goes on. `says_more` is why a condition is news within a story although neither its level nor
    its severity rose. `of_limit`: its stories are of a period under one limit and end with either.
    `of_period`: they mean nothing any more once the period is over. `ends_when_off`: switching it
    off ends them.
    """

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
    Rule.DELIVERY: Entry(ends=Reason.CHANNEL_WORKS_AGAIN),
    Rule.CONFIG: Entry(ends=Reason.CONFIG_ACCEPTED),
    Rule.DISCOVERED: Entry(),
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


def assess(known: Known) -> Findings:
    """Say which conditions are true now, and which rules could be judged at all.

    After a failed poll nothing is known but how long it has been so: then blindness alone is
    judged, and only where it is true. `known.stories` are what was told so far: some conditions
    hold on longer once they were told.
    """
    verdicts = verdicts_of(known)
    judged = {rule for rule, verdict in verdicts.items() if _is_judged(rule, verdict)}
    if _is_sure_of_no_limit(known):
        judged |= {rule for rule, entry in REGISTRY.items() if entry.of_limit}
    if known.trouble is not None:
        judged = {Rule.BLIND} if verdicts[Rule.BLIND].state is State.TRUE else set()
    elif known.usage is None:
        judged = set()
    conditions = {
        rule: verdict.condition
        for rule, verdict in verdicts.items()
        if verdict.condition is not None and rule in judged
    }
    good = known.trouble is None and known.usage is not None
    return Findings(
        period=known.period,
        limit=known.watch.limit,
        judged=frozenset(judged),
        conditions={
            rule: _reminded(condition, rule, known)
            for rule, condition in _in_one_cause(conditions, known).items()
        },
        counted=good,
        off=frozenset(rule for rule in verdicts if good and _is_off(rule, verdicts[rule])),
        events=tuple(
            event for entry in REGISTRY.values() if entry.events for event in entry.events(known)
        ),
        ends={rule: verdict.end for rule, verdict in verdicts.items() if verdict.end is not None},
    )


def verdicts_of(known: Known) -> Mapping[Rule, Verdict]:
    """Ask each rule that is about an organization."""
    return {
        rule: entry.verdict(known) for rule, entry in REGISTRY.items() if entry.verdict is not None
    }


def _is_judged(rule: Rule, verdict: Verdict) -> bool:
    """Tell whether a story of the rule may begin or end with this verdict."""
    entry = REGISTRY[rule]
    has_stories = entry.of_limit or entry.ends is not None
    return has_stories and verdict.state is not State.UNKNOWN and not _is_off(rule, verdict)


def _is_off(rule: Rule, verdict: Verdict) -> bool:
    return verdict.state is State.OFF and REGISTRY[rule].ends_when_off


def _is_sure_of_no_limit(known: Known) -> bool:
    """Tell whether it is sure that there is no limit: then nothing is told of one any more."""
    removed = any(change.kind is ChangeKind.REMOVED for change in known.limit_changes)
    return known.watch.limit is None and (removed or not known.watch.auto)


def _in_one_cause(conditions: dict[Rule, Condition], known: Known) -> dict[Rule, Condition]:
    """Let the severities of one organization, period and limit only rise.

    A new level is as severe at least as the open forecast. With the usual levels one below 90 %
    of a period that is likely to end under its limit is shown, and is no message.
    """
    level = conditions.get(Rule.THRESHOLD)
    if level is None:
        return conditions
    told = [story for story in known.stories_of_limit(Rule.THRESHOLD) if story.is_open]
    if any((story.level or 0) >= (level.level or 0) for story in told):
        return conditions
    risk = conditions.get(Rule.FORECAST)
    risks = [s.severity for s in known.stories_of_limit(Rule.FORECAST) if s.is_open]
    severity = max([level.severity, *risks, *([risk.severity] if risk else [])])
    is_quiet = severity is Severity.INFO and not risks and risk is None and _is_calm(known)
    raised = replace(level, severity=severity, is_quiet=is_quiet)
    return {**conditions, Rule.THRESHOLD: raised}


def _is_calm(known: Known) -> bool:
    watch, forecast = known.watch, known.forecast
    if not (watch.usual_levels and watch.forecast) or forecast is None:
        return False
    return forecast.probability_over is not None and forecast.probability_over < _EVEN


def _reminded(condition: Condition, rule: Rule, known: Known) -> Condition:
    watch = known.watch.of(rule)
    every = watch.remind_every if condition.severity >= watch.remind_from else None
    return replace(condition, remind_every=every)
