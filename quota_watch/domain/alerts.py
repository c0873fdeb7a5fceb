"""Reconcile: from conditions and the stories so far to what has to be told, and why.

A *story* is one alert from fired to resolved. All memory of "already told" is in stories; each
level is told once within one.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum

from quota_watch.domain.rules import Condition, Findings, Rule, Severity
from quota_watch.domain.source import Organization


class Reason(StrEnum):
    """Why something was told, or why a story ended."""

    LEVEL_REACHED = "level_reached"
    HIGHER_LEVEL_REACHED = "higher_level_reached"
    POLLS_FAIL = "polls_fail"
    POLLS_WORK_AGAIN = "polls_work_again"
    BECAME_CRITICAL = "became_critical"
    LIMIT_CHANGED = "limit_changed"
    PERIOD_ENDED = "period_ended"


class TransitionType(StrEnum):
    """What happened to a story; the webhook's `type` without its `alert.`."""

    FIRED = "fired"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One alert from fired to resolved, identified by its key for ever.

    `level` is the highest level told. `occurrence` grows when the same thing becomes true again
    after its end was recorded.
    """

    organization: Organization
    rule: Rule
    period_start: date
    limit: int | None
    occurrence: int
    level: int | None
    severity: Severity
    reason: Reason
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def key(self) -> str:
        """Server, organization, rule, period, limit and occurrence as one text."""
        parts = (
            self.organization.server,
            self.organization.id,
            self.rule,
            self.period_start.isoformat(),
            "-" if self.limit is None else str(self.limit),
            str(self.occurrence),
        )
        return "|".join(parts)

    @property
    def id(self) -> str:
        """What receivers know the story by; never changes."""
        return _digest("al", self.key, self.started_at.isoformat())

    @property
    def is_open(self) -> bool:
        """Tell whether the story goes on."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step of a story, to be told once per channel."""

    type: TransitionType
    reason: Reason
    story: Story
    at: datetime

    @property
    def id(self) -> str:
        """What receivers know the step by; the same on every channel and at every retry."""
        level = "-" if self.story.level is None else str(self.story.level)
        return _digest("tr", self.story.id, self.type, level, self.story.severity.label)


def reconcile(
    findings: Findings, stories: Sequence[Story], *, organization: Organization, now: datetime
) -> list[Transition]:
    """Return what changed, ends first.

    `stories` are the organization's of this and the last period and every open one. Called again
    with the outcome of its own transitions it returns nothing.
    """
    ended = [
        _resolve(story, reason, now)
        for story in stories
        if story.is_open and (reason := _end_of(story, findings)) is not None
    ]
    told = [
        transition
        for condition in findings.conditions.values()
        if (transition := _tell(condition, findings, stories, organization, now)) is not None
    ]
    return ended + told


def _end_of(story: Story, findings: Findings) -> Reason | None:
    if story.rule not in findings.judged:
        return None
    if story.rule is Rule.BLIND:
        return None if Rule.BLIND in findings.conditions else Reason.POLLS_WORK_AGAIN
    if story.period_start < findings.period.start:
        return Reason.PERIOD_ENDED
    if story.period_start == findings.period.start and story.limit != findings.limit:
        return Reason.LIMIT_CHANGED
    return None


def _tell(
    condition: Condition,
    findings: Findings,
    stories: Iterable[Story],
    organization: Organization,
    now: datetime,
) -> Transition | None:
    limit = findings.limit if condition.rule is Rule.THRESHOLD else None
    same = [story for story in stories if _is_about(story, condition.rule, findings, limit)]
    latest = max(same, key=lambda story: (story.is_open, story.occurrence), default=None)
    # A clock that is ahead for a moment ends a period too early; what was told then stays told.
    goes_on = latest is not None and (latest.is_open or latest.reason is Reason.PERIOD_ENDED)
    if latest is not None and goes_on and not _is_above(condition, latest):
        return None
    if latest is not None and latest.is_open:
        return _escalate(latest, condition, now)
    story = Story(
        organization=organization,
        rule=condition.rule,
        period_start=findings.period.start,
        limit=limit,
        occurrence=latest.occurrence + 1 if latest else 1,
        level=condition.level,
        severity=condition.severity,
        reason=Reason.POLLS_FAIL if condition.rule is Rule.BLIND else Reason.LEVEL_REACHED,
        started_at=now,
    )
    return Transition(type=TransitionType.FIRED, reason=story.reason, story=story, at=now)


def _is_about(story: Story, rule: Rule, findings: Findings, limit: int | None) -> bool:
    if story.rule is not rule:
        return False
    if rule is Rule.BLIND and story.is_open:  # an outage goes on across the end of a period
        return True
    return story.period_start == findings.period.start and story.limit == limit


def _escalate(story: Story, condition: Condition, now: datetime) -> Transition:
    reason = Reason.BECAME_CRITICAL if condition.level is None else Reason.HIGHER_LEVEL_REACHED
    higher = replace(story, level=condition.level, severity=condition.severity, reason=reason)
    return Transition(type=TransitionType.ESCALATED, reason=reason, story=higher, at=now)


def _is_above(condition: Condition, story: Story) -> bool:
    """Tell whether a condition says more than the story has told."""
    return (condition.level or 0, condition.severity) > (story.level or 0, story.severity)


def _resolve(story: Story, reason: Reason, now: datetime) -> Transition:
    ended = replace(story, reason=reason, ended_at=now)
    return Transition(type=TransitionType.RESOLVED, reason=reason, story=ended, at=now)


def _digest(prefix: str, *parts: str) -> str:
    digest = hashlib.sha256("\n".join(parts).encode())
    return f"{prefix}_{digest.hexdigest()[:16]}"
