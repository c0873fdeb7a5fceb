"""The rule `limit`: which limit is in force, and what upstream changed about it.

A change for the worse is not accepted at once: while upstream's billing lookup fails, it answers
with the free plan and 200 (UPSTREAM.md § 9).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quota_watch.model.limit import (
    ENFORCED_EVERY,
    LAPSED,
    NEARLY,
    NOT_KNOWN,
    KnownLimit,
)
from quota_watch.model.period import ONE_DAY, is_over
from quota_watch.model.source import Account, Reported
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.rules.known import Known, LimitChange
from quota_watch.rules.verdict import Condition, Reason, State, Verdict


def verdict(known: Known) -> Verdict:
    """Judge whether upstream changed the limit, or a lower one is waiting for confirmation."""
    limit = known.limit
    if not known.watch.auto:
        says = "the limit is the config's, so changes at Rybbit are no alert"
        return Verdict(state=State.OFF, says=says)
    if known.limit_change is not None:
        return Verdict(
            state=State.TRUE,
            says=known.limit_change.reason.says,
            condition=_condition(known.limit_change, known),
        )
    if limit.lower_since is not None:
        lower = "no limit" if limit.lower is None else f"{limit.lower:,} events"
        says = (
            f"Rybbit says {lower} since {limit.lower_since:%Y-%m-%d %H:%M} UTC, to be confirmed by"
            f" a read at {limit.lower_since + ENFORCED_EVERY:%H:%M}"
        )
        return Verdict(state=State.UNKNOWN, says=says)
    says = "nothing new; a change at Rybbit is an alert once seen"
    return Verdict(state=State.FALSE, says=says)


def _condition(change: LimitChange, known: Known) -> Condition:
    """Report a change once; a lower limit that is already passed is critical."""
    over = known.usage is not None and is_over(known.usage.used, known.watch.limit)
    is_lower = change.reason is Reason.LIMIT_LOWERED
    return Condition(
        rule=Rule.LIMIT,
        severity=Severity.CRITICAL if over and is_lower else Severity.INFO,
        reason=change.reason,
        is_event=True,
        detail={
            name: {"limit": limit.events, "plan": limit.plan, "status": limit.status}
            for name, limit in (("before", change.before), ("after", change.after))
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitInForce:
    """The watch with the limit in force, where that comes from, and what changed about it."""

    watch: Watch
    limit: KnownLimit
    change: LimitChange | None = None


def limit_in_force(
    watch: Watch,
    before: KnownLimit = NOT_KNOWN,
    reported: Reported | None = None,
    *,
    answer: Account | None = None,
    now: datetime,
) -> LimitInForce:
    """Decide which limit is in force, and whether events past it are dropped: nothing else does.

    `watch` is what the config says. `before` is the limit in the organization's row, and `reported`
    upstream's last answer, accepted or not. `answer` is a new one of `now`, if there is one.
    """
    change = None
    limit = _limit_before(watch, before)
    if answer is not None and watch.auto:
        limit, change = accept(limit, answer, now=now)
    last = None if reported is None else reported.account
    answers = [each for each in (answer, last) if each is not None]
    if not answers and not watch.auto:
        return LimitInForce(watch=watch, limit=limit)
    has_limit = bool(answers) and answers[0].limit is not None
    in_force = replace(
        watch,
        name=_name(watch, answers),
        limit=limit.events,
        plan=limit.plan,
        limit_source=limit.source,
        drops=watch.drops if watch.drops_agreed else watch.drops or has_limit,
        limit_since=None if limit.since is None else limit.since.date(),
        lapsed_plan=limit.lapsed_plan,
    )
    return LimitInForce(watch=in_force, limit=limit, change=change)


def _name(watch: Watch, answers: Sequence[Account]) -> str:
    """Choose the config's name, else the one upstream reported last, else the id."""
    if watch.name != watch.organization.id:
        return watch.name
    return next((each.name for each in answers if each.name), watch.name)


