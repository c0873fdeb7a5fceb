"""Short ways to make transitions and what is told of them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from quota_watch.messages.facts import Facts, Message
from quota_watch.messages.freeze import facts_of, facts_of_none
from quota_watch.model.period import Period, Usage
from quota_watch.model.source import Organization, Trouble
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.rules.known import Known
from quota_watch.rules.story import Story, Transition, TransitionType
from quota_watch.rules.threshold import severity_of
from quota_watch.rules.verdict import Condition, Reason
from support import made_up
from support.domain import ACME, MARCH, NOON, usage, watch

STARTED = NOON - timedelta(hours=2)
BIG = watch(limit=100_000, plan="standard100k")


def story(level: int | None = 90, **changes: Any) -> Story:
    """Return an open story: a level of a limit of 100,000, or blindness where `level` is None."""
    blind = level is None
    values: dict[str, Any] = {
        "about": ACME,
        "rule": Rule.BLIND if blind else Rule.THRESHOLD,
        "period_start": MARCH.start,
        "limit": None if blind else 100_000,
        "occurrence": 1,
        "level": level,
        "severity": Severity.WARNING if level is None else severity_of(level),
        "reason": Reason.POLLS_FAIL if blind else Reason.LEVEL_REACHED,
        "started_at": STARTED,
    }
    return Story(**(values | changes))


def fired(level: int | None = 90, **changes: Any) -> Transition:
    of = story(level, started_at=NOON, **changes)
    return Transition(type=TransitionType.FIRED, reason=of.reason, story=of, at=NOON)


def about(
    rule: Rule,
    reason: Reason,
    severity: Severity = Severity.WARNING,
    *,
    detail: dict[str, Any] | None = None,
    period: Period | None = None,
    **changes: Any,
) -> Transition:
    """Return the first step of a story of `rule`, with the condition that made it.

    Its figures are made up where `detail` does not name them.
    """
    of = replace(story(None), rule=rule, reason=reason, severity=severity, started_at=NOON)
    of = replace(of, **changes)
    condition = Condition(
        rule=rule,
        severity=severity,
        reason=reason,
        level=of.level,
        tier=of.tier,
        mark=of.mark,
        part=of.part,
        detail=made_up.detail_of(reason, NOON) | (detail or {}),
        period=period,
    )
    return Transition(
        type=TransitionType.FIRED, reason=reason, story=of, at=NOON, condition=condition
    )


def later(fired: Transition, type_: TransitionType, reason: Reason) -> Transition:
    """Return the second step of a story that began two hours before."""
    of = replace(fired.story, started_at=STARTED, reason=reason)
    return replace(fired, type=type_, reason=reason, story=of, number=3)


def ended(fired: Transition, reason: Reason) -> Transition:
    """Return the end of a story that began two hours before."""
    of = replace(fired.story, started_at=STARTED, reason=reason, ended_at=NOON)
    return Transition(type=TransitionType.RESOLVED, reason=reason, story=of, at=NOON)


def resolved(reason: Reason, level: int | None = 90, **changes: Any) -> Transition:
    of = replace(story(level, **changes), reason=reason, ended_at=NOON)
    return Transition(type=TransitionType.RESOLVED, reason=reason, story=of, at=NOON)


def tell(
    transition: Transition,
    used: int | None = 91_234,
    *,
    of: Watch = BIG,
    counted: Usage | None = None,
    trouble: Trouble | None = None,
    measured_at: datetime | None = NOON,
    public_url: str | None = None,
    **facts: Any,
) -> Facts:
    """Return the facts of a transition with so many events `used`, and what else is known."""
    if not isinstance(transition.story.about, Organization):
        return facts_of_none(transition, time_zone=of.time_zone)
    count = counted if counted is not None or used is None else usage(used)
    ahead = {key: facts.pop(key) for key in ("forecast", "advice", "plan_fit") if key in facts}
    if ahead:
        facts["analysis"] = made_up.analysis(**ahead)
    known = Known(
        watch=replace(of, public_url=public_url),
        period=count.period if count else MARCH,
        at=transition.at,
        usage=count,
        measured_at=measured_at,
        trouble=trouble,
        **facts,
    )
    return facts_of(transition, known)


def message(*facts: Facts, id: str = "msg_1", recipient: str = "") -> Message:  # noqa: A002
    """Return what an outbox hands to a channel."""
    return Message(id=id, recipient=recipient, bodies=tuple(each.to_json() for each in facts))
