"""What can be true of an organization, and what an assessment came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from quota_watch.model.period import Period
from quota_watch.model.rule import Rule, Severity
from quota_watch.rules.reason import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is true now and that people may have to be told.

    `mark` is what the rule compares with that of the story, to see whether there is more to tell:
    a date, or what it is about. An event (`is_event`) is over as soon as it is told. What
    `is_quiet` is shown, and sent to programs alone. `period` is given where it is not the present
    one, `subject` where several of a rule can be true at once. `detail` is for those who read of
    it.
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
    is_quiet: bool = False
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
