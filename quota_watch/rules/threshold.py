"""The rule `threshold`: a level of the limit is reached."""

from collections.abc import Iterator

from quota_watch.model.rule import Rule, Severity
from quota_watch.model.usage import Usage, highest_level
from quota_watch.model.watch import FULL, Watch
from quota_watch.rules.condition import Condition, Findings
from quota_watch.rules.reason import Reason

_WARNING_LEVEL = 90


def assess_usage(watch: Watch, usage: Usage) -> Findings:
    """Judge a good poll: levels reached, and that the watch can see."""
    judged, conditions = {Rule.BLIND}, {}
    if watch.limit is not None:
        judged.add(Rule.THRESHOLD)
        level = highest_level(usage.used, watch.limit, watch.levels)
        if level is not None:
            conditions[Rule.THRESHOLD] = Condition(
                rule=Rule.THRESHOLD,
                severity=severity_of(level),
                reason=Reason.LEVEL_REACHED,
                level=level,
            )
    return Findings(
        period=usage.period,
        limit=watch.limit,
        judged=frozenset(judged),
        conditions=conditions,
        counted=True,
        off=frozenset(_switched_off(watch)),
    )


def _switched_off(watch: Watch) -> Iterator[Rule]:
    if not watch.forecast:
        yield Rule.FORECAST
    if not watch.spike:
        yield Rule.SPIKE
    if watch.stalled_after is None:
        yield Rule.STALLED


def severity_of(level: int) -> Severity:
    """Return how much reaching `level` percent matters."""
    if level >= FULL:
        return Severity.CRITICAL
    return Severity.WARNING if level >= _WARNING_LEVEL else Severity.INFO
