"""What users read, measured: the date of the crossing, the odds, how steady the date is, the band.

    python -m benchmarks.forecast.measures SERIES.csv… [--method NAME]… [--months 6] [--json FILE]

The last months of each series that have a month before them; each series weighs the same.
*Date*: limits of 75, 90 and 100 % of what the month came to, asked 5, 10, 15 and 20 days before
they were passed; a date in no month counts as the day after it. *Odds*: limits of 0.7 to 2 times
the last 28 days, not yet passed, on the check days. *Steady*: the same limits as for the date,
asked at the end of every day until they are passed, each answer given the one before.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.forecast.methods import METHODS
from benchmarks.forecast.series import CHECK_DAYS, months, read
from quota_watch.forecast.forecast import Forecast, TooEarly, answer
from quota_watch.forecast.level import Level
from quota_watch.model.period import ONE_DAY, Period, each_day

LIMITS, LEADS = (0.75, 0.9, 1.0), (5, 10, 15, 20)
OF_LAST_MONTH = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
CLASSES = (("under 1,000 a month", 1000), ("under 30,000", 30_000), ("more", 10**18))
_FIRST_DAY, _MONTH, _SPARSE = 3, 28, 0.3


@dataclass(slots=True)
class Measured:
    """Of one series: each list holds one figure for each question asked."""

    volume: str
    sparse: bool
    error: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)
    width: list[float] = field(default_factory=list)
    above: list[bool] = field(default_factory=list)
    date_off: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    date_inside: list[bool] = field(default_factory=list)
    odds: list[tuple[float, bool]] = field(default_factory=list)
    changes: list[bool] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    appears: list[int] = field(default_factory=list)
    steady_off: list[int] = field(default_factory=list)


class Month:
    """A month that is over, asked about as of any of its days; what is learned is cached."""

    def __init__(self, method: str, history: Mapping[date, int], period: Period) -> None:
        self._learn = METHODS[method]
        self._days = {day: count for day, count in history.items() if day < period.end}
        self._learned: dict[date, Level | TooEarly] = {}
        self.period = period
        self.counts = [self._days.get(day, 0) for day in each_day(period.start, period.last_day)]
        self.total = sum(self.counts)

    def ask(self, day: int, limit: int, previous: Forecast | None = None) -> Forecast | None:
        """Ask at the end of a day of the month; None: too early."""
        as_of = self.period.start + (day - 1) * ONE_DAY
        if as_of not in self._learned:
            known = {each: count for each, count in self._days.items() if each <= as_of}
            self._learned[as_of] = self._learn(known, self.period, as_of)
        found = answer(
            self._learned[as_of],
            self._days,
            period=self.period,
            as_of=as_of,
            limit=limit,
            previous=previous.memory if previous else None,
        )
        return found if isinstance(found, Forecast) else None

    def crossing(self, limit: float) -> int | None:
        """Return the day of the month on which it came to more than `limit`."""
        used = 0
        for day, count in enumerate(self.counts, start=1):
            used += count
            if used > limit:
                return day
        return None

    def likely(self, found: Forecast) -> int:
        """Return the likely day of the month, or the day after the month where there is none."""
        return self._number(found.crosses_on.likely if found.crosses_on else None)

    def holds(self, found: Forecast, day: int) -> bool:
        """Return whether the day is between the early and the late date."""
        dates = found.crosses_on
        return dates is not None and self._number(dates.early) <= day <= self._number(dates.late)

    def before(self, days: int) -> int:
        """Return what the days before the month had."""
        first = self.period.start - days * ONE_DAY
        return sum(n for day, n in self._days.items() if first <= day < self.period.start)

    def _number(self, day: date | None) -> int:
        return self.period.days + 1 if day is None else (day - self.period.start).days + 1


def measure(history: Mapping[date, int], method: str, most: int) -> Measured | None:
    """Ask everything of the last months of a series."""
    periods = list(months(history, most=most))
    if not periods:
        return None
    a_month = 30 * fmean(history.values())
    found = Measured(
        volume=next(name for name, below in CLASSES if a_month < below),
        sparse=sum(not n for n in history.values()) > _SPARSE * len(history),
    )
    for period in periods:
        month = Month(method, history, period)
        _totals(month, found)
        _dates(month, found)
        _odds(month, found)
        _steadiness(month, found)
    return found


def _totals(month: Month, found: Measured) -> None:
    for day in CHECK_DAYS:
        told = month.ask(day, 0)
        if told is not None:
            found.error.append(abs(told.p50 - month.total) / month.total)
            found.inside.append(told.p10 <= month.total <= told.p90)
            found.width.append((told.p90 - told.p10) / month.total)
            found.above.append(told.p50 < month.total)


def _limits(month: Month) -> Iterator[tuple[int, int]]:
    """Yield limits about what came, and the days they were passed."""
    for share in LIMITS:
        limit = round(share * month.total) - (share == 1)
        crossed = month.crossing(limit)
        if crossed is not None:
            yield limit, crossed


def _dates(month: Month, found: Measured) -> None:
    for limit, crossed in _limits(month):
        for lead in LEADS:
            told = month.ask(crossed - lead, limit) if crossed - lead >= _FIRST_DAY else None
            if told is not None:
                found.date_off[lead].append(month.likely(told) - crossed)
                found.date_inside.append(month.holds(told, crossed))


def _odds(month: Month, found: Measured) -> None:
    base = month.before(_MONTH)
    for day in CHECK_DAYS:
        for share in OF_LAST_MONTH:
            limit = round(share * base)
            told = month.ask(day, limit)
            if told is not None and told.probability_over is not None and told.used <= limit:
                found.odds.append((told.probability_over, month.total > limit))


def _steadiness(month: Month, found: Measured) -> None:
    for limit, crossed in _limits(month):
        told: list[int] = []
        previous: Forecast | None = None
        for day in range(_FIRST_DAY, crossed):
            previous = month.ask(day, limit, previous)
            if previous is not None:
                told.append(month.likely(previous))
                if crossed - day in LEADS:
                    found.steady_off.append(abs(told[-1] - crossed))
        moves = [later - earlier for earlier, later in pairwise(told)]
        found.changes += [move != 0 for move in moves]
        ways = [move > 0 for move in moves if move]
        found.turns.append(sum(one != other for one, other in pairwise(ways)))
        never = month.period.days + 1
        found.appears.append(sum((a == never) != (b == never) for a, b in pairwise(told)))


def _mean(figures: Sequence[float | None]) -> float | None:
    known = [each for each in figures if each is not None]
    return round(fmean(known), 3) if known else None


def _mean_of(among: Sequence[Measured], name: str, times: float = 1.0) -> float | None:
    lists = [list(map(float, getattr(each, name))) for each in among]
    return _mean([times * fmean(each) for each in lists if each])


def _brier(among: Sequence[Measured]) -> float | None:
    return _mean([fmean((p - came) ** 2 for p, came in each.odds) for each in among if each.odds])


def _of_class(among: Sequence[Measured]) -> dict[str, Any]:
    offs = [[abs(n) for days in each.date_off.values() for n in days] for each in among]
    return {
        "series": len(among),
        "mean_error": _mean_of(among, "error", 100),
        "inside": _mean_of(among, "inside", 100),
        "width": _mean_of(among, "width", 100),
        "date_off": _mean([fmean(each) for each in offs if each]),
        "date_inside": _mean_of(among, "date_inside", 100),
        "brier": _brier(among),
        "turns": _mean_of(among, "turns"),
    }


def summary(all_measured: Sequence[Measured]) -> dict[str, Any]:
    """Return the figures: means over series, in percent, days or times."""

    def of(name: str, times: float = 1.0, among: Sequence[Measured] = all_measured) -> float | None:
        return _mean_of(among, name, times)

    offs = [[abs(n) for days in each.date_off.values() for n in days] for each in all_measured]
    offs = [each for each in offs if each]
    every = [n for each in offs for n in each]
    return {
        "series": len(all_measured),
        "error": round(100 * median(fmean(each.error) for each in all_measured), 2),
        "mean_error": of("error", 100),
        "inside": of("inside", 100),
        "width": round(100 * median(fmean(each.width) for each in all_measured), 1),
        "date_off": _mean([fmean(each) for each in offs]),
        "date_median": median(every),
        "date_1": _mean([100 * fmean(n <= 1 for n in each) for each in offs]),
        "date_2": _mean([100 * fmean(n <= 2 for n in each) for each in offs]),  # noqa: PLR2004
        "date_inside": of("date_inside", 100),
        "date_by_lead": {
            lead: _mean(
                [
                    fmean(map(abs, each.date_off[lead]))
                    for each in all_measured
                    if each.date_off[lead]
                ]
            )
            for lead in LEADS
        },
        "brier": _brier(all_measured),
        "reliability": _reliability([pair for each in all_measured for pair in each.odds]),
        "steady_off": of("steady_off"),
        "changes": of("changes", 100),
        "turns": of("turns"),
        "appears": of("appears"),
        "by_volume": {
            name: _of_class(among)
            for name, _ in CLASSES
            if (among := [each for each in all_measured if each.volume == name])
        },
        "sparse_above": of("above", 100, [each for each in all_measured if each.sparse]),
        "sparse_inside": of("inside", 100, [each for each in all_measured if each.sparse]),
    }


def _reliability(odds: Sequence[tuple[float, bool]]) -> list[tuple[float, float, int]]:
    """Return, by bin: the mean probability given, the share that came true, and how many."""
    found = []
    for low, high in pairwise(BINS):
        among = [(p, came) for p, came in odds if low <= p < high or p == high == 1]
        if among:
            told, came = fmean(p for p, _ in among), fmean(came for _, came in among)
            found.append((round(told, 3), round(came, 3), len(among)))
    return found


def measure_all(paths: Sequence[Path], method: str, most: int) -> dict[str, Any]:
    """Measure every series of the files."""
    series = [counts for path in paths for counts in read(path).values()]
    with ProcessPoolExecutor(2) as workers:
        found = workers.map(partial(measure, method=method, most=most), series, chunksize=4)
        return summary([each for each in found if each is not None])


def main() -> None:
    """Measure the methods and print, or write, what came of it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("series", type=Path, nargs="+")
    arguments.add_argument("--method", action="append", choices=list(METHODS))
    arguments.add_argument("--months", type=int, default=6)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    found = {
        method: measure_all(given.series, method, given.months)
        for method in given.method or ["quota-watch"]
    }
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))
    for method, figures in found.items():
        sys.stdout.write(f"{method}\n")
        for name, figure in figures.items():
            sys.stdout.write(f"  {name:14} {figure}\n")


if __name__ == "__main__":
    main()
