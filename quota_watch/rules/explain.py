"""Explain: what each rule says of an organization now, and in words why a step was taken."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quota_watch.model.limit import KnownLimit
from quota_watch.model.rule import Rule
from quota_watch.model.schedule import span
from quota_watch.model.source import Trouble
from quota_watch.model.usage import Usage, highest_level
from quota_watch.model.watch import Watch
from quota_watch.rules.ahead import Judgements
from quota_watch.rules.blind import is_blind
from quota_watch.rules.forecast import RiskReason
from quota_watch.rules.mismatch import Mismatch, Verdict
from quota_watch.rules.reason import Reason
from quota_watch.rules.spike import SpikeReason
from quota_watch.rules.stalled import StallReason
from quota_watch.rules.verdict import Ruling

_RISK = {
    RiskReason.LIKELY_OVER: "it may end over the limit",
    RiskReason.SURE_ENOUGH: "it will probably end over the limit",
    RiskReason.STILL_POSSIBLE: "it got better, but is not safe yet",
    RiskReason.CLEARLY_BETTER: "it will not end over the limit any more",
    RiskReason.NOT_LIKELY: "not likely enough to end over the limit",
    RiskReason.LIMIT_REACHED: "the limit is reached, which the rule threshold tells",
    RiskReason.TOO_EARLY: "too few days are known to foretell the period",
    RiskReason.NO_LIMIT: "no limit is known",
}
_SPIKE = {
    SpikeReason.FAR_ABOVE_USUAL: "today is far above what is usual",
    SpikeReason.STILL_ABOVE_USUAL: "today is still above what is usual",
    SpikeReason.USUAL: "today is as usual",
    SpikeReason.TOO_SMALL: "today is above what is usual, but by too little to matter",
    SpikeReason.TOLD_TODAY: "today is above what is usual, and was told already",
    SpikeReason.NEW_USUAL: "it has lasted so long that it is the usual now",
    SpikeReason.CAPPED: "events are being dropped today, so its count tells nothing",
    SpikeReason.NO_LIMIT: "no limit is known, so what matters is not either",
    SpikeReason.TOO_LITTLE_HISTORY: "too few days are known to say what is usual",
    SpikeReason.DAY_TOO_YOUNG: "the day is too young to say that it is over",
}
_STALL = {
    StallReason.NEXT_TO_NOTHING: "next to nothing is counted where there should be events",
    StallReason.NOT_BACK_YET: "events are not back yet",
    StallReason.EVENTS_COME: "events come",
    StallReason.TOO_SPARSE: "there are too few events for a silence to tell anything",
    StallReason.SILENCES_ARE_USUAL: "such silences are usual here",
    StallReason.CAPPED: "events were dropped, so no events tell nothing",
    StallReason.TOO_LITTLE_HISTORY: "too few days are known to say what is usual",
    StallReason.NOT_SEEN: "it was not watched for long enough",
}
_MISMATCH = {
    Verdict.RESTRICTED: "our count is below Rybbit's own: the key may not see all sites",
    Verdict.STALE: "Rybbit's own count is below ours",
}
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


class Standing(StrEnum):
    """What a rule says now."""

    TRUE = "true"
    UNKNOWN = "unknown"
    FALSE = "false"
    OFF = "off"


_NOTHING_COUNTED = "nothing has been counted in this period yet"
_OFF = "switched off in the config"
_STANDINGS = {
    Ruling.TRUE: Standing.TRUE,
    Ruling.FALSE: Standing.FALSE,
    Ruling.UNKNOWN: Standing.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleNow:
    """What a rule says now, and in words why."""

    rule: Rule
    standing: Standing
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an organization at `now`, as the last polls left it.

    `watch` has the limit that is believed and `limit` what speaks against it. `usage` is None
    before the period's first good poll. `polled` tells whether there ever was a poll, `compared`
    whether Rybbit's own count is known.
    """

    watch: Watch
    now: datetime
    usage: Usage | None
    limit: KnownLimit
    trouble: Trouble | None = None
    judgements: Judgements | None = None
    mismatch: Mismatch | None = None
    polled: bool = True
    compared: bool = False


def words_of(reason: Reason) -> str:
    """Return why a step was taken, as the second half of a sentence."""
    return _WORDS[reason]


def explain(known: Known) -> list[RuleNow]:
    """Return what each rule about a single organization says now."""
    return list(_explain(known))


def _explain(known: Known) -> Iterator[RuleNow]:
    yield _threshold(known)
    yield _forecast(known)
    yield _spike(known)
    yield _stalled(known)
    yield _blind(known)
    yield _limit(known)
    yield _mismatch(known)


