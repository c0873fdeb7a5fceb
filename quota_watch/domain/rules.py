"""Assess: which conditions are true now, from what was seen and what was agreed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum

from quota_watch.domain.periods import Period
from quota_watch.domain.quiet import QuietHours
from quota_watch.domain.source import ErrorKind, Organization
from quota_watch.domain.usage import Usage

FULL = 100
"""The level, in percent, at which the limit is reached."""

_WARNING_LEVEL = 90
_BLIND_POLLS = 2


class Rule(StrEnum):
    """What an alert is about."""

    THRESHOLD = "threshold"
    BLIND = "blind"


class Severity(IntEnum):
    """How much an alert matters; ordered."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def label(self) -> str:
        """The word for it, as it stands in JSON, mails and the config."""
        return self.name.lower()

    @classmethod
    def of(cls, label: str) -> "Severity":
        """Return the severity called `label`."""
        return cls[label.upper()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What to watch: an organization and all that was agreed about it.

    `limit` None means that no limit is known: counts are kept, levels can't be judged.
    `blind_after` None switches the rule off. `channels` are names of the config's channels,
    `fallback` those for what they fail to deliver: every other one where it is empty.
    `quiet_hours` hold all but what is critical.
    """

    organization: Organization
    name: str
    plan: str | None
    limit: int | None
    limit_source: str
    drops: bool
    not_counted: Collection[str]
    thresholds: tuple[int, ...]
    blind_after: timedelta | None
    channels: tuple[str, ...]
    time_zone: str = "UTC"
    fallback: tuple[str, ...] = ()
    quiet_hours: QuietHours | None = None

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels to judge, rising; 100 is always one where events are dropped."""
        return tuple(sorted({*self.thresholds, FULL} if self.drops else {*self.thresholds}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An unbroken run of failed polls: when it began, how many, and the last one's error."""

    since: datetime
    polls: int
    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is true now and that people may have to be told."""

    rule: Rule
    severity: Severity
    level: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What an assessment came to.

    `judged` are the rules it could judge: a rule that is missing there is unknown, which
    resolves nothing.
    """

    period: Period
    limit: int | None
    judged: frozenset[Rule]
    conditions: Mapping[Rule, Condition]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of an organization at `at`, after a poll.

    After a good poll `trouble` is None and `usage` its count, measured then. After a failed one
    `usage` is what was last known of the period, if anything, measured at `measured_at`.
    """

    period: Period
    at: datetime
    usage: Usage | None
    measured_at: datetime | None
    trouble: Trouble | None = None


def assess(watch: Watch, seen: Observation) -> Findings:
    """Say which conditions are true now, and which rules could be judged at all."""
    if seen.trouble is not None:
        return assess_trouble(
            watch, seen.trouble, last_known=seen.usage, period=seen.period, now=seen.at
        )
    if seen.usage is not None:
        return assess_usage(watch, seen.usage)
    return Findings(period=seen.period, limit=watch.limit, judged=frozenset(), conditions={})


def assess_usage(watch: Watch, usage: Usage) -> Findings:
    """Judge a good poll: levels reached, and that the watch can see."""
    judged, conditions = {Rule.BLIND}, {}
    if watch.limit is not None:
        judged.add(Rule.THRESHOLD)
        level = highest_level(usage.used, watch.limit, watch.levels)
        if level is not None:
            conditions[Rule.THRESHOLD] = Condition(
                rule=Rule.THRESHOLD, severity=severity_of(level), level=level
            )
    return Findings(
        period=usage.period,
        limit=watch.limit,
        judged=frozenset(judged),
        conditions=conditions,
    )


def assess_trouble(
    watch: Watch, trouble: Trouble, *, last_known: Usage | None, period: Period, now: datetime
) -> Findings:
    """Judge a failed poll: nothing is known but how long it has been so.

    Blindness is critical where 90 % of the limit was used when last seen.
    """
    conditions = {}
    if watch.blind_after is not None and is_blind(trouble, after=watch.blind_after, now=now):
        near = last_known is not None and _reached(last_known.used, watch.limit, _WARNING_LEVEL)
        severity = Severity.CRITICAL if near else Severity.WARNING
        conditions[Rule.BLIND] = Condition(rule=Rule.BLIND, severity=severity)
    return Findings(
        period=period,
        limit=watch.limit,
        judged=frozenset(conditions),
        conditions=conditions,
    )


def highest_level(used: int, limit: int, levels: Collection[int]) -> int | None:
    """Return the highest of `levels` (percent) that `used` has reached, or None."""
    return max((level for level in levels if _reached(used, limit, level)), default=None)


def severity_of(level: int) -> Severity:
    """Return how much reaching `level` percent matters."""
    if level >= FULL:
        return Severity.CRITICAL
    return Severity.WARNING if level >= _WARNING_LEVEL else Severity.INFO


def is_blind(trouble: Trouble, *, after: timedelta, now: datetime) -> bool:
    """Tell whether polls have failed so long, and at least twice, that the watch can't be trusted.

    Counted from the first failure: time in which nobody polled is not blindness.
    """
    return trouble.polls >= _BLIND_POLLS and now - trouble.since >= after


def _reached(used: int, limit: int | None, level: int) -> bool:
    return limit is not None and used * 100 >= level * limit
