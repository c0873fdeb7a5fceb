"""Which limit is believed, and whether our own count agrees with upstream's.

Upstream's word is not taken at once when it costs people something: while its billing lookup
fails it answers the free plan with 200 (UPSTREAM.md § 9).
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Literal

from quota_watch.domain.periods import ONE_DAY, Period
from quota_watch.domain.usage import is_over

ENFORCED_EVERY = timedelta(minutes=30)
"""How often Rybbit counts and enforces; its own number is never older (UPSTREAM.md § 5)."""

LimitSource = Literal["config", "plan", "upstream", "none"]
"""Where a limit is from; `none` where there is none, or none is known yet."""

_SETTLED = 2 * ENFORCED_EVERY  # after a period's start; before, their number may be the last one's
_SHARE = 20  # one part in 20, 5 %, is what two honest counts may differ
_FEW = 100  # events; a smaller difference tells nothing
_ENOUGH = 500  # events; two counts smaller than this agree by accident
_NEXT_DAILY = timedelta(hours=20)  # two daily reads, however their times wander


@dataclass(frozen=True, slots=True)
class Site:
    """A site of an organization, as far as the key sees them."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What upstream says of an organization's plan.

    `limit` None: the server has none (self-hosted). `counted` is upstream's own count of this
    period, at most half an hour old; `enforced_over` whether it drops events since it counted
    that. Whatever upstream did not say is None.
    """

    limit: int | None
    plan: str | None = None
    status: str | None = None
    counted: int | None = None
    enforced_over: bool | None = None
    name: str | None = None
    sites: tuple[Site, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLimit:
    """The limit that is believed, and what speaks against it.

    `events` None: no limit. `as_of` is when upstream last said just this; None: it never did.
    While `lower_since` is set, upstream has said `lower` (None: no limit any more) since then
    and is not believed yet.
    """

    events: int | None
    source: LimitSource
    plan: str | None = None
    status: str | None = None
    as_of: datetime | None = None
    lower: int | None = None
    lower_since: datetime | None = None


class ChangeKind(StrEnum):
    """What is new about a limit."""

    RAISED = "raised"
    LOWERED = "lowered"
    FOUND = "found"
    REMOVED = "removed"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class LimitChange:
    """A change upstream made, to be told once; a changed limit's includes its new status."""

    kind: ChangeKind
    before: KnownLimit
    after: KnownLimit


NOT_KNOWN = KnownLimit(events=None, source="none")
"""What is known before upstream was ever asked and the config says nothing."""


def believe(
    known: KnownLimit, account: Account, *, now: datetime
) -> tuple[KnownLimit, tuple[LimitChange, ...]]:
    """Return what is believed after upstream said `account` at `now`, and what to tell of it.

    A raised limit is believed at once. A lower one, or none where there was one, needs a second
    read at least half an hour later that says the same, or that upstream enforces it already.
    So does a first one that upstream itself does not enforce although its count is past it. No
    limit upstream leaves the config's in force. What only the config knew before, or nobody,
    is no change to tell.
    """
    if account.limit is None and known.source in {"config", "plan"}:
        return _undisputed(known), ()
    if _needs_agreement(known, account) and not _agreed(known, account, now):
        return _disputed(known, account, now), ()
    after = _taken(known, account, now)
    return after, _changes(known, after)


def _needs_agreement(known: KnownLimit, account: Account) -> bool:
    if known.events is not None:
        return account.limit is None or account.limit < known.events
    return account.enforced_over is False and _past(account)


def _agreed(known: KnownLimit, account: Account, now: datetime) -> bool:
    if _enforced(known, account):
        return True
    since = known.lower_since
    return since is not None and known.lower == account.limit and now - since >= ENFORCED_EVERY


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
    if known.lower_since is not None:
        return ENFORCED_EVERY
    return timedelta(hours=1) if near or story_open else ONE_DAY


class Verdict(StrEnum):
    """What comparing our count with upstream's own came to."""

    AGREES = "agrees"
    RESTRICTED = "restricted"
    STALE = "stale"
    UNKNOWN = "unknown"


def compare(
    used: int, account: Account, *, earlier: int | None, period: Period, now: datetime
) -> Verdict:
    """Say whether our count and upstream's own differ by more than its age explains.

    `used` is what we counted of `period` at `now`, as Rybbit bills it; `earlier` what we had
    counted of it more than half an hour before, if known. Ours clearly below theirs is
    `restricted`: the key sees only some sites (UPSTREAM.md § 2). Theirs clearly below what was
    already there before their last count is `stale`. Unknown where upstream has no limit and
    so no count, in the first hour of a period, and where there are too few events.
    """
    counted = account.counted
    opened = datetime.combine(period.start, time.min, UTC)
    if account.limit is None or counted is None or now < opened + _SETTLED:
        return Verdict.UNKNOWN
    if _clearly_below(used, counted):
        return Verdict.RESTRICTED
    if earlier is not None and _clearly_below(counted, earlier):
        return Verdict.STALE
    return Verdict.AGREES if max(used, counted) >= _ENOUGH else Verdict.UNKNOWN


def _clearly_below(less: int, more: int) -> bool:
    return more - less > _FEW and (more - less) * _SHARE > more


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Two counts that differ since `since`; `confirmed` once a second daily read said so too.

    `ours` and `theirs` are what was last compared.
    """

    verdict: Verdict
    since: datetime
    confirmed: bool = False
    ours: int | None = None
    theirs: int | None = None


def mismatch(
    before: Mismatch | None,
    verdict: Verdict,
    *,
    now: datetime,
    ours: int | None = None,
    theirs: int | None = None,
) -> Mismatch | None:
    """Return what is held of the two counts after one more comparison.

    Only a `confirmed` mismatch is for alerts. An unknown verdict changes nothing.
    """
    if verdict is Verdict.UNKNOWN:
        return before
    if verdict is Verdict.AGREES:
        return None
    if before is None or before.verdict is not verdict:
        return Mismatch(verdict=verdict, since=now, ours=ours, theirs=theirs)
    since = min(before.since, now)  # the clock may have gone back
    confirmed = before.confirmed or now - since >= _NEXT_DAILY
    return replace(before, since=since, confirmed=confirmed, ours=ours, theirs=theirs)
