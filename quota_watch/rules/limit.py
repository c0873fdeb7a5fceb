"""The rule `limit`: which limit holds, and what upstream changed about it.

Upstream's word is not taken at once when it costs people something: while its billing lookup
fails it answers the free plan with 200 (UPSTREAM.md § 9).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from quota_watch.model.account import Account
from quota_watch.model.limit import (
    ENFORCED_EVERY,
    LAPSED,
    NEARLY,
    NOT_KNOWN,
    ChangeKind,
    KnownLimit,
    LimitChange,
)
from quota_watch.model.period import ONE_DAY, is_over
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.rules.known import Known
from quota_watch.rules.verdict import Condition, Reason, State, Verdict

_CHANGES = {
    ChangeKind.RAISED: Reason.LIMIT_RAISED,
    ChangeKind.LOWERED: Reason.LIMIT_LOWERED,
    ChangeKind.FOUND: Reason.LIMIT_FOUND,
    ChangeKind.REMOVED: Reason.LIMIT_REMOVED,
    ChangeKind.STATUS: Reason.STATUS_CHANGED,
}


def verdict(known: Known) -> Verdict:
    """Judge whether upstream's word on the limit is in doubt; its changes are events."""
    limit = known.limit
    if not known.watch.auto:
        says = "the limit is the config's, so changes at Rybbit are no alert"
        return Verdict(state=State.OFF, says=says)
    if limit.lower_since is not None:
        lower = "no limit" if limit.lower is None else f"{limit.lower:,} events"
        says = (
            f"Rybbit says {lower} since {limit.lower_since:%Y-%m-%d %H:%M} UTC, to be confirmed by"
            f" a read at {limit.lower_since + ENFORCED_EVERY:%H:%M}"
        )
        return Verdict(state=State.UNKNOWN, says=says)
    says = "nothing new; a change at Rybbit is an alert once seen"
    return Verdict(state=State.FALSE, says=says)


def events(known: Known) -> Iterator[Condition]:
    """Yield upstream's changes of the limit, critical where the lower one is passed already."""
    for change in known.limit_changes:
        over = known.usage is not None and is_over(known.usage.used, known.watch.limit)
        costly = change.kind is ChangeKind.LOWERED and over
        yield Condition(
            rule=Rule.LIMIT,
            severity=Severity.CRITICAL if costly else Severity.INFO,
            reason=_CHANGES[change.kind],
            is_event=True,
            detail=_detail(change),
        )