def _limit_before(watch: Watch, before: KnownLimit) -> KnownLimit:
    """Find the limit until now: upstream's where it reported one, else the config's."""
    is_theirs = watch.auto and before.source == "upstream"
    return KnownLimit(
        events=before.events if is_theirs else watch.limit,
        source="upstream" if is_theirs else watch.limit_source,
        plan=before.plan if is_theirs else watch.plan,
        status=before.status if watch.auto else None,
        # Of the config's limit, the time is when it was last in use; that upstream has none is a
        # report as well.
        as_of=before.as_of if is_theirs or (watch.auto and before.source == "none") else None,
        lower=before.lower,
        lower_since=before.lower_since,
        since=before.since if watch.auto else None,
        paid=before.paid if watch.auto else None,
    )


def accept(
    before: KnownLimit, account: Account, *, now: datetime
) -> tuple[KnownLimit, LimitChange | None]:
    """Take in upstream's answer of `now`: the limit to go by from now on, and what to report.

    A raised limit is accepted at once. A lower one, or none where there was one, takes a second
    read at least half an hour later that agrees, or upstream already enforcing it. So does a first
    one that upstream does not enforce although its own count is past it. If upstream has no limit,
    the config's stays in force; if it does not know its own plan, nothing changes. A limit that
    was unknown before, or only in the config, is no change to report.
    """
    if account.limit is None and before.source in {"config", "plan"}:
        return replace(before, lower=None, lower_since=None), None
    if account.limit == 0:  # it does not know its own plan (UPSTREAM.md § 6)
        return before, None
    if _needs_confirmation(before, account) and not _is_confirmed(before, account, now):
        return _disputed(before, account, now), None
    after = _accepted(before, account, now)
    if after.events != before.events and before.as_of is not None:
        first = before.lower_since if before.lower == after.events else None
        after = replace(after, since=first or now)
    return after, _change(before, after)


def _needs_confirmation(before: KnownLimit, account: Account) -> bool:
    if before.events is not None:
        return account.limit is None or account.limit < before.events
    return account.enforced_over is False and _is_past(account)


def _is_confirmed(before: KnownLimit, account: Account, now: datetime) -> bool:
    """Check whether a read before agreed, or upstream drops what the limit so far lets through."""
    counted, since = account.counted, before.lower_since
    lets_through = counted is not None and before.events is not None and counted <= before.events
    if account.enforced_over and _is_past(account) and lets_through:
        return True
    if since is None or before.lower != account.limit:
        return False
    return now - since + NEARLY >= ENFORCED_EVERY


def _is_past(account: Account) -> bool:
    """Check whether upstream's own count is past its own limit; false where that is unknown."""
    return account.counted is not None and is_over(account.counted, account.limit)


def _disputed(before: KnownLimit, account: Account, now: datetime) -> KnownLimit:
    """Note a limit that is not accepted yet; its time runs on only while the answers agree."""
    since = before.lower_since
    if since is None or since > now or before.lower != account.limit:
        since = now
    return replace(before, lower=account.limit, lower_since=since)


def _accepted(before: KnownLimit, account: Account, now: datetime) -> KnownLimit:
    if account.limit is None:  # such a server says "free" without meaning it (UPSTREAM.md § 10)
        return replace(NOT_KNOWN, as_of=now)
    same = before if account.limit == before.events else NOT_KNOWN
    return KnownLimit(
        events=account.limit,
        source="upstream",
        plan=account.plan or same.plan,
        status=account.status or same.status,
        as_of=now,
        since=same.since,
        paid=before.paid if account.status in LAPSED else account.plan or before.paid,
    )


def _change(before: KnownLimit, after: KnownLimit) -> LimitChange | None:
    is_new_status = before.status and after.status and before.status != after.status
    if before.as_of is None or (before.events == after.events and not is_new_status):
        return None
    if before.events == after.events:
        reason = Reason.STATUS_CHANGED
    elif before.events is None or after.events is None:
        reason = Reason.LIMIT_REMOVED if after.events is None else Reason.LIMIT_FOUND
    else:
        raised = after.events > before.events
        reason = Reason.LIMIT_RAISED if raised else Reason.LIMIT_LOWERED
    return LimitChange(reason=reason, before=before, after=after)


def read_every(limit: KnownLimit, *, used: int | None, near: bool, story_open: bool) -> timedelta:
    """Choose how long after a read of the limit the next one is due; zero: with every poll.

    `near`: a level is about to be reached; `story_open`: an alert about one below 100 % is open.
    """
    if limit.events is not None and used is not None and used >= limit.events:
        return timedelta(0)
    return timedelta(hours=1) if near or story_open else ONE_DAY
