"""A verdict: what one rule says of an organization now."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from quota_watch.lib.text import plain
from quota_watch.model.rule import Rule, Severity
from quota_watch.rules.condition import Condition
from quota_watch.rules.reason import Reason


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
