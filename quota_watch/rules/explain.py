"""Explain: what each rule says of an organization now."""

from dataclasses import dataclass

from quota_watch.model.rule import Rule
from quota_watch.rules.assess import verdicts_of
from quota_watch.rules.known import Known
from quota_watch.rules.verdict import State


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleNow:
    """What a rule says now, and in words why."""

    rule: Rule
    standing: State
    says: str


def explain(known: Known) -> list[RuleNow]:
    """Say of each rule about an organization what its verdict is: the one reconcile acts on."""
    return [
        RuleNow(rule=rule, standing=verdict.state, says=verdict.says)
        for rule, verdict in verdicts_of(known).items()
    ]
