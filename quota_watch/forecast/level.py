"""The level of the days ahead, and how far off such a guess has been before.

Several ways to guess are replayed on the series' own past, over as many days as lie ahead now.
Those that did better weigh more, what they have in common is corrected, and what remains wrong
is the band. The steps that constants belong to are those of docs/forecast.md.
"""

import math
import operator
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean

WEEK, YEAR = 7, 364
"""Days after which a weekday returns: in a week, and in a year of whole weeks."""

# Step 1: spikes. The cut is worth 1 % of the error; sparing it where the median is below 3 takes
# another 1 % off, and 6 % in first months of under 1,000 events.
_SPIKE, _SPARSE = 2.2, 3
# Step 3: bursts come again only where there is a month to see them in. Step 1 too: of an import on
# the first day nothing is expected to follow.
_BURSTS_AFTER, _FEW_BURSTS = 28, 3

# Step 2: weekdays. With half a weekend day's worth of doubt the error in first months is 0.5 to
# 4 % less than with three; the doubt of single weekdays is flat ground from 2 to 4.
_SATURDAY = 5
_WEEKEND, _WEEKEND_DAYS, _HALF_DOUBT = 0.87, 56, 0.5
_WEEKDAY_DAYS, _WEEKDAY_HALF_LIFE, _WEEKDAY_DOUBT = 126, 42.0, 3.0
_LEAST_FACTOR, _HIGHEST_RATIO = 0.02, 4.0

# Step 3: levels. Without that of 3 days the error is 0.5 to 2.3 % greater, without that of 7
# 0.4 to 0.8, with a single one 5 %. Starting anew at shifts is worth up to 3.6 %.
_QUICK, _SLOW = 3, 60
_BURSTS_HALF_LIFE, _BURST_MOST = 28, 2.0
_PRIOR = (0.20, 0.28, 0.13, 0.39)
_SHIFT_SHOWN, _SHIFT_CLEAR = 5, 1.05

# Step 4: replay, which is worth 3 % of the error. 240 days of it instead of 300 would cost 0.8 %,
# and 400 would cost 0.5: they reach back to where the levels had not settled.
_REPLAYS, _REPLAY_EVERY, _REPLAY_DAYS, _FARTHEST = 20, 6, 300, 1.0
_CHOOSINESS, _CHOOSE_AFTER = 15.0, 3.0
# Correcting what guesses have in common takes 3 to 6 % off the error of made series, of which
# some grow steadily, and costs real ones 0.5 %.
_BIAS_AFTER, _BIAS_DOUBT = 2.0, 12.0

# Step 5: last year. It is worth 4 % of the error of one set of real series and costs another 2:
# a third of the change is between them. Learning the share of each series was no better.
_YEAR_SHARE, _YEAR_AGO_BASE, _YEAR_AGO_MOST = 0.35, 28, 0.4

