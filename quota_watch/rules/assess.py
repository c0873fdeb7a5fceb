"""Assess: ask every rule what it says of what is known, and bring the verdicts together."""

from collections.abc import Mapping
from dataclasses import replace

from quota_watch.model.limit import ChangeKind
from quota_watch.model.rule import Rule, Severity
from quota_watch.rules.condition import Condition, Findings
from quota_watch.rules.known import Known
from quota_watch.rules.registry import REGISTRY
from quota_watch.rules.verdict import State, Verdict

_EVEN = 0.5


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