def _detail(change: LimitChange) -> dict[str, object]:
    return {
        name: {"limit": limit.events, "plan": limit.plan, "status": limit.status}
        for name, limit in (("before", change.before), ("after", change.after))
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitInForce:
    """The watch with the limit that holds, why it holds, and what is new about it."""

    watch: Watch
    limit: KnownLimit
    changes: tuple[LimitChange, ...] = ()


def limit_in_force(
    watch: Watch,
    kept: KnownLimit = NOT_KNOWN,
    account: Account | None = None,
    *,
    heard: Account | None = None,
    now: datetime,
) -> LimitInForce:
    """Decide which limit holds, and whether events past it are dropped: nothing else does.

    `watch` is what the config says. `kept` is the limit in the organization's row, and `account`
    what upstream said last, believed or not. `heard` is what it says at `now`, if it was asked.
    """
    changes: tuple[LimitChange, ...] = ()
    limit = _limit_before(watch, kept)
    if heard is not None and watch.auto:
        limit, changes = believe(limit, heard, now=now)
    answers = [each for each in (heard, account) if each is not None]
    if not answers and not watch.auto:
        return LimitInForce(watch=watch, limit=limit)
    reported = bool(answers) and answers[0].limit is not None
    agreed = replace(
        watch,
        name=_name(watch, answers),
        limit=limit.events,
        plan=limit.plan,
        limit_source=limit.source,
        drops=watch.drops if watch.drops_agreed else watch.drops or reported,
        limit_since=None if limit.since is None else limit.since.date(),
        lapsed_plan=limit.lapsed_plan,
    )
    return LimitInForce(watch=agreed, limit=limit, changes=changes)


def _name(watch: Watch, answers: Sequence[Account]) -> str:
    """Return the config's name, else the one upstream said last, else the id."""
    if watch.name != watch.organization.id:
        return watch.name
    return next((each.name for each in answers if each.name), watch.name)


def _limit_before(watch: Watch, kept: KnownLimit) -> KnownLimit:
    """Return the limit that held until now: upstream's where it said one, else the config's."""
    is_theirs = watch.auto and kept.source == "upstream"
    return KnownLimit(
        events=kept.events if is_theirs else watch.limit,
        source="upstream" if is_theirs else watch.limit_source,
        plan=kept.plan if is_theirs else watch.plan,
        status=kept.status if watch.auto else None,
        # Of a limit that is the config's, the time tells when it was last in use; that upstream
        # has none is its word too.
        as_of=kept.as_of if is_theirs or (watch.auto and kept.source == "none") else None,
        lower=kept.lower,
        lower_since=kept.lower_since,
        since=kept.since if watch.auto else None,
        paid=kept.paid if watch.auto else None,
    )


def believe(
    known: KnownLimit, account: Account, *, now: datetime
) -> tuple[KnownLimit, tuple[LimitChange, ...]]:
    """Return what is believed after upstream said `account` at `now`, and what to tell of it.

    A raised limit is believed at once. A lower one, or none where there was one, needs a second
    read at least half an hour later that says the same, or that upstream enforces it already.
    So does a first one that upstream itself does not enforce although its count is past it. No
    limit upstream leaves the config's in force, and a plan it does not know leaves whatever held.
    What only the config knew before, or nobody, is no change to tell.
    """
    if account.limit is None and known.source in {"config", "plan"}:
        return _undisputed(known), ()
    if account.limit == 0:  # it does not know its own plan (UPSTREAM.md § 6)
        return known, ()
    if _needs_agreement(known, account) and not _agreed(known, account, now):
        return _disputed(known, account, now), ()
    after = _taken(known, account, now)
    if after.events != known.events and known.as_of is not None:
        first = known.lower_since if known.lower == after.events else None
        after = replace(after, since=first or now)
    return after, _changes(known, after)


def _needs_agreement(known: KnownLimit, account: Account) -> bool:
    if known.events is not None:
        return account.limit is None or account.limit < known.events
    return account.enforced_over is False and _past(account)


def _agreed(known: KnownLimit, account: Account, now: datetime) -> bool:
    if _enforced(known, account):
        return True
    since = known.lower_since
    return (
        since is not None
        and known.lower == account.limit
        and now - since + NEARLY >= ENFORCED_EVERY
    )


def _enforced(known: KnownLimit, account: Account) -> bool:
    """Tell whether upstream drops events that the limit known so far would have let pass."""
    counted = account.counted
    explained = known.events is None or counted is None or counted > known.events
    return account.enforced_over is True and _past(account) and not explained


def _past(account: Account) -> bool:
    """Tell whether upstream's own count is past its own limit; false where it can't be told."""
    return account.counted is not None and is_over(account.counted, account.limit)


def _undisputed(known: KnownLimit) -> KnownLimit:
    return replace(known, lower=None, lower_since=None)


def _disputed(known: KnownLimit, account: Account, now: datetime) -> KnownLimit:
    """Note what was said; what was said before counts on only if it is the same."""
    since = known.lower_since
    if since is None or since > now or known.lower != account.limit:
        since = now
    return replace(known, lower=account.limit, lower_since=since)


def _taken(known: KnownLimit, account: Account, now: datetime) -> KnownLimit:
    if account.limit is None:  # such a server says "free" without meaning it (UPSTREAM.md § 10)
        return replace(NOT_KNOWN, as_of=now)
    same = known if account.limit == known.events else NOT_KNOWN
    return KnownLimit(
        events=account.limit,
        source="upstream",
        plan=account.plan or same.plan,
        status=account.status or same.status,
        as_of=now,
        since=same.since,
        paid=known.paid if account.status in LAPSED else account.plan or known.paid,
    )


def _changes(before: KnownLimit, after: KnownLimit) -> tuple[LimitChange, ...]:
    kind = None if before.as_of is None else _kind(before, after)
    return () if kind is None else (LimitChange(kind, before, after),)


def _kind(before: KnownLimit, after: KnownLimit) -> ChangeKind | None:
    if before.events == after.events:
        changed = before.status and after.status and before.status != after.status
        return ChangeKind.STATUS if changed else None
    if before.events is None or after.events is None:
        return ChangeKind.REMOVED if after.events is None else ChangeKind.FOUND
    return ChangeKind.RAISED if after.events > before.events else ChangeKind.LOWERED


def read_every(known: KnownLimit, *, used: int | None, near: bool, story_open: bool) -> timedelta:
    """Return how long after a read of the limit the next one is due; zero: with every poll.

    `near`: a level is about to be reached; `story_open`: one below 100 % has been told.
    """
    if known.events is not None and used is not None and used >= known.events:
        return timedelta(0)
    return timedelta(hours=1) if near or story_open else ONE_DAY
