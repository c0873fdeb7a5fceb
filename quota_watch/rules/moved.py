"""The rule `moved`: past days changed at once, as a site with a history came from elsewhere."""

from collections.abc import Iterator, Mapping
from datetime import date

from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.known import Known, PastChange
from quota_watch.rules.verdict import Condition, Reason, State, Verdict

_SHARE, _LEAST = 0.05, 100  # of what past days had, and events; less is late correction
_LEAST_DAYS = 2  # one day alone may have been counted late


def verdict(known: Known) -> Verdict:
    """Say whether past days changed with this poll; what changed is told once."""
    change = known.past_change
    if change is not None and has_moved_in(change):
        return Verdict(state=State.TRUE, says=f"{change.days} past days grew")
    return Verdict(state=State.FALSE, says="no past days changed much")


def events(known: Known) -> Iterator[Condition]:
    """Yield that past days came to clearly more than before."""
    change = known.past_change
    if change is not None and has_moved_in(change):
        yield Condition(
            rule=Rule.MOVED,
            severity=Severity.INFO,
            reason=Reason.PAST_DAYS_GREW,
            is_event=True,
            detail={"before": change.before, "after": change.after, "days": change.days},
        )


def past_change(before: Mapping[date, int], after: Mapping[date, int]) -> PastChange | None:
    """Sum up what days that were over had come to, and what they come to now; None: the same."""
    days = [day for day, used in before.items() if after.get(day, used) != used]
    if not days:
        return None
    return PastChange(
        before=sum(before.values()),
        after=sum(after.get(day, used) for day, used in before.items()),
        days=len(days),
    )


def has_moved_in(change: PastChange) -> bool:
    """Tell whether so much more on so many days is a site with a history, no late correction."""
    more = change.after - change.before
    return change.days >= _LEAST_DAYS and more > max(_LEAST, change.before * _SHARE)
