"""Assess: which conditions are true now, from what was known and what was agreed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from quota_watch.model.limit import ChangeKind, LimitChange
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.usage import is_over
from quota_watch.model.watch import FULL, Watch
from quota_watch.rules.ahead import look_ahead
from quota_watch.rules.blind import assess_trouble
from quota_watch.rules.condition import Condition, Findings
from quota_watch.rules.known import ClosedPeriod, Known
from quota_watch.rules.mismatch import Mismatch, Verdict
from quota_watch.rules.reason import Reason
from quota_watch.rules.threshold import assess_usage

if TYPE_CHECKING:
    from quota_watch.rules.story import Story

CLOSED = "closed"
"""The subject of what is told of a period after its end."""

_FALL = "fall"
_EVEN = 0.5

_CHANGES = {
    ChangeKind.RAISED: Reason.LIMIT_RAISED,
    ChangeKind.LOWERED: Reason.LIMIT_LOWERED,
    ChangeKind.FOUND: Reason.LIMIT_FOUND,
    ChangeKind.REMOVED: Reason.LIMIT_REMOVED,
    ChangeKind.STATUS: Reason.STATUS_CHANGED,
}


def assess(watch: Watch, known: Known, stories: Sequence["Story"] = ()) -> Findings:
    """Say which conditions are true now, and which rules could be judged at all.

    `stories` are what was told so far: some conditions hold on longer once they were told.
    """
    if known.trouble is not None:
        findings = assess_trouble(
            watch,
            known.trouble,
            last_known=known.usage,
            period=known.period,
            now=known.at,
            crossing=known.crossing,
        )
    elif known.usage is not None:
        findings = _with_counts(
            _without_limit(assess_usage(watch, known.usage), watch, known), known
        )
        findings = _with_outlook(findings, watch, known, stories)
        findings = _in_one_cause(findings, watch, known, stories)
    else:
        none: frozenset[Rule] = frozenset()
        findings = Findings(period=known.period, limit=watch.limit, judged=none, conditions={})
    events = (*_limit_events(watch, known), *_events(known, stories))
    reminded = {
        rule: _reminded(condition, watch.of(rule))
        for rule, condition in findings.conditions.items()
    }
    return replace(findings, conditions=reminded, events=events)


def _without_limit(findings: Findings, watch: Watch, known: Known) -> Findings:
    """Judge that nothing is told of a limit any more, where it is sure that there is none."""
    removed = any(change.kind is ChangeKind.REMOVED for change in known.limit_changes)
    if watch.limit is not None or (watch.auto and not removed):
        return findings
    return replace(findings, judged=findings.judged | {Rule.THRESHOLD, Rule.FORECAST})


def _with_counts(findings: Findings, known: Known) -> Findings:
    """Add what comparing our count with upstream's own came to."""
    if not known.compared:
        return findings
    conditions = dict(findings.conditions)
    if known.mismatch is not None and known.mismatch.confirmed:
        conditions[Rule.MISMATCH] = _mismatch(known.mismatch)
    # Two counts that differ for the first time are no news, and no end of a story either.
    judged = {Rule.MISMATCH} if known.mismatch is None or known.mismatch.confirmed else set()
    return replace(findings, judged=findings.judged | judged, conditions=conditions)


def _with_outlook(
    findings: Findings, watch: Watch, known: Known, stories: Sequence["Story"]
) -> Findings:
    """Add what the rules that look ahead and back came to."""
    ruled = list(look_ahead(watch, known, stories))
    found = {each.rule: each.condition for each in ruled if each.condition is not None}
    return replace(
        findings,
        judged=findings.judged | {each.rule for each in ruled},
        conditions={**findings.conditions, **found},
        ends={each.rule: each.end for each in ruled if each.end is not None},
    )


def _in_one_cause(
    findings: Findings, watch: Watch, known: Known, stories: Sequence["Story"]
) -> Findings:
    """Let the severities of one organization, period and limit only rise.

    A new level is as severe at least as the open forecast. With the usual levels one below 90 %
    of a period that is likely to end under its limit is shown, and is no message.
    """
    level = findings.conditions.get(Rule.THRESHOLD)
    if level is None:
        return findings
    same = [
        story
        for story in stories
        if story.is_open
        and story.period_start == findings.period.start
        and story.limit == findings.limit
    ]
    if any(s.rule is Rule.THRESHOLD and (s.level or 0) >= (level.level or 0) for s in same):
        return findings
    risk = findings.conditions.get(Rule.FORECAST)
    risks = [s.severity for s in same if s.rule is Rule.FORECAST]
    severity = max([level.severity, *risks, *([risk.severity] if risk else [])])
    is_quiet = severity is Severity.INFO and not risks and risk is None and _is_calm(watch, known)
    raised = replace(level, severity=severity, is_quiet=is_quiet)
    return replace(findings, conditions={**findings.conditions, Rule.THRESHOLD: raised})


def _is_calm(watch: Watch, known: Known) -> bool:
    forecast = known.forecast
    if not (watch.usual_levels and watch.forecast) or forecast is None:
        return False
    return forecast.probability_over is not None and forecast.probability_over < _EVEN


def _mismatch(mismatch: Mismatch) -> Condition:
    restricted = mismatch.verdict is Verdict.RESTRICTED
    return Condition(
        rule=Rule.MISMATCH,
        severity=Severity.WARNING,
        reason=Reason.KEY_SEES_LESS if restricted else Reason.UPSTREAM_COUNTS_LESS,
        detail={"ours": mismatch.ours, "theirs": mismatch.theirs},
    )


def _limit_events(watch: Watch, known: Known) -> Iterator[Condition]:
    used = None if known.usage is None else known.usage.used
    for change in known.limit_changes:
        over = used is not None and is_over(used, watch.limit)
        costly = change.kind is ChangeKind.LOWERED and over
        yield Condition(
            rule=Rule.LIMIT,
            severity=Severity.CRITICAL if costly else Severity.INFO,
            reason=_CHANGES[change.kind],
            is_event=True,
            detail=_change(change),
        )


def _change(change: LimitChange) -> dict[str, object]:
    return {
        name: {"limit": limit.events, "plan": limit.plan, "status": limit.status}
        for name, limit in (("before", change.before), ("after", change.after))
    }


def _events(known: Known, stories: Sequence["Story"]) -> Iterator[Condition]:
    if known.fell_from is not None:
        yield Condition(
            rule=Rule.MISMATCH,
            severity=Severity.WARNING,
            reason=Reason.USED_FELL,
            subject=_FALL,
            is_event=True,
            detail={"before": known.fell_from},
        )
    closed = known.closed
    if closed is not None and is_over(closed.used, closed.limit) and not _knew(stories, closed):
        yield Condition(
            rule=Rule.THRESHOLD,
            severity=Severity.INFO,
            reason=Reason.CLOSED_OVER,
            level=FULL,
            subject=CLOSED,
            period=closed.period,
            is_event=True,
            detail={"used": closed.used, "limit": closed.limit},
        )


def _knew(stories: Sequence["Story"], closed: ClosedPeriod) -> bool:
    """Tell whether people heard already that the closed period was full."""
    return any(
        story.rule is Rule.THRESHOLD
        and story.told_at is not None
        and story.period_start == closed.period.start
        and (story.level or 0) >= FULL
        for story in stories
    )


def _reminded(condition: Condition, watch: Watch) -> Condition:
    every = watch.remind_every if condition.severity >= watch.remind_from else None
    return replace(condition, remind_every=every)
