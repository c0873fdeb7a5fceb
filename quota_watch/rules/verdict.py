"""A verdict: what one rule says of an organization now, why, and what is to be sent of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self

from quota_watch.lib.text import plain
from quota_watch.model.period import Period
from quota_watch.model.watch import Rule, Severity


class Worded(StrEnum):
    """An enum whose members carry half a sentence each."""

    says: str

    def __new__(cls, value: str, says: str = "") -> Self:
        """Build a member from its value and its words."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.says = says
        return member


class Reason(Worded):
    """Why a step of a story was taken."""

    LEVEL_REACHED = "level_reached", "the first level reached in this period with this limit"
    HIGHER_LEVEL_REACHED = "higher_level_reached", "a higher level was reached"
    DROPPING_BEGAN = "dropping_began", "the limit was used up before; now events are dropped"
    CLOSED_OVER = "closed_over", "a closed period turned out to have exceeded its limit"

    AT_RISK = "at_risk", "the period is 85 % or more likely to end over the limit"
    WILL_EXCEED = "will_exceed", "there is strong evidence that the period ends over the limit"
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
"""Ends that people need not read about; programs get them, to close what they opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is true now and that people may need to know.

    `mark` is what the rule compares with the story's own, to see whether there is news: a date, or
    a list of sites. An event (`is_event`) is over as soon as it is reported. A quiet condition is
    shown, and sent only to programs. `period` is set where it is not the present one, `part` where
    several of a rule can be true at once. `detail` holds the figures for the message.
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

    `reason` says why in one word of the rule's own, where it has several; `says` in a sentence.
    `condition` is what to report where it is true; `end` why a story ends, where that is not the
    rule's usual reason. `figures` are what it was judged by.
    """

    state: State
    reason: StrEnum | str = ""
    says: str = ""
    condition: Condition | None = None
    end: Reason | None = None
    figures: Any = None

    @classmethod
    def of(cls, condition: Condition | None) -> Self:
        """Say that a condition is true, or that nothing is."""
        return cls(state=State.FALSE if condition is None else State.TRUE, condition=condition)


NOTHING_COUNTED = Verdict(state=State.UNKNOWN, says="nothing has been counted in this period yet")
OFF = Verdict(state=State.OFF, says="switched off in the config")


def warning(verdict: Verdict, rule: Rule, reason: Reason) -> Condition | None:
    """Make the condition of a rule that warns, with the figures of its verdict; None: not true."""
    if verdict.state is not State.TRUE:
        return None
    return Condition(
        rule=rule, severity=Severity.WARNING, reason=reason, detail=plain(verdict.figures)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The verdicts that stories may begin or end with, and the events of this moment.

    A rule that is missing here, or unknown, neither begins nor ends a story. `counted` says that
    the present period was counted, so that what was about an earlier one is over.
    """

    period: Period
    limit: int | None
    verdicts: Mapping[Rule, Verdict]
    counted: bool = False
    events: tuple[Condition, ...] = ()

    @property
    def conditions(self) -> Mapping[Rule, Condition]:
        """What is true now, by rule."""
        return {rule: each.condition for rule, each in self.verdicts.items() if each.condition}
