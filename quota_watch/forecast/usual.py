"""What a day usually has and by which hour: the measure of `spike` and `stalled`.

A lone odd day is no part of it: levels are medians, or means of days without lone spikes, and no
day is measured against itself.
"""

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate, dropwhile, groupby, pairwise
from statistics import fmean, median
from typing import Annotated, Any

import msgspec

from quota_watch.forecast.level import WEEK, calmed, six_figures, weekday_factors
from quota_watch.model.period import ONE_DAY

ENOUGH_DAYS = 7
"""Known days without which nothing is usual, and days seen whole without which a day is flat."""

_MEMORY = 8 * WEEK
_MONTH = 4 * WEEK
_TYPICAL, _TYPICAL_DAYS = 0.35, 5
_ONE_IN_TEN, _Z10, _FARTHEST = 10, 1.2816, 4.0
_LONE, _BEYOND_HABIT, _BEYOND_CHANCE, _MOST_SKEWED = 2, 1.25, 3.0, 4.0
_SPARSE = 4
_QUIET, _QUIET_LEAST = 0.02, 10.0

_HOURS = 24
_SHAPE_MEMORY = timedelta(days=28)
_LONGEST_GAP = 3.0
_FALL = 0.05
_HARDLY = 0.02
_FLAT_EVENTS = 100.0
_WEEKDAYS, _WEEKEND_DAYS, _SATURDAY = 10, 4, 5
_ALIKE_DAYS = 2.0
_UNEVEN, _UNEVEN_DAYS, _UNEVEN_HOURS = 0.2, 4, range(3, 24, 3)
_FLAT = tuple(round(hour / _HOURS, 6) for hour in range(_HOURS + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What days usually have, in counted events.

    `busy` and `slow` are levels of a mean day: the higher and the lower of the medians of the last
    week and the last four; `busy` is at least their mean, which counts where bursts are usual.
    `spread_up` and `spread_down` are standard deviations of the logarithm of a day over what was
    expected of it. `reach` is the level that habit and chance get to: a quarter over the third
    busiest day, and what all but the two busiest make likely once a year (no day is left out where
    many have nothing). `quiet_runs` are the lengths in days of silences that ended by themselves.
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

    Days that are missing or `excluded` (capped) are left out, as are those before the first
    event.
    """
    known = (
        day
        for day in (before - timedelta(days=n) for n in range(_MEMORY, 0, -1))
        if day in counted and day not in excluded
    )
    days = list(dropwhile(lambda day: not counted[day], known))
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
        quiet_runs=_runs(
            [
                day
                for day, count, least, _ in past
                if least >= _QUIET_LEAST and count <= _QUIET * least
            ]
        ),
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
    spread = min(max(high, 0.0), _FARTHEST) / _Z10
    whole = len(strays) * spread**2 + _TYPICAL_DAYS * _TYPICAL**2
    return six_figures(math.sqrt(whole / (len(strays) + _TYPICAL_DAYS)))


def _reach(flat: Sequence[float], *, lone: int) -> float:
    """Return the level not passed once a year by chance; the `lone` busiest days are no chance.

    Three standard deviations over the mean, and as many more as days are skewed: six or seven
    where most have nothing and some a burst.
    """
    rest = sorted(flat)[: len(flat) - lone]
    mean = fmean(rest)
    deviation = math.sqrt(fmean((n - mean) ** 2 for n in rest))
    skew = fmean((n - mean) ** 3 for n in rest) / deviation**3 if deviation else 0.0
    deviations = _BEYOND_CHANCE + min(max(skew, 0.0), _MOST_SKEWED)
    return six_figures(max(_BEYOND_HABIT * rest[-1], mean + deviations * deviation))


def _runs(days: Sequence[date]) -> tuple[int, ...]:
    """Return the lengths of the runs of consecutive days."""
    starts = (day - n * ONE_DAY for n, day in enumerate(days))
    return tuple(len(list(run)) for _, run in groupby(starts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a poll saw: the counted events of the UTC day that `at` lies in."""

    at: datetime
    today: int


Shares = Annotated[tuple[float, ...], msgspec.Meta(min_length=_HOURS + 1, max_length=_HOURS + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayShape:
    """The share of a usual day that is counted by 0, 1, … 24 o'clock UTC, and by how many days.

    Rising from 0 to 1. Weekend days (Saturday, Sunday) have a shape of their own where they are
    known well enough, else that of all days. `uneven` is how far single days stray from it:
    at share p by `uneven` times the root of p (1 - p), a standard deviation.
    """

    days: int
    uneven: float
    weekday: Shares
    weekend: Shares

    @property
    def is_learned(self) -> bool:
        """Whether it was learned; else it is flat."""
        return self.days >= ENOUGH_DAYS


def flat_shape(days: int = 0) -> DayShape:
    """Return the shape of a day in which every hour is like the others."""
    return DayShape(days=days, uneven=_UNEVEN, weekday=_FLAT, weekend=_FLAT)


def shape_from_json(stored: Any) -> DayShape:
    """Read a shape that was stored; the flat one where that makes no sense any more."""
    try:
        return msgspec.convert(stored, DayShape)
    except msgspec.ValidationError:
        return flat_shape()


def share_at(shape: DayShape, moment: datetime) -> float:
    """Return the share of the UTC day of `moment` that is usually counted by then."""
    moment = moment.astimezone(UTC)
    shares = shape.weekend if moment.weekday() >= _SATURDAY else shape.weekday
    before, after = shares[moment.hour : moment.hour + 2]
    return before + (after - before) * (moment.minute * 60 + moment.second) / 3600


def learn_shape(
    snapshots: Iterable[Snapshot],
    *,
    totals: Mapping[date, int],
    today: date,
    excluded: Collection[date] = (),
) -> DayShape:
    """Learn the shape from the full days among the last 28 before `today`.

    `totals` are what closed days came to; `excluded` days (capped) are left out. A day is full
    where no three hours went by without a snapshot and its count never fell by more than a
    twentieth (a clock that jumped, a site deleted). A busy day weighs no more than a usual one.
    """
    in_order = sorted(snapshots, key=lambda snapshot: snapshot.at)
    days = {
        day: shares
        for day, of_day in groupby(in_order, lambda snapshot: snapshot.at.astimezone(UTC).date())
        if today - _SHAPE_MEMORY <= day < today and day not in excluded
        if (shares := _shares_of(day, of_day, totals.get(day, 0))) is not None
    }
    if len(days) < ENOUGH_DAYS:
        return flat_shape(len(days))
    usual = median(totals[day] for day in days)
    weights = {day: min(float(totals[day]), usual) for day in days}
    every = _mean(days, weights, toward=_FLAT, worth=_FLAT_EVENTS)
    parts = [
        {day: shares for day, shares in days.items() if (day.weekday() >= _SATURDAY) is weekend}
        for weekend in (False, True)
    ]
    if len(parts[0]) < _WEEKDAYS or len(parts[1]) < _WEEKEND_DAYS:
        parts = [{}, {}]
    worth = max(_ALIKE_DAYS * usual, _FLAT_EVENTS)
    weekday, weekend = (_mean(part, weights, toward=every, worth=worth) for part in parts)
    strays = [
        _stray_of_shape(shares, weekend if day.weekday() >= _SATURDAY else weekday)
        for day, shares in days.items()
    ]
    uneven = (sum(strays) + _UNEVEN_DAYS * _UNEVEN**2) / (len(strays) + _UNEVEN_DAYS)
    return DayShape(
        days=len(days),
        uneven=round(math.sqrt(uneven), 4),
        weekday=tuple(round(share, 4) for share in weekday),
        weekend=tuple(round(share, 4) for share in weekend),
    )


def _stray_of_shape(shares: Sequence[float], usual: Sequence[float]) -> float:
    """Return how far a day's shares are from the usual ones: the square of `uneven`."""
    squares = [
        (shares[hour] - usual[hour]) ** 2 / (usual[hour] * (1 - usual[hour]))
        for hour in _UNEVEN_HOURS
        if _HARDLY < usual[hour] < 1 - _HARDLY
    ]
    return sum(squares) / len(squares) if squares else 0.0


def _mean(
    days: Mapping[date, Sequence[float]],
    weights: Mapping[date, float],
    *,
    toward: Sequence[float],
    worth: float,
) -> tuple[float, ...]:
    """Return the weighted mean shape, of which `toward` is a part worth that many events."""
    whole = sum(weights[day] for day in days) + worth
    sums = [
        sum(weights[day] * shares[hour] for day, shares in days.items()) + worth * toward[hour]
        for hour in range(1, _HOURS)
    ]
    return 0.0, *(min(each / whole, 1.0) for each in sums), 1.0


def _shares_of(day: date, of_day: Iterable[Snapshot], total: int) -> list[float] | None:
    """Return the shares of one day by hour; None where it was polled in part, or counts fell."""
    if total <= 0:
        return None
    start = datetime.combine(day, time.min, UTC)
    snapshots = list(of_day)
    highest = list(accumulate((min(each.today, total) for each in snapshots), max, initial=0))
    hours = [0.0, *((each.at - start) / ONE_DAY * _HOURS for each in snapshots), float(_HOURS)]
    fell = any(
        each.today < high - _FALL * total for each, high in zip(snapshots, highest, strict=False)
    )
    if fell or any(later - earlier > _LONGEST_GAP for earlier, later in pairwise(hours)):
        return None
    counts, shares = [*highest, total], []
    for hour in range(_HOURS + 1):
        place = bisect_left(hours, hour, lo=1)
        (before, after), (low, high) = hours[place - 1 : place + 1], counts[place - 1 : place + 1]
        part = (hour - before) / (after - before) if after > before else 1.0
        shares.append((low + (high - low) * min(part, 1.0)) / total)
    return shares