def _threshold(known: Known) -> RuleNow:
    watch, usage = known.watch, known.usage
    if not watch.levels:
        return _now(Rule.THRESHOLD, Standing.OFF, "there are no levels in the config")
    if watch.limit is None:
        return _now(Rule.THRESHOLD, Standing.UNKNOWN, "no limit is known, so no level is judged")
    if usage is None:
        return _now(Rule.THRESHOLD, Standing.UNKNOWN, _NOTHING_COUNTED)
    reached = highest_level(usage.used, watch.limit, watch.levels)
    higher = [level for level in watch.levels if level > (reached or 0)]
    ahead = ""
    if higher:
        away = -(-higher[0] * watch.limit // 100) - usage.used
        ahead = f"the next level, {higher[0]} %, is {away:,} events away"
    if reached is None:
        return _now(Rule.THRESHOLD, Standing.FALSE, ahead)
    here = f"level {reached} % is reached"
    return _now(Rule.THRESHOLD, Standing.TRUE, f"{here}; {ahead or 'there is no higher one'}")


def _forecast(known: Known) -> RuleNow:
    if not known.watch.forecast:
        return _now(Rule.FORECAST, Standing.OFF, _OFF)
    judged = known.judgements
    if judged is None:
        return _now(Rule.FORECAST, Standing.UNKNOWN, _NOTHING_COUNTED)
    says, chance = _RISK[judged.risk.reason], judged.probability
    if chance is not None and judged.risk.reason is not RiskReason.LIMIT_REACHED:
        says += f" (chance {_percent(chance)})"
    risk = judged.risk.risk
    if risk is not None and risk.likely is not None:
        says += f", tier {risk.tier}, likely on {risk.likely} (UTC)"
    return _now(Rule.FORECAST, _STANDINGS[judged.risk.ruling], says)


def _spike(known: Known) -> RuleNow:
    if not known.watch.spike:
        return _now(Rule.SPIKE, Standing.OFF, _OFF)
    judged = known.judgements
    if judged is None:
        return _now(Rule.SPIKE, Standing.UNKNOWN, _NOTHING_COUNTED)
    says, spike = _SPIKE[judged.spike.reason], judged.spike.spike
    if spike is not None:
        says += f": {spike.counted:,} events by then, {spike.expected:,} expected"
    return _now(Rule.SPIKE, _STANDINGS[judged.spike.ruling], says)


def _stalled(known: Known) -> RuleNow:
    if known.watch.stalled_after is None:
        return _now(Rule.STALLED, Standing.OFF, _OFF)
    judged = known.judgements
    if judged is None or judged.stall is None:
        return _now(Rule.STALLED, Standing.UNKNOWN, _NOTHING_COUNTED)
    says, stall = _STALL[judged.stall.reason], judged.stall.stall
    if stall is not None:
        says += (
            f": {stall.counted:,} events in {stall.hours:g} hours, {stall.expected:,} expected"
            " at the least"
        )
    return _now(Rule.STALLED, _STANDINGS[judged.stall.ruling], says)


def _blind(known: Known) -> RuleNow:
    after, trouble = known.watch.blind_after, known.trouble
    if after is None:
        return _now(Rule.BLIND, Standing.OFF, _OFF)
    if not known.polled:
        return _now(Rule.BLIND, Standing.UNKNOWN, "nothing was polled yet")
    if trouble is None:
        return _now(Rule.BLIND, Standing.FALSE, "the last poll worked")
    polls = "1 poll has" if trouble.polls == 1 else f"{trouble.polls:,} polls have"
    says = f"{polls} failed since {trouble.since:%Y-%m-%d %H:%M} UTC"
    if is_blind(trouble, after=after, now=known.now):
        return _now(Rule.BLIND, Standing.TRUE, says)
    told = f"told after {span(after)} of failures, two polls at least"
    return _now(Rule.BLIND, Standing.FALSE, f"{says}; {told}")


def _limit(known: Known) -> RuleNow:
    limit = known.limit
    if not known.watch.auto:
        says = "the limit is the config's, so changes at Rybbit are not told"
        return _now(Rule.LIMIT, Standing.OFF, says)
    if limit.lower_since is not None:
        lower = "no limit" if limit.lower is None else f"{limit.lower:,} events"
        says = (
            f"Rybbit has said {lower} since {limit.lower_since:%Y-%m-%d %H:%M} UTC, which is"
            " believed once a read half an hour later says so too"
        )
        return _now(Rule.LIMIT, Standing.UNKNOWN, says)
    return _now(Rule.LIMIT, Standing.FALSE, "nothing new; a change at Rybbit is told when seen")


def _mismatch(known: Known) -> RuleNow:
    held = known.mismatch
    if held is None:
        says = "both counts agree" if known.compared else "Rybbit's own count is not known"
        standing = Standing.FALSE if known.compared else Standing.UNKNOWN
        return _now(Rule.MISMATCH, standing, says)
    says = _MISMATCH.get(held.verdict, "the counts differ")
    if held.ours is not None and held.theirs is not None:
        says += f" ({held.ours:,} here, {held.theirs:,} there)"
    if held.confirmed:
        return _now(Rule.MISMATCH, Standing.TRUE, says)
    return _now(Rule.MISMATCH, Standing.UNKNOWN, f"{says}; told once the next day's read agrees")


def _now(rule: Rule, standing: Standing, says: str) -> RuleNow:
    return RuleNow(rule=rule, standing=standing, says=says)


def _percent(chance: float) -> str:
    if not 0.01 <= chance <= 0.99:  # noqa: PLR2004 - what can't be told from certain
        return "below 1 %" if chance < 0.5 else "above 99 %"  # noqa: PLR2004 - as above
    return f"{100 * chance:.0f} %"
