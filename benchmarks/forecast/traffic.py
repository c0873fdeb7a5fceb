"""Made-up days: hourly counts behind real and made daily series, and faults put into them."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from quota_watch.forecast.usual import Snapshot

HOURS = 24


@dataclass(frozen=True, slots=True)
class Fault:
    """From `start` on, for some hours, events come `times` as often."""

    start: datetime
    hours: int
    times: float


def hourly(counts: Mapping[date, int], *, seed: str, uneven: float = 0.25) -> dict[date, list[int]]:
    """Spread each day's count over its hours by chance.

    Every series has a peak hour and a depth of night of its own, a flatter weekend, hours that
    stray from the shape by `uneven` (log-normal) and multinomial chance; sums are the counts.
    """
    chance = random.Random(seed)  # noqa: S311 -- made-up traffic, nothing secret
    peak, depth = chance.uniform(0, HOURS), chance.uniform(0.3, 0.9)
    days = {}
    for day, count in counts.items():
        swing = depth * (0.7 if day.weekday() >= 5 else 1.0)  # noqa: PLR2004 -- Saturday
        weights = [
            (1 + swing * math.cos((hour - peak) * math.tau / HOURS))
            * chance.lognormvariate(0, uneven)
            for hour in range(HOURS)
        ]
        days[day] = _spread(count, weights, chance)
    return days


def with_fault(days: Mapping[date, list[int]], fault: Fault) -> dict[date, list[int]]:
    """Return the days with the fault in them."""
    changed = {day: list(hours) for day, hours in days.items()}
    for hour in range(fault.hours):
        moment = fault.start + timedelta(hours=hour)
        if moment.date() in changed:
            hours = changed[moment.date()]
            hours[moment.hour] = round(hours[moment.hour] * fault.times)
    return changed


def polls(day: date, hours: list[int], *, every: int = 1) -> Iterator[Snapshot]:
    """Yield what a poll sees at the end of every hour of a day but the last."""
    counted = 0
    start = datetime.combine(day, time.min, UTC)
    for hour, count in enumerate(hours[:-1], start=1):
        counted += count
        if hour % every == 0:
            yield Snapshot(at=start + timedelta(hours=hour), today=counted)


def _spread(count: int, weights: list[float], chance: random.Random) -> list[int]:
    """Split a count into parts by weight: binomially, part by part."""
    left, whole, parts = count, sum(weights), []
    for weight in weights[:-1]:
        share = min(1.0, weight / whole)
        part = _binomial(left, share, chance)
        parts.append(part)
        left, whole = left - part, whole - weight
    return [*parts, left]


def _binomial(trials: int, share: float, chance: random.Random) -> int:
    if trials <= 30:  # noqa: PLR2004 -- few enough to toss
        return sum(chance.random() < share for _ in range(trials))
    near = chance.gauss(trials * share, math.sqrt(trials * share * (1 - share)))
    return min(trials, max(0, round(near)))
