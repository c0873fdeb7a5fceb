"""What a day usually has, and how far days stray from it: the measure of `spike` and `stalled`.

A lone odd day is no part of it: levels are medians, or means of days without lone spikes, and no
day is measured against itself.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from statistics import fmean, median, pstdev

from quota_watch.forecast.seasonality import WEEK, calmed, six_figures, weekday_factors
from quota_watch.model.period import ONE_DAY

ENOUGH_DAYS = 7
"""Known days without which nothing is usual."""

_MEMORY = 8 * WEEK
_MONTH = 4 * WEEK
_TYPICAL, _TYPICAL_DAYS = 0.35, 5
_ONE_IN_TEN, _Z10, _FARTHEST = 10, 1.2816, 4.0
_LONE, _BEYOND_HABIT, _BEYOND_CHANCE, _MOST_SKEWED = 2, 1.25, 3.0, 4.0
_SPARSE = 4
_QUIET, _QUIET_LEAST = 0.02, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What days usually have, in counted events.

    `busy` and `slow` are levels of a mean day: the higher and the lower of the medians of the last
    week and the last four; `busy` is at least their mean, which counts where bursts are usual.
    `spread_up` and `spread_down` are standard deviations of the logarithm of a day over what was
    expected of it. `reach` is the level that habit and chance get to: a quarter over the third
    busiest day, and what all but the two busiest make likely once a year (no day is left out where
    many have nothing). `quiet_runs` tells how many days each silence lasted that ended by itself.
    """

    days: int
    busy: float
    slow: float
    factors: tuple[float, ...]
    spread_up: float
    spread_down: float
    reach: float
    quiet_runs: tuple[int, ...]

    def most(self, day: date) -> float:
        """Return what to expect of `day` when asking whether it has too much."""
        return self.busy * self.factors[day.weekday()]

    def highest(self, day: date) -> float:
        """Return what `day` can have by habit or chance."""
        return self.reach * self.factors[day.weekday()]

    def least(self, day: date) -> float:
        """Return what to expect of `day` when asking whether it has too little."""
        return self.slow * self.factors[day.weekday()]


def usual_days(
    counted: Mapping[date, int], *, before: date, excluded: Collection[date] = ()
) -> Usual | None:
    """Learn from the days of the eight weeks before `before`; None where they are too few.

    Days that are missing or `excluded` (capped) teach nothing, nor do those before the first
    event.
    """
    days = [
        day
        for day in (before - timedelta(days=n) for n in range(_MEMORY, 0, -1))
        if day in counted and day not in excluded
    ]
    first = next((n for n, day in enumerate(days) if counted[day]), len(days))
    days = days[first:]
    if len(days) < ENOUGH_DAYS:
        return None
    values = [counted[day] for day in days]
    weekdays = [day.weekday() for day in days]
    calm = calmed(values)
    is_sparse, factors = _factors(values, calm, weekdays)
    flat = [count / factors[day] for count, day in zip(calm, weekdays, strict=True)]
    levels = [_levels(flat[:known]) for known in range(ENOUGH_DAYS, len(flat) + 1)]
    past = [
        (day, counted[day], slow * factors[day.weekday()], busy * factors[day.weekday()])
        for day, (slow, busy) in zip(days[ENOUGH_DAYS:], levels, strict=False)
    ]
    slow, busy = levels[-1]
    return Usual(
        days=len(days),
        busy=six_figures(busy),
        slow=six_figures(slow),
        factors=tuple(map(six_figures, factors)),
        spread_up=_spread([_stray(count, most) for _, count, _, most in past]),
        spread_down=_spread([-_stray(count, least) for _, count, least, _ in past]),
        reach=_reach(
            [n / factors[day] for n, day in zip(values, weekdays, strict=True)],
            lone=0 if is_sparse else _LONE,
        ),
        quiet_runs=_runs([day for day, count, least, _ in past if _is_quiet(count, least)]),
    )


def _factors(
    values: Sequence[int], calm: Sequence[float], weekdays: Sequence[int]
) -> tuple[bool, Sequence[float]]:
    """Return whether days are sparse, and what each weekday is to the mean day.

    Where even on the better weekdays a fourth of the days have nothing, weekdays are chance.
    """
    factors = weekday_factors(calm, weekdays)
    better = median(factors)
    counts = [n for n, day in zip(values, weekdays, strict=True) if factors[day] >= better]
    is_sparse = counts.count(0) * _SPARSE >= len(counts)
    return is_sparse, [1.0] * WEEK if is_sparse else factors


def _levels(flat: Sequence[float]) -> tuple[float, float]:
    week, month = median(flat[-WEEK:]), median(flat[-_MONTH:])
    return min(week, month), max(week, month, fmean(flat[-_MONTH:]))


def _stray(count: int, expected: float) -> float:
    return math.log((count + 1) / (expected + 1))


def _spread(strays: Sequence[float]) -> float:
    """Return the spread toward the greater end, mixed with a typical one where days are few."""
    if not strays:
        return _TYPICAL
    high = sorted(strays)[-1 - len(strays) // _ONE_IN_TEN]
    seen = min(max(high, 0.0), _FARTHEST) / _Z10
    whole = len(strays) * seen**2 + _TYPICAL_DAYS * _TYPICAL**2
    return six_figures(math.sqrt(whole / (len(strays) + _TYPICAL_DAYS)))


def _reach(flat: Sequence[float], *, lone: int) -> float:
    """Return the level not passed once a year by chance; the `lone` busiest days are no chance.

    Three standard deviations over the mean, and as many more as days are skewed: six or seven
    where most have nothing and some a burst.
    """
    rest = sorted(flat)[: len(flat) - lone]
    mean, deviation = fmean(rest), pstdev(rest)
    skew = fmean((n - mean) ** 3 for n in rest) / deviation**3 if deviation else 0.0
    deviations = _BEYOND_CHANCE + min(max(skew, 0.0), _MOST_SKEWED)
    return six_figures(max(_BEYOND_HABIT * rest[-1], mean + deviations * deviation))


def _is_quiet(count: int, expected: float) -> bool:
    return expected >= _QUIET_LEAST and count <= _QUIET * expected


def _runs(days: Sequence[date]) -> tuple[int, ...]:
    """Return the lengths of the runs of consecutive days."""
    starts = (day - n * ONE_DAY for n, day in enumerate(days))
    return tuple(len(list(run)) for _, run in groupby(starts))
