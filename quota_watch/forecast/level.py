"""The level of the days ahead, and how far off such a guess has been before.

Several ways to guess are replayed on the series' own past, over as many days as lie ahead now.
Those that did better weigh more, what they have in common is corrected, and what remains wrong
is the band.
"""

import math
import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

from quota_watch.forecast.seasonality import (
    WEEK,
    YearAgo,
    calmed,
    six_figures,
    weekday_factors,
)

_HALF_LIVES = (3, 7, 14, 28, 60)

_BURSTS_HALF_LIFE, _BURSTS_AFTER, _BURST_MOST = 28, 28, 2.0

_TRENDS = ((1, 3, 0.5), (2, 4, 0.7), (2, 4, 1.5))
"""Guesses beside the levels: a level, another one, and how much of their distance to go on by."""

_PRIOR = (0.12, 0.17, 0.17, 0.14, 0.08, 0.23, 0.04, 0.03, 0.02)
"""The weights of the guesses, levels first, before anything is known of the series."""

_SHIFTING = (1, 2)
_SHIFT_SHOWN, _SHIFT_CLEAR = 5, 1.05

_REPLAYS, _REPLAY_EVERY, _REPLAY_DAYS, _REPLAY_HALF_LIFE = 20, 6, 300, 200.0
_CHOOSINESS, _CHOOSE_AFTER, _CHOICE_FARTHEST = 15.0, 3.0, 1.0
_BIAS_AFTER, _BIAS_DOUBT = 2.0, 12.0
_YEAR_SLOPE, _YEAR_SLOPE_WEIGHT = 0.35, 2.0
_SPREAD_LEAST, _SPREAD_OF_DAYS, _SPREAD_NEW, _SPREAD_WEIGHT = 0.03, 0.78, 2.0, 2.0
_UNEVEN, _UNEVEN_DOUBT, _UNEVEN_LEAST = 0.25, 3, 0.02
_SPREAD_UP, _SPREAD_DOWN, _FARTHEST = 1.15, 0.9, 1.2
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What the days ahead are like.

    `a_day` is the events of a mean day; `factors` what each weekday is to it. `spread_down` and
    `spread_up` are standard deviations of the logarithm of the sum of the days ahead.
    """

    a_day: float
    factors: tuple[float, ...]
    spread_down: float
    spread_up: float


@dataclass(slots=True)
class _Replays:
    """Past moments at which the days then ahead, `horizon` of them, are known by now.

    Each has its place in the series, its weight, and the errors of the guesses, as logarithms.
    """

    places: list[int]
    weights: list[float]
    errors: list[list[float]]
    independent: float
    total: float

    def mean(self, values: Sequence[float]) -> float:
        return _dot(self.weights, values) / self.total


def fit_level(counts: Sequence[int], ordinals: Sequence[int], horizon: int) -> Level:
    """Say what the next `horizon` days (at least one) are like.

    `counts` are those of the known days, oldest first, at least one; `ordinals` their dates.
    """
    weekdays = [(ordinal - 1) % WEEK for ordinal in ordinals]
    calm = calmed(counts)
    factors = weekday_factors(calm, weekdays)
    flat = [count / factors[day] for count, day in zip(calm, weekdays, strict=True)]
    recent = flat[-90:]
    little = 0.02 * sum(recent) / len(recent) + 1e-9
    expected = [factors[day] for day in weekdays]
    levels = _levels(counts, expected, flat)
    replays = _replay(counts, expected, levels, horizon=horizon, little=little)
    weights = _weigh(replays)
    guess = _dot(weights, _guesses(levels, len(flat), little))
    errors = [_dot(weights, each) for each in replays.errors]
    bias = _bias(replays, errors)
    errors = [error - bias for error in errors]
    year_ago = YearAgo(ordinals, list(accumulate(flat, initial=0.0)))
    season, errors = _season(year_ago, replays, errors, horizon)
    typical = _typical_spread(flat, levels[1], little)
    spread_down, spread_up = _spreads(replays, errors, typical)
    level = math.exp(guess + bias + season) - little
    return Level(
        a_day=six_figures(level) if level > _NOTHING else 0.0,
        factors=tuple(map(six_figures, factors)),
        spread_down=six_figures(spread_down),
        spread_up=six_figures(spread_up),
    )


def _levels(
    counts: Sequence[int], expected: Sequence[float], flat: Sequence[float]
) -> list[list[float]]:
    """Return levels after each day: calm ones, quick to slow, and one with bursts and all.

    A burst is expected again only where there is a month to see it in.
    """
    # Counts vary with more than the root of what is expected and less than all of it: between
    # counting quiet weekends in full and weighing them by their size lies the root.
    weights = [math.sqrt(usual) for usual in expected]
    weighted = list(map(operator.mul, flat, weights))
    levels = [_fading_means(weighted, weights, half_life) for half_life in _HALF_LIVES]
    shifts = _shifts(flat, levels[-2])
    for number in _SHIFTING if shifts else ():
        levels[number] = _fading_means(weighted, weights, _HALF_LIVES[number], shifts)
    if len(counts) >= _BURSTS_AFTER:
        weighted = [
            min(count / weight, _BURST_MOST * calm)
            for count, weight, calm in zip(counts, weights, weighted, strict=True)
        ]
    return [*levels, _fading_means(weighted, weights, _BURSTS_HALF_LIFE)]


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
        shown = slice(start - _SHIFT_SHOWN + 1, start) if start else slice(0)
        total, weight = sum(weighted[shown]), sum(weights[shown])
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
    since = 0
    for day in range(_SHIFT_SHOWN + 2, len(flat)):
        first = day - _SHIFT_SHOWN + 1
        above = flat[day] > slow[day]
        if above != (flat[first] > slow[first]) or above != (flat[day - 2] > slow[day - 2]):
            continue
        if first - since < _SHIFT_SHOWN:
            continue
        shown, before = flat[first : day + 1], flat[max(since, first - 3 * WEEK) : first]
        if (
            min(shown) > _SHIFT_CLEAR * max(before)
            if above
            else max(shown) * _SHIFT_CLEAR < min(before)
        ):
            shifts.add(day)
            since = first
    return shifts


def _guesses(levels: Sequence[Sequence[float]], known: int, little: float) -> list[float]:
    """Return the logarithms of all guesses made from the first `known` days."""
    logs = [math.log(level[known - 1] + little) for level in levels]
    return logs + [logs[a] + trend * (logs[a] - logs[b]) for a, b, trend in _TRENDS]


def _replay(
    counts: Sequence[int],
    expected: Sequence[float],
    levels: Sequence[Sequence[float]],
    *,
    horizon: int,
    little: float,
) -> _Replays:
    newest = len(counts) - horizon
    step = max(1, min(_REPLAY_EVERY, newest // _REPLAYS))
    places = list(range(newest, max(WEEK, newest - _REPLAY_DAYS) - 1, -step))
    counted = list(accumulate(counts, initial=0))
    usual = list(accumulate(expected, initial=0.0))
    errors = []
    for known in places:
        end = known + horizon
        came = math.log(
            (counted[end] - counted[known]) / (usual[end] - usual[known]) + little,
        )
        errors.append([came - guess for guess in _guesses(levels, known, little)])
    weights = [0.5 ** ((newest - known) / _REPLAY_HALF_LIFE) for known in places]
    total = sum(weights)
    return _Replays(places, weights, errors, total * step / max(horizon, 5), total)


def _weigh(replays: _Replays) -> list[float]:
    """Return the weight of each guess: the prior, moved toward those that did better."""
    if not replays.places:
        return list(_PRIOR)
    off = [
        replays.mean([min(abs(error), _CHOICE_FARTHEST) for error in errors])
        for errors in zip(*replays.errors, strict=True)
    ]
    usual = _dot(_PRIOR, off) + 1e-3
    trust = replays.independent / (replays.independent + _CHOOSE_AFTER)
    weights = [
        prior * math.exp(-_CHOOSINESS * trust * (each / usual - 1))
        for prior, each in zip(_PRIOR, off, strict=True)
    ]
    total = sum(weights)
    return [weight / total for weight in weights]


def _bias(replays: _Replays, errors: Sequence[float]) -> float:
    """Return by how much the guess was always too low, as far as that is no accident."""
    if replays.independent <= _BIAS_AFTER:
        return 0.0
    tamed = [max(-1.0, min(1.0, error)) for error in errors]
    mean = replays.mean(tamed)
    variance = replays.mean([(error - mean) ** 2 for error in tamed])
    evidence = mean * mean * replays.independent / (variance + 1e-4)
    return mean * evidence / (evidence + _BIAS_DOUBT)


def _season(
    year_ago: YearAgo, replays: _Replays, errors: list[float], horizon: int
) -> tuple[float, list[float]]:
    """Return how much of last year's change to expect again, and what errors that leaves.

    The share is learned where there are two years to compare, and cautious where there are not.
    """
    ahead = year_ago.change(len(year_ago.ordinals), horizon)
    if ahead is None:
        return 0.0, errors
    changes = [year_ago.change(known, horizon) or 0.0 for known in replays.places]
    weight = 12 / horizon
    both = weight * _dot(changes, errors)
    own = weight * _dot(changes, changes)
    share = (_YEAR_SLOPE * _YEAR_SLOPE_WEIGHT + both) / (_YEAR_SLOPE_WEIGHT + own)
    share = max(0.0, min(1.0, share))
    left = [error - share * change for error, change in zip(errors, changes, strict=True)]
    return share * ahead, left


def _typical_spread(flat: Sequence[float], level: Sequence[float], little: float) -> float:
    """Return the spread that days as uneven as the last four weeks' usually lead to.

    How uneven they are is hardly known from a few days: then it is nearer to the usual.
    """
    days = range(max(1, len(flat) - 4 * WEEK), len(flat))
    off = [
        min(abs(math.log((flat[day] + little) / (level[day - 1] + little))), 2.0) for day in days
    ]
    seen = math.log(1.25 * sum(off) / max(len(off), 1) + _UNEVEN_LEAST)
    seen += (math.log(_UNEVEN) - seen) * _UNEVEN_DOUBT / (len(off) + _UNEVEN_DOUBT)
    return _SPREAD_LEAST + _SPREAD_OF_DAYS * math.exp(seen) * (1 + _SPREAD_NEW / len(flat))


def _spreads(replays: _Replays, errors: Sequence[float], typical: float) -> tuple[float, float]:
    """Return the spread down and up: that of the replays, and the typical one where few."""
    down = up = 0.0
    if errors:
        low = 2 * replays.mean([max(-_FARTHEST, min(error, 0.0)) ** 2 for error in errors])
        high = 2 * replays.mean([min(_FARTHEST, max(error, 0.0)) ** 2 for error in errors])
        down, up = 0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high
    seen, doubt = replays.independent, _SPREAD_WEIGHT
    return (
        math.sqrt((seen * down + doubt * (_SPREAD_DOWN * typical) ** 2) / (seen + doubt)),
        math.sqrt((seen * up + doubt * (_SPREAD_UP * typical) ** 2) / (seen + doubt)),
    )


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(map(operator.mul, left, right))
