"""The rule `mismatch`: our own count and upstream's differ."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

from quota_watch.model.account import Account
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import Period

_SETTLED = 2 * ENFORCED_EVERY  # after a period's start; before, their number may be the last one's
_SHARE = 20  # one part in 20, 5 %, is what two honest counts may differ
_FEW = 100  # events; a smaller difference tells nothing
_ENOUGH = 500  # events; two counts smaller than this agree by accident
_NEXT_DAILY = timedelta(hours=20)  # two daily reads, however their times wander


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
