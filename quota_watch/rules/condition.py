"""What can be true of an organization, and what an assessment came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from quota_watch.forecast.forecast import Forecast
from quota_watch.forecast.outlook import Foresight
from quota_watch.forecast.remedies import PlanFit, Remedies
from quota_watch.lib.figures import Estimate
from quota_watch.model.limit import LimitChange
from quota_watch.model.period import Period
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.source import Trouble
from quota_watch.model.usage import Usage
from quota_watch.rules.mismatch import Mismatch
from quota_watch.rules.reason import Reason


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
