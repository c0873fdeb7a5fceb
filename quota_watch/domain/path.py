"""The way to a period's total, day by day."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate

from quota_watch.domain.forecast import Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAhead:
    """What is still to come on a day, and the total by its end: low, likely, high."""

    day: date
    expected: int
    p10: int
    p50: int
    p90: int


def days_ahead(seen: Forecast) -> tuple[DayAhead, ...]:
    """Return the days to come; all stray the same way, so the last one's totals are the period's.

    The first is today with what is left of it.
    """
    sums = list(accumulate(seen.path))
    whole = sums[-1] if sums else 0.0
    found = []
    for number, (expected, total) in enumerate(zip(seen.path, sums, strict=True), start=1):
        part = total / whole if whole > 0 else 0.0
        low, likely, high = (
            round(seen.used + (end - seen.used) * part) for end in (seen.p10, seen.p50, seen.p90)
        )
        day = seen.as_of + timedelta(days=number)
        found.append(DayAhead(day=day, expected=round(expected), p10=low, p50=likely, p90=high))
    return tuple(found)
