"""The rule `mismatch`: our count and upstream's own differ."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import Period
from quota_watch.model.source import Account, Comparison, Mismatch
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.known import Known
from quota_watch.rules.verdict import Condition, Reason, State, Verdict

_SETTLED = 2 * ENFORCED_EVERY  # after a period's start; before, their number may be the last one's
_SHARE = 20  # one part in 20, 5 %, is what two honest counts may differ
_FEW = 100  # events; a smaller difference means nothing
_HARDLY_ANY = 5  # events; of a key that may be restricted every larger gap means something
_ENOUGH = 500  # events; two counts smaller than this agree by accident
_NEXT_DAILY = timedelta(hours=20)  # two daily reads, however their times wander


_FALL = "fall"
_SAYS = {
    Comparison.RESTRICTED: "our count is below Rybbit's own: the key may not see all sites",
    Comparison.STALE: "Rybbit's own count is below ours",
}


def verdict(known: Known) -> Verdict:
    """Judge the two counts; a difference is an alert once a second daily read confirms it."""
    mismatch = known.mismatch
    if mismatch is None:
        if known.compared:
            return Verdict(state=State.FALSE, says="both counts agree")
        return Verdict(state=State.UNKNOWN, says="Rybbit's own count is not known")
    says = _SAYS.get(mismatch.comparison, "the counts differ")
    if mismatch.ours is not None and mismatch.theirs is not None:
        says += f" ({mismatch.ours:,} here, {mismatch.theirs:,} there)"
    if not mismatch.confirmed:
        says += "; an alert once the next day's read agrees"
        return Verdict(state=State.UNKNOWN, reason=mismatch.comparison, says=says)
    restricted = mismatch.comparison is Comparison.RESTRICTED
    return Verdict(
        state=State.TRUE,
        reason=mismatch.comparison,
        says=says,
        condition=Condition(
            rule=Rule.MISMATCH,
            severity=Severity.WARNING,
            reason=Reason.KEY_SEES_LESS if restricted else Reason.UPSTREAM_COUNTS_LESS,
            detail={"ours": mismatch.ours, "theirs": mismatch.theirs},
        ),
    )


def events(known: Known) -> Iterator[Condition]:
    """Report that clearly less is used now than before."""
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
    """Compare our count with upstream's own, which may be half an hour old.

    `used` is our count of `period` at `now`, as Rybbit bills it; `earlier` the one of more than
    half an hour before, if known. Ours clearly below theirs is `restricted`: the key sees only
    some sites (UPSTREAM.md § 2). With a member's key any gap counts, as ours is the newer count;
    with an owner's none does, as it sees every site. Theirs clearly below our earlier one is
    `stale`. Unknown where upstream has no limit and so no count, in the first hour of a period,
    and where there are too few events.
    """
    counted = account.counted
    if account.limit is None or counted is None or now < period.starts_at + _SETTLED:
        return Comparison.UNKNOWN
    if sees_less(account, ours=used, theirs=counted):
        return Comparison.RESTRICTED
    if _clearly_below(used, counted):
        return Comparison.UNKNOWN if account.sees_every_site else Comparison.RESTRICTED
    if earlier is not None and _clearly_below(counted, earlier):
        return Comparison.STALE
    return Comparison.AGREES if max(used, counted) >= _ENOUGH else Comparison.UNKNOWN


def sees_less(account: Account, *, ours: int, theirs: int, meanwhile: int = 0) -> bool:
    """Check whether a key that may be restricted misses events that upstream has counted.

    `meanwhile` is how many arrived between the two counts.
    """
    return account.may_be_restricted and theirs - ours > max(meanwhile, _HARDLY_ANY)


def _clearly_below(less: int, more: int) -> bool:
    return more - less > _FEW and (more - less) * _SHARE > more


def mismatch(
    before: Mismatch | None,
    comparison: Comparison,
    *,
    now: datetime,
    ours: int | None = None,
    theirs: int | None = None,
) -> Mismatch | None:
    """Carry a mismatch on after one more comparison; an unknown one changes nothing."""
    if comparison is Comparison.UNKNOWN:
        return before
    if comparison is Comparison.AGREES:
        return None
    if before is None or before.comparison is not comparison:
        return Mismatch(comparison=comparison, since=now, ours=ours, theirs=theirs)
    since = min(before.since, now)  # the clock may have gone back
    return replace(
        before,
        since=since,
        confirmed=before.confirmed or now - since >= _NEXT_DAILY,
        ours=ours,
        theirs=theirs,
    )
