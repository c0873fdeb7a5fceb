"""The rule `enforced`: Rybbit's own flag says that it drops events, whatever our count says.

A half-hourly job writes the flag, so it lags behind a new period and an upgrade; and the job
clears it while Rybbit's database fails (UPSTREAM.md § 5).
"""

from dataclasses import replace
from datetime import datetime

from quota_watch.model.limit import ENFORCED_EVERY, LAPSED, NEARLY
from quota_watch.model.period import has_reached
from quota_watch.model.source import Account, Reported
from quota_watch.model.watch import FULL, Rule, Severity
from quota_watch.rules.known import Known
from quota_watch.rules.verdict import Condition, Reason, State, Verdict

_LAGS = 2 * ENFORCED_EVERY  # behind a new period, a raised limit, a better plan
_NOT_KNOWN = Verdict(state=State.UNKNOWN, says="whether Rybbit drops events is not known")


def verdict(known: Known) -> Verdict:
    """Judge Rybbit's flag, unless level 100 of the rule threshold covers it."""
    reported = known.reported
    if reported is None or reported.account.enforced_over is None:
        return _NOT_KNOWN
    if _is_covered(known):
        says = "the limit in force is reached, which is an alert of the rule threshold"
        return Verdict(state=State.FALSE, says=says, end=Reason.OVERTAKEN)
    if not reported.account.enforced_over:
        return _cleared(reported, is_open=known.open_story(Rule.ENFORCED) is not None)
    trusted = _trusted_from(known, reported)
    if reported.as_of < trusted:
        says = f"Rybbit says it drops events, accepted from {trusted:%H:%M} UTC on"
        return Verdict(state=State.UNKNOWN, says=says)
    since = reported.over_since or reported.as_of
    return Verdict(
        state=State.TRUE,
        says=f"Rybbit has said since {since:%Y-%m-%d %H:%M} UTC that it drops events",
        condition=Condition(
            rule=Rule.ENFORCED,
            severity=Severity.CRITICAL,
            reason=Reason.RYBBIT_DROPS_EVENTS,
            detail={
                "since": since.isoformat(),
                "theirs": reported.account.counted,
                "their_limit": reported.account.limit,
                "plan": reported.account.plan,
                "status": reported.account.status,
            },
        ),
    )


def is_dropping(known: Known) -> bool:
    """Check whether Rybbit's flag is set, and recent enough to trust."""
    reported = known.reported
    if reported is None or not reported.account.enforced_over:
        return False
    return reported.as_of >= _trusted_from(known, reported)


def _is_covered(known: Known) -> bool:
    watch, usage = known.watch, known.usage
    if FULL in watch.levels and usage is not None and has_reached(usage.used, watch.limit, FULL):
        return True
    return any(
        story.is_open and (story.level or 0) >= FULL
        for story in known.stories_of_limit(Rule.THRESHOLD)
    )


def _cleared(reported: Reported, *, is_open: bool) -> Verdict:
    since = reported.clear_since or reported.as_of
    if is_open and reported.as_of - since + NEARLY < ENFORCED_EVERY:
        says = "Rybbit says it no longer drops events, accepted once a later read agrees"
        return Verdict(state=State.UNKNOWN, says=says)
    return Verdict(state=State.FALSE, says="Rybbit says it drops no events")


def _trusted_from(known: Known, reported: Reported) -> datetime:
    changed = known.period.starts_at
    if reported.raised_at is not None:
        changed = max(changed, reported.raised_at)
    return changed + _LAGS


def report(before: Reported | None, account: Account, *, counted: int, now: datetime) -> Reported:
    """Join upstream's answer of `now` to the earlier ones; `counted` is our own count.

    Where upstream's job could not count, it wrote 0 and cleared the flag; neither means anything
    then: the earlier answer stays.
    """
    last = before or Reported(account=replace(account, enforced_over=None), as_of=now)
    could_not_count = account.counted == 0 and account.limit is not None and counted > 0
    if could_not_count and not account.enforced_over:
        account = replace(account, counted=None, enforced_over=last.account.enforced_over)
        return replace(last, account=account, raised_at=_raised_at(last, account, now))
    over_since, clear_since = last.over_since, last.clear_since
    if account.enforced_over:
        over_since = now if clear_since else over_since or now
        clear_since = None
    elif account.enforced_over is not None and over_since is not None:
        clear_since = clear_since or now
    return Reported(
        account=account,
        as_of=now,
        over_since=over_since,
        clear_since=clear_since,
        raised_at=_raised_at(last, account, now),
    )


def _raised_at(last: Reported, account: Account, now: datetime) -> datetime | None:
    was, is_ = last.account, account
    raised = was.limit is not None and (is_.limit is None or is_.limit > was.limit)
    better = was.status in LAPSED and is_.status is not None and is_.status not in LAPSED
    return now if raised or better else last.raised_at


def is_watched_closely(reported: Reported | None, *, now: datetime) -> bool:
    """Check whether the flag is set, or was until lately, and so has to be read often."""
    if reported is None:
        return False
    cleared = reported.clear_since is not None and now - reported.clear_since < _LAGS
    return bool(reported.account.enforced_over) or cleared
