"""How far off the forecasts of closed periods were, in total and date, by the day of making."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean

from quota_watch.forecast.capped import crossing_day
from quota_watch.forecast.forecast import DateMemory
from quota_watch.model.period import month_of

CHECK_DAYS = (5, 10, 15, 20)
"""Days of a period at whose end its forecast is compared with what it came to."""

_LATEST_PERIODS = 6
_DAYS_BEFORE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PastForecast:
    """A forecast as it was made at the end of `as_of`, and what it told of a limit, if any."""

    as_of: date
    p10: int
    p50: int
    p90: int
    told: DateMemory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPeriod:
    """A period that is over and what its days had; `capped` where events were dropped in it."""

    start: date
    counted: Mapping[date, int]
    capped: bool = False

    @property
    def total(self) -> int:
        """What it came to."""
        return sum(self.counted.values())


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DateCheck:
    """How far off the likely day was that was told on one day of the periods that crossed later.

    `days_off` is the mean without the sign, `worst_days` the greatest. A day that was not told
    although the limit was passed counts as the one after the period.
    """

    day: int
    periods: int
    days_off: float
    worst_days: int


def accuracy(
    closed: Iterable[PastPeriod],
    kept: Mapping[date, PastForecast],
    *,
    periods: int = _LATEST_PERIODS,
) -> tuple[CheckDay, ...]:
    """Compare the last `periods` closed periods with the forecasts kept, by their `as_of`.

    A capped period came to what got through and is no measure; nor is an empty one. Where the
    day's forecast is missing, one up to two days older stands for it. A day that nothing was
    kept of is left out.
    """
    whole = [period for period in closed if not period.capped and period.total > 0]
    return tuple(
        _check(day, [(period.total, made) for period, made in pairs])
        for day, pairs in _by_day(_latest(whole, periods), kept)
    )


def date_accuracy(
    closed: Iterable[PastPeriod],
    kept: Mapping[date, PastForecast],
    *,
    periods: int = _LATEST_PERIODS,
) -> tuple[DateCheck, ...]:
    """Compare the days told with those on which the limit was passed, where it was.

    Up to there a capped period is a measure like any other.
    """
    found = []
    for day, pairs in _by_day(_latest(closed, periods), kept):
        off = [
            abs(((made.told.likely or month_of(period.start).end) - crossed).days)
            for period, made in pairs
            if made.told is not None
            and (crossed := _crossing(period, made.told.limit)) is not None
            and crossed > made.as_of
        ]
        if off:
            found.append(
                DateCheck(
                    day=day, periods=len(off), days_off=round(fmean(off), 1), worst_days=max(off)
                )
            )
    return tuple(found)


def _crossing(period: PastPeriod, limit: int) -> date | None:
    return crossing_day(period.counted, period=month_of(period.start), limit=limit)


def _latest(closed: Iterable[PastPeriod], number: int) -> list[PastPeriod]:
    return sorted(closed, key=lambda period: period.start)[-number:]


def _by_day(
    closed: Sequence[PastPeriod], kept: Mapping[date, PastForecast]
) -> Iterator[tuple[int, list[tuple[PastPeriod, PastForecast]]]]:
    """Yield the check days that something was kept of, with it."""
    for day in CHECK_DAYS:
        judged = [(period, _day_judged(kept, period.start, day)) for period in closed]
        pairs = [(period, kept[made]) for period, made in judged if made is not None]
        if pairs:
            yield day, pairs


def days_judged(made: Collection[date], start: date) -> frozenset[date]:
    """Return those of the days on which forecasts of the period were made that are judged by."""
    found = (_day_judged(made, start, day) for day in CHECK_DAYS)
    return frozenset(day for day in found if day is not None)


def _day_judged(made: Collection[date], start: date, day: int) -> date | None:
    check = start + timedelta(days=day - 1)
    days = (check - timedelta(days=n) for n in range(_DAYS_BEFORE + 1))
    return next((each for each in days if each >= start and each in made), None)


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
