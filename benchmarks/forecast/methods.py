"""Ways to forecast a month, each of which learns a `Level` from the days known."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from importlib import import_module
from statistics import NormalDist, fmean, pstdev

from quota_watch.forecast.forecast import TooEarly, learn_level
from quota_watch.forecast.level import Level
from quota_watch.model.period import ONE_DAY, Period, each_day

Method = Callable[[Mapping[date, int], Period, date], Level | TooEarly]

_Z10 = NormalDist().inv_cdf(0.9)
_MONTH, _HALF_YEAR, _WEEK = 28, 182, 7
_LEAST_SPREAD, _MOST_SPREAD = 0.01, 3.0


def ours(history: Mapping[date, int], period: Period, as_of: date) -> Level | TooEarly:
    """Learn as quota-watch does."""
    return learn_level(history, period=period, as_of=as_of)


def straight_line(history: Mapping[date, int], period: Period, as_of: date) -> Level:
    """Go on as the month went so far."""
    known = [history[day] for day in each_day(period.start, as_of) if day in history]
    return _level([fmean(known)] * _WEEK, pstdev(known), (period.last_day - as_of).days)


def same_weekday(history: Mapping[date, int], period: Period, as_of: date) -> Level:
    """Expect of each weekday its mean of the last four weeks."""
    days = [day for day in each_day(as_of - _MONTH * ONE_DAY + ONE_DAY, as_of) if day in history]
    whole = fmean(history[day] for day in days)
    means = [
        fmean([history[day] for day in days if day.weekday() == weekday] or [whole])
        for weekday in range(_WEEK)
    ]
    off = pstdev([history[day] - means[day.weekday()] for day in days])
    return _level(means, off, (period.last_day - as_of).days)


def autoets(history: Mapping[date, int], period: Period, as_of: date) -> Level:
    """Let AutoETS of statsforecast choose among exponential smoothings with a week in them.

    Its path is folded to weekdays, which keeps the total.
    """
    models, numpy = import_module("statsforecast.models"), import_module("numpy")
    first = max(min(history), as_of - timedelta(days=_HALF_YEAR))
    counts = [float(history.get(day, 0)) for day in each_day(first, as_of)]
    ahead = list(each_day(as_of + ONE_DAY, period.last_day))
    found = models.AutoETS(season_length=_WEEK).forecast(
        y=numpy.array(counts), h=max(len(ahead), 1), level=[80]
    )
    path = [max(float(each), 0.0) for each in found["mean"]]
    steps = [
        (float(high) - float(mean)) / _Z10
        for high, mean in zip(found["hi-80"], found["mean"], strict=True)
    ]
    by_weekday: list[list[float]] = [[] for _ in range(_WEEK)]
    for day, expected in zip(ahead, path, strict=False):
        by_weekday[day.weekday()].append(expected)
    means = [fmean(each or path) for each in by_weekday]
    # Between errors that are independent and errors that all go the same way.
    spread = (math.hypot(*steps) + math.fsum(steps)) / 2
    return _level(means, spread / math.sqrt(max(len(ahead), 1)), len(ahead))


METHODS: Mapping[str, Method] = {
    "quota-watch": ours,
    "straight line": straight_line,
    "same weekday": same_weekday,
    "AutoETS": autoets,
}


def _level(by_weekday: Sequence[float], off_a_day: float, days: int) -> Level:
    """Return a level of these weekdays; days are off independently of each other."""
    a_day = fmean(by_weekday)
    if a_day <= 0:
        return Level(a_day=0.0, factors=(1.0,) * _WEEK, spread_down=1.0, spread_up=1.0)
    spread = off_a_day / a_day / math.sqrt(max(days, 1))
    spread = min(max(spread, _LEAST_SPREAD), _MOST_SPREAD)
    return Level(
        a_day=a_day,
        factors=tuple(mean / a_day for mean in by_weekday),
        spread_down=spread,
        spread_up=spread,
    )
