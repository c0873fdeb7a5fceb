"""The rule `mismatch`: our own count and upstream's differ."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from quota_watch.model.account import Account, Comparison, Mismatch
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import Period
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.known import Known
from quota_watch.rules.verdict import Condition, Reason, State, Verdict

_SETTLED = 2 * ENFORCED_EVERY  # after a period's start; before, their number may be the last one's
_SHARE = 20  # one part in 20, 5 %, is what two honest counts may differ
_FEW = 100  # events; a smaller difference tells nothing
_HARDLY_ANY = 5  # events; of a key that may be restricted every larger gap tells something
_ENOUGH = 500  # events; two counts smaller than this agree by accident
_NEXT_DAILY = timedelta(hours=20)  # two daily reads, however their times wander


_FALL = "fall"
_SAYS = {
    Comparison.RESTRICTED: "our count is below Rybbit's own: the key may not see all sites",
    Comparison.STALE: "Rybbit's own count is below ours",
}


def verdict(known: Known) -> Verdict:
    """Judge what is held of the two counts: two that differ for the first time are no news yet."""
    held = known.mismatch
    if held is None:
        if known.compared:
            return Verdict(state=State.FALSE, says="both counts agree")
        return Verdict(state=State.UNKNOWN, says="Rybbit's own count is not known")
    says = _SAYS.get(held.verdict, "the counts differ")
    if held.ours is not None and held.theirs is not None:
        says += f" ({held.ours:,} here, {held.theirs:,} there)"
    if not held.confirmed:
        says += "; an alert once the next day's read agrees"
        return Verdict(state=State.UNKNOWN, reason=held.verdict, says=says)
    restricted = held.verdict is Comparison.RESTRICTED
    condition = Condition(
        rule=Rule.MISMATCH,
        severity=Severity.WARNING,
        reason=Reason.KEY_SEES_LESS if restricted else Reason.UPSTREAM_COUNTS_LESS,
        detail={"ours": held.ours, "theirs": held.theirs},
    )
    return Verdict(state=State.TRUE, reason=held.verdict, says=says, condition=condition)


def events(known: Known) -> Iterator[Condition]:
    """Yield that clearly less is used now than was before."""
    if known.fell_from is not None:
        yield Condition(
            rule=Rule.MISMATCH,
            severity=Severity.WARNING,
            reason=Reason.USED_FELL,
            part=_FALL,
            is_event=True,
            detail={
                "before": known.fell_from,
                "days": None if known.past_change is None else known.past_change.days,
            },
        )


def compare(
    used: int, account: Account, *, earlier: int | None, period: Period, now: datetime
) -> Comparison:
    """Say whether our count and upstream's own differ by more than its age explains.

    `used` is what we counted of `period` at `now`, as Rybbit bills it; `earlier` what we had
    counted of it more than half an hour before, if known. Ours clearly below theirs is
    `restricted`: the key sees only some sites (UPSTREAM.md § 2). Of a member's key any gap is
    clear, for ours is the newer count; of an owner's none is, for that sees every site. Theirs
    clearly below what was already there before their last count is `stale`. Unknown where
    upstream has no limit and so no count, in the first hour of a period, and where there are too
    few events.
    """
    counted = account.counted
    opened = period.starts_at
    if account.limit is None or counted is None or now < opened + _SETTLED:
        return Comparison.UNKNOWN
    if sees_less(account, ours=used, theirs=counted):
        return Comparison.RESTRICTED
    if _clearly_below(used, counted):
        return Comparison.UNKNOWN if account.sees_every_site else Comparison.RESTRICTED
    if earlier is not None and _clearly_below(counted, earlier):
        return Comparison.STALE
    return Comparison.AGREES if max(used, counted) >= _ENOUGH else Comparison.UNKNOWN


def sees_less(account: Account, *, ours: int, theirs: int, meanwhile: int = 0) -> bool:
    """Tell whether a key that may be restricted misses events that were counted before ours.

    `meanwhile` is how many came between the two counts.
    """
    return account.may_be_restricted and theirs - ours > max(meanwhile, _HARDLY_ANY)


def _clearly_below(less: int, more: int) -> bool:
    return more - less > _FEW and (more - less) * _SHARE > more


def mismatch(
    before: Mismatch | None,
    verdict: Comparison,
    *,
    now: datetime,
    ours: int | None = None,
    theirs: int | None = None,
) -> Mismatch | None:
    """Return what is held of the two counts after one more comparison.

    Only a `confirmed` mismatch is for alerts. An unknown verdict changes nothing.
    """
    if verdict is Comparison.UNKNOWN:
        return before
    if verdict is Comparison.AGREES:
        return None
    if before is None or before.verdict is not verdict:
        return Mismatch(verdict=verdict, since=now, ours=ours, theirs=theirs)
    since = min(before.since, now)  # the clock may have gone back
    confirmed = before.confirmed or now - since >= _NEXT_DAILY
    return replace(before, since=since, confirmed=confirmed, ours=ours, theirs=theirs)
