"""The rule `blind`: polls have failed for so long that the last count says little."""

from datetime import datetime, timedelta

from quota_watch.lib.text import span
from quota_watch.model.period import ONE_DAY, has_reached
from quota_watch.model.source import Trouble
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.known import Known
from quota_watch.rules.threshold import WARNING_LEVEL
from quota_watch.rules.verdict import OFF, Condition, Reason, State, Verdict

_BLIND_POLLS = 2


def verdict(known: Known) -> Verdict:
    """Judge how long polls have failed."""
    after, trouble = known.watch.blind_after, known.trouble
    if after is None:
        return OFF
    if not known.polled:
        return Verdict(state=State.UNKNOWN, says="nothing was polled yet")
    if trouble is None:
        return Verdict(state=State.FALSE, says="the last poll succeeded")
    polls = "1 poll has" if trouble.polls == 1 else f"{trouble.polls:,} polls have"
    says = f"{polls} failed since {trouble.since:%Y-%m-%d %H:%M} UTC"
    if not is_blind(trouble, after=after, now=known.at):
        due = f"sent after {span(after)} of failures, at least two polls"
        return Verdict(state=State.FALSE, says=f"{says}; {due}")
    return Verdict(
        state=State.TRUE,
        says=says,
        condition=Condition(rule=Rule.BLIND, severity=_severity(known), reason=Reason.POLLS_FAIL),
    )


def _severity(known: Known) -> Severity:
    """Rate it critical where 90 % was used at the last count, or the limit is due within a day."""
    usage, crossing = known.usage, known.crossing
    near = usage is not None and has_reached(usage.used, known.watch.limit, WARNING_LEVEL)
    due = crossing is not None and crossing <= known.at.date() + ONE_DAY
    return Severity.CRITICAL if near or due else Severity.WARNING


def is_blind(trouble: Trouble, *, after: timedelta, now: datetime) -> bool:
    """Check whether polls have failed for long enough, and at least twice.

    Counted from the first failure: time without any poll is not blindness.
    """
    return trouble.polls >= _BLIND_POLLS and now - trouble.since >= after
