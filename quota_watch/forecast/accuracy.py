"""How far off the forecasts of closed periods were, in total and date, by the day of making."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import fmean

from quota_watch.forecast.capped import crossing_day
from quota_watch.forecast.forecast import DateMemory
from quota_watch.model.period import Period

CHECK_DAYS = (5, 10, 15, 20)
"""Days of a period at whose end its forecast is compared with its final total."""

_LATEST_PERIODS = 6
_DAYS_BEFORE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PastForecast:
    """A forecast as it was made at the end of `as_of`, with the date that it showed, if any."""

    as_of: date
    p10: int
    p50: int
    p90: int
    memory: DateMemory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPeriod:
    """A period that is over and what its days had; `capped` where events were dropped in it."""

    period: Period
    counted: Mapping[date, int]
    capped: bool = False

    @property
    def total(self) -> int:
        """The total of its days."""
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
    """How far off the likely date shown on one day was, in periods that reached the limit later.

    `days_off` is the mean without the sign, `worst_days` the greatest. A date that was not shown
    although the limit was passed counts as the one after the period.
    """

    day: int
    periods: int
    days_off: float
    worst_days: int


def accuracy(
    closed: Iterable[PastPeriod],
    forecasts: Mapping[date, PastForecast],
) -> tuple[CheckDay, ...]:
    """Compare the last six closed periods with the forecasts of them, by day of making.

    A capped period counts only what got through, so it is left out, as an empty one is. Where the
    day's forecast is missing, one up to two days older is used; a day without any is left out.
    """
    whole = [period for period in closed if not period.capped and period.total > 0]
    return tuple(_check(day, pairs) for day, pairs in _by_day(whole, forecasts))


def date_accuracy(
    closed: Iterable[PastPeriod],
    forecasts: Mapping[date, PastForecast],
) -> tuple[DateCheck, ...]:
    """Compare the dates shown with those on which the limit was passed, where it was.

    Capped periods count too: nothing was dropped before that date.
    """
    checks = []
    for day, pairs in _by_day(closed, forecasts):
        off = [days for pair in pairs if (days := _days_off(*pair)) is not None]
        if off:
            mean = round(fmean(off), 1)
            checks.append(DateCheck(day=day, periods=len(off), days_off=mean, worst_days=max(off)))
    return tuple(checks)


def _days_off(closed: PastPeriod, forecast: PastForecast) -> int | None:
    """Return how far off the date was; None where the limit was not passed after the forecast."""
    if forecast.memory is None:
        return None
    limit = forecast.memory.limit
    crossing = crossing_day(closed.counted, period=closed.period, limit=limit)
    if crossing is None or crossing <= forecast.as_of:
        return None
    return abs(((forecast.memory.likely or closed.period.end) - crossing).days)


def _by_day(
    closed: Iterable[PastPeriod], forecasts: Mapping[date, PastForecast]
) -> Iterator[tuple[int, list[tuple[PastPeriod, PastForecast]]]]:
    """Yield the check days that there are forecasts for, with them."""
    latest = sorted(closed, key=lambda each: each.period)[-_LATEST_PERIODS:]
    for day in CHECK_DAYS:
        days = [(each, _day_judged(forecasts, each.period.start, day)) for each in latest]
        pairs = [(period, forecasts[as_of]) for period, as_of in days if as_of is not None]
        if pairs:
            yield day, pairs


def days_judged(forecast_days: Collection[date], start: date) -> frozenset[date]:
    """Return the days of making by whose forecasts the period is judged."""
    days = (_day_judged(forecast_days, start, day) for day in CHECK_DAYS)
    return frozenset(day for day in days if day is not None)


def _day_judged(forecast_days: Collection[date], start: date, day: int) -> date | None:
    check = start + timedelta(days=day - 1)
    days = (check - timedelta(days=n) for n in range(_DAYS_BEFORE + 1))
    return next((each for each in days if each >= start and each in forecast_days), None)


def _check(day: int, pairs: list[tuple[PastPeriod, PastForecast]]) -> CheckDay:
    errors = [100 * (forecast.p50 - period.total) / period.total for period, forecast in pairs]
    return CheckDay(
        day=day,
        periods=len(pairs),
        error_percent=round(fmean(map(abs, errors)), 1),
        worst_percent=round(max(map(abs, errors)), 1),
        bias_percent=round(fmean(errors), 1),
        in_band=sum(forecast.p10 <= period.total <= forecast.p90 for period, forecast in pairs),
    )
