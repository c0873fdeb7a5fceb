"""What is watched, what can be true of it, and the two rules that must never fail."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Self

from quota_watch.domain.capped import Estimate
from quota_watch.domain.forecast import Forecast
from quota_watch.domain.limits import LimitChange, Mismatch
from quota_watch.domain.periods import ONE_DAY, Period
from quota_watch.domain.planfit import PlanFit
from quota_watch.domain.quiet import QuietHours
from quota_watch.domain.reasons import Reason
from quota_watch.domain.remedies import Remedies
from quota_watch.domain.source import ErrorKind, Organization
from quota_watch.domain.usage import Usage

if TYPE_CHECKING:
    from quota_watch.domain.foresight import Foresight

FULL = 100
"""The level, in percent, at which the limit is reached."""

_WARNING_LEVEL = 90
_BLIND_POLLS = 2


class Rule(StrEnum):
    """What an alert is about."""

    THRESHOLD = "threshold"
    FORECAST = "forecast"
    SPIKE = "spike"
    STALLED = "stalled"
    BLIND = "blind"
    LIMIT = "limit"
    MISMATCH = "mismatch"
    DELIVERY = "delivery"
    CONFIG = "config"
    DISCOVERED = "discovered"


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

    `limit` None means that no limit is known: counts are kept, levels can't be judged. With
    `auto` upstream's word on plan and limit replaces them; `drops_agreed` tells that `drops` is
    the config's word and stays. `blind_after` and `stalled_after` None switch the rule off.
    `channels` are names of the config's channels, `fallback` those for what they fail to deliver,
    every other one where it is empty. `quiet_hours` hold all but what is critical.
    `public_url` is the status page's address. `variants` are watches with what was agreed for
    single rules.
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
    auto: bool = False
    drops_agreed: bool = True
    forecast: bool = False
    spike: bool = False
    stalled_after: timedelta | None = None
    remind_every: timedelta | None = None
    remind_from: Severity = Severity.CRITICAL
    fallback: tuple[str, ...] = ()
    quiet_hours: QuietHours | None = None
    public_url: str | None = None
    variants: Mapping[Rule, Self] = field(default_factory=dict)

    def of(self, rule: Rule) -> Self:
        """Return what was agreed for `rule`."""
        return self.variants.get(rule, self)

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
    """Something that is true now and that people may have to be told.

    What has a `mark`, an ISO date, is told again when the date comes two days nearer. An event
    (`is_event`) is over as soon as it is told. `period` is given where it is not the present one,
    `subject` where several of a rule can be true at once. `detail` is for those who read of it.
    """

    rule: Rule
    severity: Severity
    reason: Reason
    level: int | None = None
    tier: str | None = None
    mark: str | None = None
    subject: str = ""
    period: Period | None = None
    is_event: bool = False
    detail: Mapping[str, Any] | None = None
    remind_every: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What an assessment came to.

    `judged` are the rules it could judge: a rule that is missing there is unknown, which
    resolves nothing. `counted` tells that the period's events were counted, so that what was before
    it is over, and `off` which rules the config has switched off since. `events` happened once.
    `ends` says why a rule's story ends where that is not the usual reason.
    """

    period: Period
    limit: int | None
    judged: frozenset[Rule]
    conditions: Mapping[Rule, Condition]
    counted: bool = False
    off: frozenset[Rule] = frozenset()
    events: tuple[Condition, ...] = ()
    ends: Mapping[Rule, Reason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of an organization at `at`, after a poll.

    After a good poll `trouble` is None and `usage` its count, measured then. After a failed one
    `usage` is what was last known of the period, if anything, measured at `measured_at`.
    `limit_changes` are upstream's, new with this poll; `compared` tells whether our count could
    be compared with upstream's own, and `mismatch` what is held of that. `fell_from` is what was
    used before where clearly less is used now. `closed` is the last period, counted once more.
    `crossing` is the day on which the limit was last foretold to be passed, after a failed poll.
    `lost` estimates what was dropped. `today_by_type` are today's counted events, `foresight` is
    what is usual and what is to come, and `forecast`, `advice` and `plan_fit` are of it, where
    there are any.
    """

    period: Period
    at: datetime
    usage: Usage | None
    measured_at: datetime | None
    trouble: Trouble | None = None
    limit_changes: tuple[LimitChange, ...] = ()
    compared: bool = False
    mismatch: Mismatch | None = None
    fell_from: int | None = None
    closed: "Closed | None" = None
    lost: Estimate | None = None
    crossing: date | None = None
    today_by_type: Mapping[str, int] = field(default_factory=dict)
    foresight: "Foresight | None" = None

    @property
    def forecast(self) -> Forecast | None:
        """What the period will come to, where that can be told."""
        seen = None if self.foresight is None else self.foresight.forecast
        return seen if isinstance(seen, Forecast) else None

    @property
    def advice(self) -> Remedies | None:
        """What would help against that, where anything is at stake."""
        return None if self.foresight is None else self.foresight.advice

    @property
    def plan_fit(self) -> PlanFit | None:
        """The smallest plan that would do."""
        return None if self.foresight is None else self.foresight.plan_fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A period that is over: what it came to, the limit it had, and what was lost of it."""

    period: Period
    used: int
    limit: int | None
    lost: Estimate | None = None


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


def assess_trouble(
    watch: Watch,
    trouble: Trouble,
    *,
    last_known: Usage | None,
    period: Period,
    now: datetime,
    crossing: date | None = None,
) -> Findings:
    """Judge a failed poll: nothing is known but how long it has been so.

    Blindness is critical where 90 % of the limit was used when last seen, or where it was to be
    passed within a day from now: `crossing` is the day that was foretold last.
    """
    conditions = {}
    if watch.blind_after is not None and is_blind(trouble, after=watch.blind_after, now=now):
        near = last_known is not None and _reached(last_known.used, watch.limit, _WARNING_LEVEL)
        due = crossing is not None and crossing <= now.date() + ONE_DAY
        severity = Severity.CRITICAL if near or due else Severity.WARNING
        conditions[Rule.BLIND] = Condition(
            rule=Rule.BLIND, severity=severity, reason=Reason.POLLS_FAIL
        )
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
