"""A verdict: what one rule says of an organization now, why, and what is to be told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self

from quota_watch.lib.text import plain
from quota_watch.model.period import Period
from quota_watch.model.watch import Rule, Severity


class Worded(StrEnum):
    """Names that have the words for them beside: half a sentence each."""

    says: str

    def __new__(cls, value: str, says: str = "") -> Self:
        """Build a name that is its value and has its words beside it."""
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.says = says
        return reason


class Reason(Worded):
    """Why a step of a story was taken."""

    LEVEL_REACHED = "level_reached", "the first level reached in this period with this limit"
    HIGHER_LEVEL_REACHED = "higher_level_reached", "a higher level was reached"
    DROPPING_BEGAN = "dropping_began", "the limit was used up before; now events are dropped"
    CLOSED_OVER = "closed_over", "a closed period turned out to have exceeded its limit"

    AT_RISK = "at_risk", "the period may end over the limit"
    WILL_EXCEED = "will_exceed", "the period will probably end over the limit"
    EARLIER_DATE = (
        "earlier_date",
        "the limit is likely to be passed at least two days earlier than in the last message",
    )
    NO_LONGER_LIKELY = "no_longer_likely", "it is no longer likely"
    OVERTAKEN = "overtaken", "it has happened, and is an alert of the rule threshold"

    ABOVE_EXPECTED = "above_expected", "the day was far above what it should have been"
    AS_EXPECTED_AGAIN = "as_expected_again", "traffic is back to normal"
    NO_EVENTS = "no_events", "counted events stopped where there should be some"
    EVENTS_AGAIN = "events_again", "events are arriving again"

    POLLS_FAIL = "polls_fail", "polls failed for too long"
    POLLS_WORK_AGAIN = "polls_work_again", "polls work again"
    ALL_POLLS_FAIL = "all_polls_fail", "all organizations of the server or key failed the same way"

    LIMIT_RAISED = "limit_raised", "Rybbit raised the limit"
    LIMIT_LOWERED = "limit_lowered", "Rybbit lowered the limit"
    LIMIT_FOUND = "limit_found", "Rybbit reported a limit for the first time"
    LIMIT_REMOVED = "limit_removed", "Rybbit no longer reports a limit"
    STATUS_CHANGED = "status_changed", "the subscription has another status"
    LIMIT_CHANGED = "limit_changed", "another limit is in force now"

    KEY_SEES_LESS = "key_sees_less", "our count was clearly below Rybbit's own"
    UPSTREAM_COUNTS_LESS = "upstream_counts_less", "our count was clearly above Rybbit's own"
    COUNTS_AGREE_AGAIN = "counts_agree_again", "both counts agree again"
    USED_FELL = "used_fell", "more than 5 % of what was used was gone"

    CHANNEL_FAILS = "channel_fails", "the channel kept failing"
    CHANNEL_WORKS_AGAIN = "channel_works_again", "the channel accepted a message again"
    CONFIG_REFUSED = "config_refused", "a new config was refused"
    CONFIG_ACCEPTED = "config_accepted", "a valid config was loaded"
    DISCOVERED = "discovered", "the key can see an organization the config does not name"

    RYBBIT_DROPS_EVENTS = "rybbit_drops_events", "Rybbit's own flag says it drops events"
    RYBBIT_TAKES_EVENTS = (
        "rybbit_takes_events",
        "two reads of Rybbit's flag say it no longer drops events",
    )

    SITES_NEED_PLAN = "sites_need_plan", "sites collected nothing: Rybbit requires a plan"
    MORE_SITES_NEED_PLAN = "more_sites_need_plan", "another site collected nothing without a plan"
    SITES_COLLECT = "sites_collect", "Rybbit no longer requires a plan for any of the sites"
    PAST_DAYS_GREW = "past_days_grew", "past days grew suddenly"
    BUDGET_REACHED = "budget_reached", "a site used so much of its budget"

    BECAME_CRITICAL = "became_critical", "it became more severe"
    STILL_TRUE = "still_true", "a reminder: it still held"
    SILENCE_ENDED = "silence_ended", "a silence ended while it still held"
    PERIOD_ENDED = "period_ended", "a new period began"
    SWITCHED_OFF = "switched_off", "the config switched the rule off"


BY_THEMSELVES = frozenset({Reason.PERIOD_ENDED, Reason.SWITCHED_OFF})
"""Ends that are no news to people, but that programs need to close what they opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is true now and that people may have to be told.

    `mark` is what the rule compares with that of the story, to see whether there is more to tell:
    a date, or what it is about. An event (`is_event`) is over as soon as it is told. What
    `is_quiet` is shown, and sent to programs alone. `period` is given where it is not the present
    one, `part` where several of a rule can be true at once. `detail` is for those who read of
    it.
    """

    rule: Rule
    severity: Severity
    reason: Reason
    level: int | None = None
    tier: str | None = None
    mark: str | None = None
    part: str = ""
    period: Period | None = None
    is_event: bool = False
    is_quiet: bool = False
    detail: Mapping[str, Any] | None = None
    remind_every: timedelta | None = None


class State(StrEnum):
    """Whether what a rule is about is true now; unknown neither begins nor ends a story."""

    TRUE = "true"
    UNKNOWN = "unknown"
    FALSE = "false"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a rule says now: reconcile acts on it, and `alerts explain` prints it.

    `reason` is why in one word of the rule's own, where it has several, and `says` in a sentence.
    `condition` is what is told where it is true; `end` why a story ends with it, where that is not
    the rule's usual reason. `figures` are what it was judged by.
    """

    state: State
    reason: StrEnum | str = ""
    says: str = ""
    condition: Condition | None = None
    end: Reason | None = None
    figures: Any = None


NOTHING_COUNTED = Verdict(state=State.UNKNOWN, says="nothing has been counted in this period yet")
OFF = Verdict(state=State.OFF, says="switched off in the config")


def warning(verdict: Verdict, rule: Rule, reason: Reason) -> Condition | None:
    """Make the condition of a rule that warns with the figures it was judged by; None: not true."""
    if verdict.state is not State.TRUE:
        return None
    return Condition(
        rule=rule, severity=Severity.WARNING, reason=reason, detail=plain(verdict.figures)
    )


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
