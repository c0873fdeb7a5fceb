"""The course of a period: what its total will be at the end of each day to come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate

from quota_watch.forecast.forecast import Forecast


@dataclass(frozen=True, slots=True)
class Expected:
    """The total at the end of a day, with one chance in ten below `low` and above `high`."""

    day: date
    low: float
    likely: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAhead:
    """What is still to come on a day, and the total by its end: low, likely, high."""

    day: date
    expected: int
    p10: int
    p50: int
    p90: int


def course(
    *, as_of: date, used: int, path: Sequence[float], p10: int, p50: int, p90: int
) -> list[Expected]:
    """Return the expected totals of the days after `as_of`, from `used` to the forecast's end.

    `path` is what each of those days is expected to bring; the band opens as it does.
    """
    whole = sum(path)
    found = []
    for place, come in enumerate(accumulate(path), start=1):
        share = come / whole if whole > 0 else place / len(path)
        low, likely, high = (used + max(end - used, 0) * share for end in (p10, p50, p90))
        found.append(Expected(as_of + timedelta(days=place), low, likely, high))
    return found


def days_ahead(seen: Forecast) -> tuple[DayAhead, ...]:
    """Return the days to come; the first is today with what is left of it."""
    expected = course(
        as_of=seen.as_of, used=seen.used, path=seen.path, p10=seen.p10, p50=seen.p50, p90=seen.p90
    )
    return tuple(
        DayAhead(
            day=each.day,
            expected=round(come),
            p10=round(each.low),
            p50=round(each.likely),
            p90=round(each.high),
        )
        for come, each in zip(seen.path, expected, strict=True)
    )
