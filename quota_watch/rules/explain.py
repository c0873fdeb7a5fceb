"""Explain: what each rule says of an organization now, and in words why a step was taken."""

from dataclasses import dataclass

from quota_watch.model.rule import Rule
from quota_watch.rules.assess import verdicts_of
from quota_watch.rules.known import Known
from quota_watch.rules.reason import Reason
from quota_watch.rules.verdict import State

_WORDS = {
    Reason.LEVEL_REACHED: "the first level reached in this period with this limit",
    Reason.HIGHER_LEVEL_REACHED: "a higher level was reached",
    Reason.CLOSED_OVER: "a period that is over turned out to have passed its limit",
    Reason.AT_RISK: "the period may end over the limit",
    Reason.WILL_EXCEED: "the period will probably end over the limit",
    Reason.EARLIER_DATE: "the limit is likely to be passed at least two days sooner than was told",
    Reason.NO_LONGER_LIKELY: "it will probably not happen any more",
    Reason.OVERTAKEN: "it has happened, and the rule threshold tells it",
    Reason.ABOVE_EXPECTED: "the day was far above what it should have been",
    Reason.AS_EXPECTED_AGAIN: "counts are as expected again",
    Reason.NO_EVENTS: "counted events stopped where there should be some",
    Reason.EVENTS_AGAIN: "events come again",
    Reason.POLLS_FAIL: "polls failed for too long",
    Reason.POLLS_WORK_AGAIN: "polls work again",
    Reason.ALL_POLLS_FAIL: "all organizations of the server or key failed alike",
    Reason.LIMIT_RAISED: "Rybbit raised the limit",
    Reason.LIMIT_LOWERED: "Rybbit lowered the limit",
    Reason.LIMIT_FOUND: "Rybbit said a limit for the first time",
    Reason.LIMIT_REMOVED: "Rybbit has no limit any more",
    Reason.STATUS_CHANGED: "the subscription has another status",
    Reason.LIMIT_CHANGED: "another limit holds now",
    Reason.KEY_SEES_LESS: "our count was clearly below Rybbit's own",
    Reason.UPSTREAM_COUNTS_LESS: "our count was clearly above Rybbit's own",
    Reason.COUNTS_AGREE_AGAIN: "both counts agree again",
    Reason.USED_FELL: "more than 5 % of what was used was gone",
    Reason.CHANNEL_FAILS: "the channel kept failing",
    Reason.CHANNEL_WORKS_AGAIN: "the channel took a message again",
    Reason.CONFIG_REFUSED: "a new config was refused",
    Reason.CONFIG_ACCEPTED: "a good config was taken",
    Reason.DISCOVERED: "the key sees an organization that the config does not name",
    Reason.BECAME_CRITICAL: "it became more severe",
    Reason.STILL_TRUE: "a reminder: it was still true",
    Reason.SILENCE_ENDED: "a silence had ended, and it was still true",
    Reason.PERIOD_ENDED: "a new period began",
    Reason.SWITCHED_OFF: "the config has switched the rule off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleNow:
    """What a rule says now, and in words why."""

    rule: Rule
    standing: State
    says: str


def words_of(reason: Reason) -> str:
    """Say why a step was taken, as the second half of a sentence."""
    return _WORDS[reason]


def explain(known: Known) -> list[RuleNow]:
    """Say of each rule about an organization what its verdict is: the one reconcile acts on."""
    return [
        RuleNow(rule=rule, standing=verdict.state, says=verdict.says)
        for rule, verdict in verdicts_of(known).items()
    ]
