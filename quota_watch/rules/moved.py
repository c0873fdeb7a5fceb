"""The rule `moved`: past days grew suddenly, as a site with a history was moved here."""

from collections.abc import Mapping
from datetime import date

from quota_watch.lib.text import plain
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.known import Known, PastChange
from quota_watch.rules.verdict import Condition, Reason, State, Verdict

_SHARE, _LEAST = 0.05, 100  # of what past days had, and events; less is late correction
_LEAST_DAYS = 2  # one day alone may have been counted late


def verdict(known: Known) -> Verdict:
    """Judge whether past days grew with this poll; that is reported once."""
    change = known.past_change
    if change is None or not has_moved_in(change):
        return Verdict(state=State.FALSE, says="no past days changed much")
    return Verdict(
        state=State.TRUE,
        says=f"{change.days} past days grew",
        condition=Condition(
            rule=Rule.MOVED,
            severity=Severity.INFO,
            reason=Reason.PAST_DAYS_GREW,
            is_event=True,
            detail=plain(change),
        ),
    )


def past_change(before: Mapping[date, int], after: Mapping[date, int]) -> PastChange | None:
    """Compare the counts of past days by date; None: they are the same."""
    days = [day for day, used in before.items() if after.get(day, used) != used]
    if not days:
        return None
    return PastChange(
        before=sum(before.values()),
        after=sum(after.get(day, used) for day, used in before.items()),
        days=len(days),
    )


def has_moved_in(change: PastChange) -> bool:
    """Tell a site with a history from a late correction, by how much grew on how many days."""
    least = change.before + max(_LEAST, change.before * _SHARE)
    return change.days >= _LEAST_DAYS and change.after > least
