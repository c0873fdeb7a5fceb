"""Made-up facts of every shape a message can have, to try templates with before they are needed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from quota_watch.domain.alerts import Story, Transition, TransitionType
from quota_watch.domain.periods import CalendarMonth
from quota_watch.domain.plans import NOT_COUNTED
from quota_watch.domain.reasons import Reason
from quota_watch.domain.rules import FULL, Observation, Rule, Severity, Trouble, Watch, severity_of
from quota_watch.domain.source import ErrorKind, Organization
from quota_watch.domain.usage import Usage
from quota_watch.notify.facts import facts_of, test_facts

_LIMIT = 100_000
_NEAR, _OVER, _NEW = 91_234, 104_310, 1_204
_HOUR = timedelta(hours=1)
_QUARTER = timedelta(minutes=15)


def sample_facts(*, now: datetime, time_zone: str = "UTC") -> dict[str, dict[str, Any]]:
    """Return facts by the name of their shape; together they take every branch of a template."""
    watch = _watch(time_zone)
    kept = replace(watch, drops=False, plan=None)
    near = _reached(watch, 90, now)
    full = _reached(watch, FULL, now, reason=Reason.HIGHER_LEVEL_REACHED)
    over = _reached(watch, FULL, now)
    higher, lost = replace(watch, limit=250_000), replace(kept, limit=None)
    return {
        "fired": _told(near, watch, _NEAR),
        "escalated": _told(full, watch, _LIMIT),
        "dropping": _told(over, watch, _OVER),
        "kept": _told(over, kept, _OVER),
        "limit_changed": _told(_ended(near, Reason.LIMIT_CHANGED), higher, _NEAR),
        "limit_unknown": _told(_ended(near, Reason.LIMIT_CHANGED), lost, _NEAR),
        "period_ended": _told(_ended(over, Reason.PERIOD_ENDED), watch, _NEW),
        "blind": _unseen(watch, now, last_known=_NEAR),
        "never_seen": _unseen(watch, now, last_known=None),
        "seen_again": _told(_ended(_failing(watch, now), Reason.POLLS_WORK_AGAIN), watch, _NEAR),
        "test": test_facts(id="test", now=now, time_zone=time_zone, channel="ops"),
    }


def _watch(time_zone: str) -> Watch:
    return Watch(
        organization=Organization("https://app.rybbit.io", "org_example"),
        name='Example & "Söhne" <GmbH>',  # so that a template that forgets to escape is seen
        plan="standard100k",
        limit=_LIMIT,
        limit_source="plan",
        drops=True,
        not_counted=NOT_COUNTED,
        thresholds=(75, 90, FULL),
        blind_after=2 * _HOUR,
        channels=(),
        time_zone=time_zone,
    )


def _reached(
    watch: Watch, level: int, now: datetime, *, reason: Reason = Reason.LEVEL_REACHED
) -> Transition:
    story = _story(watch, Rule.THRESHOLD, now)
    story = replace(story, limit=watch.limit, level=level, severity=severity_of(level))
    first = reason is Reason.LEVEL_REACHED
    type_ = TransitionType.FIRED if first else TransitionType.ESCALATED
    return Transition(type=type_, reason=reason, story=replace(story, reason=reason), at=now)


def _failing(watch: Watch, now: datetime) -> Transition:
    story = _story(watch, Rule.BLIND, now)
    return Transition(type=TransitionType.FIRED, reason=story.reason, story=story, at=now)


def _story(watch: Watch, rule: Rule, now: datetime) -> Story:
    return Story(
        organization=watch.organization,
        rule=rule,
        period_start=CalendarMonth().period_of(now.date()).start,
        limit=None,
        occurrence=1,
        level=None,
        severity=Severity.WARNING,
        reason=Reason.POLLS_FAIL,
        started_at=now,
    )


def _ended(fired: Transition, reason: Reason) -> Transition:
    at = fired.at + _HOUR
    story = replace(fired.story, reason=reason, ended_at=at)
    return Transition(type=TransitionType.RESOLVED, reason=reason, story=story, at=at)


def _told(transition: Transition, watch: Watch, used: int) -> dict[str, Any]:
    usage, at = _count(used, transition.at), transition.at
    seen = Observation(period=usage.period, at=at, usage=usage, measured_at=at)
    return facts_of(transition, watch=watch, seen=seen)


def _unseen(watch: Watch, now: datetime, *, last_known: int | None) -> dict[str, Any]:
    since = now - 2 * _HOUR - _QUARTER
    trouble = Trouble(
        since=since,
        polls=9,
        kind=ErrorKind.FORBIDDEN,
        message="the server refuses the API key (HTTP 403: Forbidden)",
    )
    seen = Observation(
        period=CalendarMonth().period_of(now.date()),
        at=now,
        usage=None if last_known is None else _count(last_known, now),
        measured_at=None if last_known is None else since - _QUARTER,
        trouble=trouble,
    )
    return facts_of(_failing(watch, now), watch=watch, seen=seen)


def _count(used: int, at: datetime) -> Usage:
    by_type = {"custom_event": used // 4, "performance": used // 9, "outbound": used // 50}
    return Usage(
        period=CalendarMonth().period_of(at.date()),
        used=used,
        by_type={"pageview": used - sum(by_type.values()), **by_type},
        not_counted={"error": used // 40},
        today=at.date(),
        used_today=used // 20,
    )
