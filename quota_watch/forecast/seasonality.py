"""What recurs in daily counts: weekdays, the same days a year ago, and what never does (spikes)."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

WEEK, YEAR = 7, 364
"""Days after which a weekday returns: in a week, and in a year of whole weeks."""

_SPIKE = 2.2
_BUSY, _HOLE, _HOLE_DAYS, _HOLE_FILL = 20, 0.02, 3, 0.8
_SATURDAY = 5
_WEEKEND_MEAN, _WEEKEND_VARIANCE = -0.14, 0.11
_DAY_SPREAD, _DAY_SPREAD_WEIGHT = 0.22, 3
_WEEKEND_DAYS, _WEEKDAY_DAYS, _WEEKDAY_HALF_LIFE = 56, 182, 42.0
_TYPICAL_WEEKDAY_VARIANCE, _TYPICAL_RATIO_VARIANCE = 0.02, 0.06
_LEAST_FACTOR, _HIGHEST_RATIO = 0.02, 4.0
_YEAR_AGO_BASE, _YEAR_AGO_MOST = 28, 0.4


def calmed(counts: Sequence[float]) -> list[float]:
    """Return the counts as a level may be learned from them.

    Lone spikes are cut to 2.2 times the running median of a week, but never below what every
    tenth day around reaches: bursts that recur are kept. Up to three days of next to nothing in
    a busy series are an outage, not a level, and are filled.
    """
    calm = list(counts)
    last = len(counts)
    for first in range(0, last, WEEK):
        around = sorted(counts[max(0, first - 21) : first + 14])
        usual, high = around[len(around) // 2], around[int(0.9 * (len(around) - 1))]
        for day in range(first, min(first + WEEK, last)):
            if counts[day] > high:
                calm[day] = min(counts[day], max(_SPIKE * _running_median(counts, day), high))
            elif usual > _BUSY and counts[day] < _HOLE * usual:
                calm[day] = _without_hole(counts, day)
    return calm


def _running_median(counts: Sequence[float], day: int) -> float:
    end = min(len(counts), max(0, day - 3) + WEEK)
    window = sorted(counts[max(0, end - WEEK) : end])
    return window[len(window) // 2]


def _without_hole(counts: Sequence[float], day: int) -> float:
    before = sorted(counts[max(0, day - 10) : day + 1])
    usual = before[len(before) // 2]
    holes = sum(count < _HOLE * usual for count in before)
    return _HOLE_FILL * usual if usual > _BUSY and holes <= _HOLE_DAYS else counts[day]


def weekday_factors(counts: Sequence[float], weekdays: Sequence[int]) -> list[float]:
    """Return what each weekday (0 is Monday) is to the mean day; the seven average 1.

    From little data they are shrunk: every weekday toward its half of the week, and the weekend
    toward the somewhat quieter one that most sites have.
    """
    halves = _weekend_factors(counts[-_WEEKEND_DAYS:], weekdays[-_WEEKEND_DAYS:])
    if len(counts) < 2 * WEEK:
        return halves
    sums, weights, squares = _weighted_ratios(counts, weekdays)
    if min(weights) <= 0:
        return halves
    means = [total / weight for total, weight in zip(sums, weights, strict=True)]
    scatter = sum(s - w * m * m for s, w, m in zip(squares, weights, means, strict=True))
    noise = (max(scatter, 0.0) + 3 * _TYPICAL_RATIO_VARIANCE) / (max(sum(weights) - WEEK, 0) + 3)
    means = _averaging_one(means)
    each = sum(weights) / WEEK
    spread = sum((m - h) ** 2 for m, h in zip(means, halves, strict=True)) / (WEEK - 1)
    real = (max(spread - noise / each, 0.0) * each + _TYPICAL_WEEKDAY_VARIANCE) / (each + 1)
    return _averaging_one(
        [
            max(half + (mean - half) * real / (real + noise / weight), _LEAST_FACTOR)
            for mean, half, weight in zip(means, halves, weights, strict=True)
        ]
    )


def _weekend_factors(counts: Sequence[float], weekdays: Sequence[int]) -> list[float]:
    off = [n for n, day in zip(counts, weekdays, strict=True) if day >= _SATURDAY]
    work = [n for n, day in zip(counts, weekdays, strict=True) if day < _SATURDAY]
    contrast = _WEEKEND_MEAN
    if off and sum(work) > 0:
        mean_off, mean_work = sum(off) / len(off), sum(work) / len(work)
        little = 0.025 * (mean_off + mean_work)
        seen = math.log((mean_off + little) / (mean_work + little))
        scatter = sum((n / mean_work - 1) ** 2 for n in work)
        if mean_off > 0:
            scatter += sum((n / mean_off - 1) ** 2 for n in off)
        typical = _DAY_SPREAD_WEIGHT * _DAY_SPREAD**2
        variance = (min(scatter, 8.0) + typical) / (len(counts) - 2 + _DAY_SPREAD_WEIGHT)
        variance *= 1 / len(off) + 1 / len(work)
        weight = _WEEKEND_VARIANCE / (_WEEKEND_VARIANCE + variance)
        contrast += (seen - _WEEKEND_MEAN) * weight
    return _averaging_one([1.0] * _SATURDAY + [math.exp(contrast)] * (WEEK - _SATURDAY))


def _weighted_ratios(
    counts: Sequence[float], weekdays: Sequence[int]
) -> tuple[list[float], list[float], list[float]]:
    """Return, by weekday: sum, weight and sum of squares of counts over their week's mean."""
    sums, weights, squares = [0.0] * WEEK, [0.0] * WEEK, [0.0] * WEEK
    until = list(accumulate(counts, initial=0.0))
    days, weight, fading = len(counts), 1.0, 0.5 ** (1 / _WEEKDAY_HALF_LIFE)
    for day in range(days - 1, max(0, days - _WEEKDAY_DAYS) - 1, -1):
        first = max(0, min(day - 3, days - WEEK))
        mean = (until[first + WEEK] - until[first]) / WEEK
        if mean > 0:
            ratio, weekday = min(counts[day] / mean, _HIGHEST_RATIO), weekdays[day]
            sums[weekday] += weight * ratio
            weights[weekday] += weight
            squares[weekday] += weight * ratio * ratio
        weight *= fading
    return sums, weights, squares


def six_figures(value: float) -> float:
    """Round to six figures, all that what is learned is good for: it is kept briefly then."""
    return float(f"{value:.6g}")


def _averaging_one(factors: Sequence[float]) -> list[float]:
    mean = sum(factors) / len(factors)
    return [factor / mean for factor in factors]


@dataclass(frozen=True, slots=True)
class YearAgo:
    """What the same days did a year ago, where the history reaches that far.

    `ordinals` are the days of the series; `until[n]` is the sum of its first n daily levels.
    """

    ordinals: Sequence[int]
    until: Sequence[float]

    def change(self, known: int, horizon: int) -> float | None:
        """Return by how much, as a logarithm, the days now ahead rose then over the month before.

        Ahead of the first `known` days of the series, that is. Never more than 0.4 up or down.
        """
        then = bisect_left(self.ordinals, self.ordinals[known - 1] + 1 - YEAR)
        if then < _YEAR_AGO_BASE or then + horizon >= len(self.until):
            return None
        after = (self.until[then + horizon] - self.until[then]) / horizon
        before = (self.until[then] - self.until[then - _YEAR_AGO_BASE]) / _YEAR_AGO_BASE
        little = 0.05 * self.until[-1] / len(self.ordinals) + 1e-9
        change = math.log((after + little) / (before + little))
        return max(-_YEAR_AGO_MOST, min(_YEAR_AGO_MOST, change))
