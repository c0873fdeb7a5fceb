"""The shape of a day: which share of it is usually counted by each hour (UTC)."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from quota_watch.model.period import ONE_DAY

ENOUGH_DAYS = 7
"""Full days of our own snapshots below which the shape stays flat."""

_HOURS = 24
_MEMORY = timedelta(days=28)
_LONGEST_GAP = 3.0
_FALL = 0.05
_HARDLY = 0.02
_FLAT_EVENTS = 100.0
_WEEKDAYS, _WEEKEND_DAYS, _SATURDAY = 10, 4, 5
_ALIKE_DAYS = 2.0
_UNEVEN, _UNEVEN_DAYS, _UNEVEN_HOURS = 0.2, 4, range(3, 24, 3)
_FLAT = tuple(round(hour / _HOURS, 6) for hour in range(_HOURS + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a poll saw: the counted events of the UTC day that `at` lies in."""

    at: datetime
    today: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayShape:
    """The share of a usual day that is counted by 0, 1, … 24 o'clock UTC, and by how many days.

    Rising from 0 to 1. Weekend days (Saturday, Sunday) have a shape of their own where they are
    known well enough, else that of all days. `uneven` tells how far single days stray from it:
    at share p by `uneven` times the root of p (1 - p), a standard deviation.
    """

    days: int
    uneven: float
    weekday: tuple[float, ...]
    weekend: tuple[float, ...]

    @property
    def is_learned(self) -> bool:
        """Tell whether it was learned; else it is flat."""
        return self.days >= ENOUGH_DAYS

    def to_json(self) -> dict[str, Any]:
        """Write it as `from_json` reads it."""
        return {
            "days": self.days,
            "uneven": self.uneven,
            "weekday": list(self.weekday),
            "weekend": list(self.weekend),
        }


def flat(days: int = 0) -> DayShape:
    """Return the shape of a day in which every hour is like the others."""
    return DayShape(days=days, uneven=_UNEVEN, weekday=_FLAT, weekend=_FLAT)


def from_json(kept: Mapping[str, Any]) -> DayShape:
    """Return the shape that was kept; the flat one where that makes no sense any more."""
    try:
        days, uneven = int(kept["days"]), float(kept["uneven"])
        weekday, weekend = (tuple(map(float, kept[name])) for name in ("weekday", "weekend"))
    except (KeyError, TypeError, ValueError):
        return flat()
    if not all(_is_shape(shares) for shares in (weekday, weekend)) or not uneven >= 0:
        return flat()
    return DayShape(days=days, uneven=uneven, weekday=weekday, weekend=weekend)


def share_at(shape: DayShape, moment: datetime) -> float:
    """Return the share of the UTC day of `moment` that is usually counted by then."""
    moment = moment.astimezone(UTC)
    shares = shape.weekend if moment.weekday() >= _SATURDAY else shape.weekday
    hour = moment.hour
    part = (moment.minute * 60 + moment.second) / 3600
    return shares[hour] + (shares[hour + 1] - shares[hour]) * part


def learn(
    snapshots: Iterable[Snapshot],
    *,
    totals: Mapping[date, int],
    today: date,
    excluded: Collection[date] = (),
) -> DayShape:
    """Learn the shape from the full days among the last 28 before `today`.

    `totals` are what closed days came to; `excluded` days (capped) teach nothing. A day is full
    where no three hours went by without a snapshot and its count never fell by more than a
    twentieth (a clock that jumped, a site deleted). A busy day weighs no more than a usual one.
    """
    seen: dict[date, list[Snapshot]] = defaultdict(list)
    for snapshot in snapshots:
        seen[snapshot.at.astimezone(UTC).date()].append(snapshot)
    first = today - _MEMORY
    days = {
        day: shares
        for day, of_day in sorted(seen.items())
        if first <= day < today and day not in excluded
        if (shares := _shares_of(day, of_day, totals.get(day, 0))) is not None
    }
    if len(days) < ENOUGH_DAYS:
        return flat(len(days))
    usual = median(totals[day] for day in days)
    weights = {day: min(float(totals[day]), usual) for day in days}
    every = _mean(days, weights, toward=_FLAT, worth=_FLAT_EVENTS)
    parts = [
        {day: shares for day, shares in days.items() if (day.weekday() >= _SATURDAY) is weekend}
        for weekend in (False, True)
    ]
    weekday = weekend = every
    if len(parts[0]) >= _WEEKDAYS and len(parts[1]) >= _WEEKEND_DAYS:
        worth = max(_ALIKE_DAYS * usual, _FLAT_EVENTS)
        weekday, weekend = (_mean(part, weights, toward=every, worth=worth) for part in parts)
    strays = [
        _stray(shares, weekend if day.weekday() >= _SATURDAY else weekday)
        for day, shares in days.items()
    ]
    uneven = (sum(strays) + _UNEVEN_DAYS * _UNEVEN**2) / (len(strays) + _UNEVEN_DAYS)
    return DayShape(
        days=len(days),
        uneven=round(math.sqrt(uneven), 4),
        weekday=tuple(round(share, 4) for share in weekday),
        weekend=tuple(round(share, 4) for share in weekend),
    )


def _stray(shares: Sequence[float], usual: Sequence[float]) -> float:
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


def _shares_of(day: date, snapshots: Sequence[Snapshot], total: int) -> list[float] | None:
    """Return the shares of one day by hour; None where it was not seen whole, or makes no sense."""
    if total <= 0:
        return None
    start = datetime.combine(day, time.min, UTC)
    points = [(0.0, 0)]
    for snapshot in sorted(snapshots, key=lambda each: each.at):
        hour = (snapshot.at - start) / ONE_DAY * _HOURS
        highest = points[-1][1]
        if snapshot.today < highest - _FALL * total:
            return None
        points.append((hour, min(max(snapshot.today, highest), total)))
    points.append((float(_HOURS), total))
    if any(later - earlier > _LONGEST_GAP for (earlier, _), (later, _) in pairwise(points)):
        return None
    return _by_hour(points, total)


def _by_hour(points: Sequence[tuple[float, int]], total: int) -> list[float]:
    shares, place = [], 0
    for hour in range(_HOURS + 1):
        while points[place + 1][0] < hour:
            place += 1
        (before, low), (after, high) = points[place], points[place + 1]
        part = (hour - before) / (after - before) if after > before else 1.0
        shares.append((low + (high - low) * min(part, 1.0)) / total)
    return shares


def _is_shape(shares: Sequence[float]) -> bool:
    whole = len(shares) == _HOURS + 1 and shares[0] == 0.0 and shares[-1] == 1.0
    return whole and all(low <= high for low, high in pairwise(shares))
