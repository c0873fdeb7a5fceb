"""How far off the forecasts of closed periods were, by the day they were made."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean

CHECK_DAYS = (5, 10, 15, 20)
"""Days of a period at whose end its forecast is compared with what it came to."""

_LATEST_PERIODS = 6
_DAYS_BEFORE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PastForecast:
    """A forecast as it was made at the end of `as_of`."""

    as_of: date
    p10: int
    p50: int
    p90: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPeriod:
    """A period that is over and what it came to; `capped` where events were dropped in it."""

    start: date
    total: int
    capped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDay:
    """How forecasts made on one day of the period did.

    `error_percent` is the mean of the absolute errors in percent of the total, `worst_percent` the
    greatest of them, `bias_percent` the mean with its sign (above zero: the forecast was too high),
    `in_band` the number of periods that ended between p10 and p90.
    """

    day: int
    periods: int
    error_percent: float
    worst_percent: float
    bias_percent: float
    in_band: int


def accuracy(
    closed: Iterable[PastPeriod],
    kept: Mapping[date, PastForecast],
    *,
    periods: int = _LATEST_PERIODS,
    check_days: Iterable[int] = CHECK_DAYS,
) -> tuple[CheckDay, ...]:
    """Compare the last `periods` closed periods with the forecasts kept, by their `as_of`.

    A capped period came to what got through and is no measure; nor is an empty one. Where the
    day's forecast is missing, one up to two days older stands for it. A day that nothing was
    kept of is left out.
    """
    latest = sorted(
        (period for period in closed if not period.capped and period.total > 0),
        key=lambda period: period.start,
    )[-periods:]
    found = []
    for day in check_days:
        pairs = [
            (period.total, made)
            for period in latest
            if (made := _made_on(kept, period.start, day)) is not None
        ]
        if pairs:
            found.append(_check(day, pairs))
    return tuple(found)


def days_judged(made: Collection[date], start: date) -> frozenset[date]:
    """Return those of the days on which forecasts of the period were made that are judged by."""
    found = (_day_judged(made, start, day) for day in CHECK_DAYS)
    return frozenset(day for day in found if day is not None)


def _day_judged(made: Collection[date], start: date, day: int) -> date | None:
    check = start + timedelta(days=day - 1)
    days = (check - timedelta(days=n) for n in range(_DAYS_BEFORE + 1))
    return next((each for each in days if each >= start and each in made), None)


def _made_on(kept: Mapping[date, PastForecast], start: date, day: int) -> PastForecast | None:
    made = _day_judged(kept, start, day)
    return None if made is None else kept[made]


def _check(day: int, pairs: list[tuple[int, PastForecast]]) -> CheckDay:
    errors = [100 * (made.p50 - total) / total for total, made in pairs]
    return CheckDay(
        day=day,
        periods=len(pairs),
        error_percent=round(fmean(abs(error) for error in errors), 1),
        worst_percent=round(max(abs(error) for error in errors), 1),
        bias_percent=round(fmean(errors), 1),
        in_band=sum(made.p10 <= total <= made.p90 for total, made in pairs),
    )
