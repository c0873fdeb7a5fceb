"""The course of a period: what its total will be at the end of each day to come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Expected:
    """The total at the end of a day, with one chance in ten below `low` and above `high`."""

    day: date
    low: float
    likely: float
    high: float


def course(
    *, as_of: date, used: int, path: Sequence[float], p10: int, p50: int, p90: int
) -> list[Expected]:
    """Return the expected totals of the days after `as_of`, from `used` to the forecast's end.

    `path` is what each of those days is expected to bring; the band opens as it does.
    """
    whole = sum(path)
    return [
        Expected(
            as_of + timedelta(days=place),
            *(used + max(end - used, 0) * _share(come, whole, place, len(path)) for end in ends),
        )
        for ends in [(p10, p50, p90)]
        for place, come in enumerate(accumulate(path), start=1)
    ]


def _share(come: float, whole: float, place: int, places: int) -> float:
    return come / whole if whole > 0 else place / places