# Step 6: the band. One spread, a little less of it down, is as wide as two that are learned apart,
# and as good in the odds (Brier score 0.089 against 0.090 on real series).
_SPREAD_LEAST, _SPREAD_OF_DAYS, _SPREAD_NEW, _SPREAD_WEIGHT = 0.03, 0.78, 2.0, 2.0
_UNEVEN, _UNEVEN_DOUBT, _UNEVEN_LEAST = 0.25, 3, 0.02
_DOWN = 0.85
# Under 1,000 events a month the band holds 78 % of the totals with it, 69 without; in first months
# 82 and 71.
_CHANCE_DAYS, _CLUMP, _CLUMP_DOUBT = 28, 8.0, 3
# After a third remained for a week the band holds 75 % with it, 65 without.
_APART, _RUNS = 1.3, ((3, 1.0), (5, 0.5), (7, 0.2))
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What the days ahead are like.

    `a_day` is the events of a mean day; `factors` what each weekday is to it. `spread_down` and
    `spread_up` are standard deviations of the logarithm of the sum of the days ahead. `silent`
    days without events came last, in what is taken for an outage.
    """

    a_day: float
    factors: tuple[float, ...]
    spread_down: float
    spread_up: float
    silent: int = 0


def fit_level(
    counts: Sequence[int], ordinals: Sequence[int], horizon: int, *, silent: int = 0
) -> Level:
    """Fit the level of the next `horizon` days (at least one), and its spread.

    `counts` are those of the days to learn from, oldest first, at least one; `ordinals` their
    dates. After them came `silent` days without events that are taken for an outage.
    """
    weekdays = [(ordinal - 1) % WEEK for ordinal in ordinals]
    calm = calmed(counts)
    factors = weekday_factors(calm, weekdays)
    expected = [factors[day] for day in weekdays]
    flat = list(map(operator.truediv, calm, expected))
    season = _season(flat, ordinals, horizon)
    little = 0.02 * fmean(flat[-90:]) + 1e-9
    levels = _levels(counts, expected, flat)
    replays, independent = _replay(counts, expected, levels, horizon=horizon, little=little)
    weights = _weigh(replays, independent)
    errors = [_dot(weights, each) for each in zip(*replays, strict=True)]
    bias = _bias(errors, independent)
    guess = _dot(weights, [math.log(level[-1] + little) for level in levels])
    uneven = _uneven(flat, levels[1], little)
    spread = _spread([error - bias for error in errors], independent, uneven, len(flat))
    a_day = max(math.exp(guess + bias + season) - little, 0.0)
    raw = list(map(operator.truediv, counts[-_CHANCE_DAYS:], expected[-_CHANCE_DAYS:]))
    chance = _chance(raw, max(a_day, 1 / horizon), horizon)
    above = [math.log((n + little) / (a_day + little)) for n in raw[-WEEK:]]
    return Level(
        a_day=six_figures(a_day) if a_day > _NOTHING else 0.0,
        factors=tuple(map(six_figures, factors)),
        spread_down=six_figures(
            math.hypot(_DOWN * spread, chance, _apart([-n for n in above], uneven))
        ),
        spread_up=six_figures(math.hypot(spread, chance, _apart(above, uneven))),
        silent=silent,
    )


def calmed(counts: Sequence[float]) -> list[float]:
    """Return the counts as a level may be learned from them: lone spikes are cut.

    To 2.2 times the running median of a week, but never below what every tenth day around
    reaches: bursts that recur are kept. So are all where days have next to nothing, as bursts are
    what there is; but in a first month one or two days with events are no sign of more.
    """
    calm = list(counts)
    last = len(counts)
    for first in range(0, last, WEEK):
        around = sorted(counts[max(0, first - 21) : first + 14])
        usual, high = around[len(around) // 2], around[int(0.9 * (len(around) - 1))]
        is_new = last < _BURSTS_AFTER and sum(count > 0 for count in around) < _FEW_BURSTS
        if usual >= _SPARSE or is_new:
            for day in range(first, min(first + WEEK, last)):
                if counts[day] > high:
                    calm[day] = min(counts[day], max(_SPIKE * _running_median(counts, day), high))
    return calm


def _running_median(counts: Sequence[float], day: int) -> float:
    end = min(len(counts), max(0, day - 3) + WEEK)
    window = sorted(counts[max(0, end - WEEK) : end])
    return window[len(window) // 2]


def weekday_factors(counts: Sequence[float], weekdays: Sequence[int]) -> list[float]:
    """Return what each weekday (0 is Monday) is to the mean day; the seven average 1.

    From little data they are shrunk: every weekday toward its half of the week, and the weekend
    toward the somewhat quieter one that most sites have.
    """
    halves = _weekend_factors(counts[-_WEEKEND_DAYS:], weekdays[-_WEEKEND_DAYS:])
    if len(counts) < 2 * WEEK:
        return halves
    sums, weights = [_WEEKDAY_DOUBT * half for half in halves], [_WEEKDAY_DOUBT] * WEEK
    until = list(accumulate(counts, initial=0.0))
    days, weight, fading = len(counts), 1.0, 0.5 ** (1 / _WEEKDAY_HALF_LIFE)
    for day in range(days - 1, max(0, days - _WEEKDAY_DAYS) - 1, -1):
        first = max(0, min(day - 3, days - WEEK))
        mean = (until[first + WEEK] - until[first]) / WEEK
        if mean > 0:
            sums[weekdays[day]] += weight * min(counts[day] / mean, _HIGHEST_RATIO)
            weights[weekdays[day]] += weight
        weight *= fading
    return _averaging_one(
        [max(total / each, _LEAST_FACTOR) for total, each in zip(sums, weights, strict=True)]
    )


def _weekend_factors(counts: Sequence[float], weekdays: Sequence[int]) -> list[float]:
    off = [n for n, day in zip(counts, weekdays, strict=True) if day >= _SATURDAY]
    work = [n for n, day in zip(counts, weekdays, strict=True) if day < _SATURDAY]
    weekend = _WEEKEND
    if off and sum(work) > 0:
        ratio = min(fmean(off) / fmean(work), _HIGHEST_RATIO)
        weekend = (len(off) * ratio + _HALF_DOUBT * _WEEKEND) / (len(off) + _HALF_DOUBT)
    return _averaging_one([1.0] * _SATURDAY + [max(weekend, _LEAST_FACTOR)] * (WEEK - _SATURDAY))


def six_figures(value: float) -> float:
    """Round to six figures: more would be false precision, and is stored."""
    return float(f"{value:.6g}")


def _averaging_one(factors: Sequence[float]) -> list[float]:
    mean = sum(factors) / len(factors)
    return [factor / mean for factor in factors]


def _levels(
    counts: Sequence[int], expected: Sequence[float], flat: Sequence[float]
) -> list[list[float]]:
    """Return levels after each day: calm ones, quick to slow, and one with bursts and all.

    A burst is expected again only where there is a month to see it in. After a shift the second
    starts anew; the one with bursts only after a fall, for most rises are campaigns and pass.
    """
    # Counts vary with more than the root of what is expected and less than all of it: between
    # counting quiet weekends in full and weighing them by their size lies the root.
    weights = list(map(math.sqrt, expected))
    weighted = list(map(operator.mul, flat, weights))
    slow = _fading_means(weighted, weights, _SLOW)
    shifts = _shifts(flat, slow)
    week = _fading_means(weighted, weights, WEEK, shifts)
    quick = _fading_means(weighted, weights, _QUICK)
    if len(counts) >= _BURSTS_AFTER:
        weighted = [
            min(count / weight, _BURST_MOST * calm)
            for count, weight, calm in zip(counts, weights, weighted, strict=True)
        ]
    falls = [day for day in shifts if flat[day] < slow[day]]
    return [quick, week, slow, _fading_means(weighted, weights, _BURSTS_HALF_LIFE, falls)]


def _fading_means(
    weighted: Sequence[float],
    weights: Sequence[float],
    half_life: float,
    shifts: Collection[int] = (),
) -> list[float]:
    """Return, after each day, the mean so far in which a day's weight halves every `half_life`.

    On the days of `shifts` it starts anew, from the days that showed the shift.
    """
    fading, means = 0.5 ** (1 / half_life), []
    starts = [0, *sorted(shifts)]
    for start, end in zip(starts, [*starts[1:], len(weighted)], strict=True):
        window = slice(start - _SHIFT_SHOWN + 1, start) if start else slice(0)
        total, weight = sum(weighted[window]), sum(weights[window])
        for count, each in zip(weighted[start:end], weights[start:end], strict=True):
            total = total * fading + count
            weight = weight * fading + each
            means.append(total / weight)
    return means


def _shifts(flat: Sequence[float], slow: Sequence[float]) -> set[int]:
    """Return the days by which a new level has shown.

    That is five days in a row, all clearly beyond what the three weeks before them had.
    """
    shifts: set[int] = set()
    above = list(map(operator.gt, flat, slow))
    since = run = 0
    for day in range(1, len(flat)):
        run = run + 1 if above[day] == above[day - 1] else 1
        first = day - _SHIFT_SHOWN + 1
        if run < _SHIFT_SHOWN or first - since < _SHIFT_SHOWN:
            continue
        recent, before = flat[first : day + 1], flat[max(since, first - 3 * WEEK) : first]
        if (
            min(recent) > _SHIFT_CLEAR * max(before)
            if above[day]
            else max(recent) * _SHIFT_CLEAR < min(before)
        ):
            shifts.add(day)
            since = first
    return shifts


def _replay(
    counts: Sequence[int],
    expected: Sequence[float],
    levels: Sequence[Sequence[float]],
    *,
    horizon: int,
    little: float,
) -> tuple[list[list[float]], float]:
    """Return by how much each level was too low at past moments, as logarithms.

    They are those at which the days then ahead, `horizon` of them, are known by now. Also how many
    of them would say as much if they did not overlap.
    """
    newest = len(counts) - horizon
    step = max(1, min(_REPLAY_EVERY, newest // _REPLAYS))
    counted = list(accumulate(counts, initial=0))
    usual = list(accumulate(expected, initial=0.0))
    places = range(newest, max(WEEK, newest - _REPLAY_DAYS) - 1, -step)
    events = [
        math.log(
            (counted[known + horizon] - counted[known]) / (usual[known + horizon] - usual[known])
            + little
        )
        for known in places
    ]
    errors = [
        [
            max(-_FARTHEST, min(_FARTHEST, log - math.log(level[known - 1] + little)))
            for known, log in zip(places, events, strict=True)
        ]
        for level in levels
    ]
    return errors, len(places) * step / max(horizon, step)


def _weigh(replays: Sequence[Sequence[float]], independent: float) -> list[float]:
    """Return the weight of each guess: the prior, moved toward those that did better."""
    off = [fmean(map(abs, errors)) if errors else 0.0 for errors in replays]
    usual = _dot(_PRIOR, off) + 1e-3
    trust = independent / (independent + _CHOOSE_AFTER)
    weights = [
        prior * math.exp(-_CHOOSINESS * trust * (each / usual - 1))
        for prior, each in zip(_PRIOR, off, strict=True)
    ]
    return [weight / sum(weights) for weight in weights]


def _bias(errors: Sequence[float], independent: float) -> float:
    """Return by how much the guess was always too low, as far as that is no accident."""
    if independent <= _BIAS_AFTER:
        return 0.0
    mean = fmean(errors)
    variance = fmean([(error - mean) ** 2 for error in errors])
    evidence = mean * mean * independent / (variance + 1e-4)
    return mean * evidence / (evidence + _BIAS_DOUBT)


def _season(flat: Sequence[float], ordinals: Sequence[int], horizon: int) -> float:
    """Return how much of the change that the same days brought a year ago to expect again."""
    then = bisect_left(ordinals, ordinals[-1] + 1 - YEAR)
    if then < _YEAR_AGO_BASE or then + horizon >= len(flat):
        return 0.0
    little = 0.05 * fmean(flat) + 1e-9
    after, before = fmean(flat[then : then + horizon]), fmean(flat[then - _YEAR_AGO_BASE : then])
    change = math.log((after + little) / (before + little))
    return _YEAR_SHARE * max(-_YEAR_AGO_MOST, min(_YEAR_AGO_MOST, change))


def _uneven(flat: Sequence[float], level: Sequence[float], little: float) -> float:
    """Return how far a day of the last four weeks strayed from the level before it.

    That is hardly known from a few days: then it is nearer to the usual.
    """
    days = range(max(1, len(flat) - 4 * WEEK), len(flat))
    off = [
        min(abs(math.log((flat[day] + little) / (level[day - 1] + little))), 2.0) for day in days
    ]
    uneven = math.log(1.25 * sum(off) / max(len(off), 1) + _UNEVEN_LEAST)
    uneven += (math.log(_UNEVEN) - uneven) * _UNEVEN_DOUBT / (len(off) + _UNEVEN_DOUBT)
    return math.exp(uneven)


def _spread(errors: Sequence[float], independent: float, uneven: float, days: int) -> float:
    """Return the spread of what the replays got wrong, and where they are few, what is typical.

    That is what days so uneven usually lead to, more for a series of few `days`.
    """
    typical = _SPREAD_LEAST + _SPREAD_OF_DAYS * uneven * (1 + _SPREAD_NEW / days)
    replayed = fmean([error * error for error in errors]) if errors else 0.0
    whole = independent * replayed + _SPREAD_WEIGHT * typical * typical
    return math.sqrt(whole / (independent + _SPREAD_WEIGHT))


def _chance(raw: Sequence[float], a_day: float, horizon: int) -> float:
    """Return the spread that chance alone leaves, of the days ahead and of those learned from.

    Events come in clumps: what days vary by over what they have on average is the size of one.
    From few days that is drawn toward a usual size.
    """
    mean = fmean(raw)
    strayed = math.fsum((n - mean) ** 2 for n in raw) / mean if mean else 0.0
    clump = (strayed + _CLUMP_DOUBT * _CLUMP) / (len(raw) - 1 + _CLUMP_DOUBT)
    return math.sqrt(math.log1p(clump / a_day * (1 / horizon + 1 / len(raw))))


def _apart(off: Sequence[float], uneven: float) -> float:
    """Return by how much the newest days are all above the level, beyond what one day strays.

    The least of the last three days less that, of five days less half of it, of seven a fifth.
    """
    beyond = (min(off[-n:]) - part * uneven for n, part in _RUNS if len(off) >= n)
    return _APART * max([0.0, *beyond])


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(map(operator.mul, left, right))
