"""The rule `blind`: polls have failed for so long that the watch can't be trusted."""

from datetime import date, datetime, timedelta

from quota_watch.model.period import ONE_DAY, Period
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.source import Trouble
from quota_watch.model.usage import Usage, _reached
from quota_watch.model.watch import Watch
from quota_watch.rules.condition import Condition, Findings
from quota_watch.rules.reason import Reason
from quota_watch.rules.threshold import _WARNING_LEVEL

_BLIND_POLLS = 2


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


def is_blind(trouble: Trouble, *, after: timedelta, now: datetime) -> bool:
    """Tell whether polls have failed so long, and at least twice, that the watch can't be trusted.

    Counted from the first failure: time in which nobody polled is not blindness.
    """
    return trouble.polls >= _BLIND_POLLS and now - trouble.since >= after
