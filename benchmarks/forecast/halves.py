"""Cross-check of the forecast's constants: choose on half of the series, judge on the other.

    python -m benchmarks.forecast.halves SERIES.csv…

For each constant it prints what each value costs on either half: of those of the likely total
the geometric mean over series of its error, in percent; of those of the band that of its interval
score; of those of the warning what the alarms are not worth, in points. A constant is safe where
the value chosen on one half is no worse on the other than the one in use.
"""

import math
import sys
import zlib
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from types import ModuleType

from benchmarks.forecast.alarms import Asked, alarms
from benchmarks.forecast.series import questions, read
from quota_watch.forecast import forecast, level

MONTHS = 3
Cost = Callable[[Sequence[Asked]], float]


def error(months: Sequence[Asked]) -> float:
    """Return the logarithm of a series' mean error, as a share of its months' totals."""
    off = [abs(seen.p50 - q.actual) / q.actual for month in months for q, seen in month]
    return math.log(fmean(off) + 0.005)


def not_worth(months: Sequence[Asked]) -> float:
    """Return what a series' alarms miss of the 150 points they could be worth."""
    return 150 - fmean(alarms(month).worth for month in months)


def interval_score(months: Sequence[Asked]) -> float:
    """Return the logarithm of a series' mean width of the band and ten times what is outside."""
    scores = [
        (seen.p90 - seen.p10 + 10 * max(seen.p10 - q.actual, 0, q.actual - seen.p90)) / q.actual
        for month in months
        for q, seen in month
    ]
    return math.log(fmean(scores) + 0.005)


TRIALS: tuple[tuple[ModuleType, str, Cost, tuple[float, ...]], ...] = (
    (level, "_SPIKE", error, (1.8, 2.2, 2.6, 3.5, 5.0)),
    (level, "_HALF_DOUBT", error, (0.25, 0.5, 1.0, 3.0)),
    (level, "_WEEKDAY_DOUBT", error, (1.0, 2.0, 3.0, 5.0)),
    (level, "_CHOOSINESS", error, (7.0, 10.0, 15.0, 25.0)),
    (level, "_FARTHEST", error, (0.6, 1.0, 1.5)),
    (level, "_BIAS_DOUBT", error, (4.0, 12.0, 30.0, 1e9)),
    (level, "_YEAR_SHARE", error, (0.0, 0.2, 0.35, 0.5, 0.7)),
    (level, "_SPREAD_OF_DAYS", interval_score, (0.6, 0.7, 0.78, 0.9)),
    (level, "_DOWN", interval_score, (0.75, 0.85, 1.0)),
    (level, "_CLUMP", interval_score, (1.0, 8.0, 30.0)),
    (level, "_CHANCE_DAYS", interval_score, (14, 28, 56)),
    (level, "_APART", interval_score, (0.0, 0.7, 1.3)),
    (forecast, "_EVIDENCE", not_worth, (3.2, 4.0, 5.0)),
    (forecast, "_EVIDENCE_LEAST", not_worth, (0.0, 0.2, 0.3, 0.4)),
    (forecast, "_EVIDENCE_NONE", not_worth, (0.14, 0.18, 0.22)),
    (forecast, "_EVIDENCE_SPREAD", not_worth, (0.1, 0.25, 0.5)),
)


def costs_of(paths: list[Path], cost: Cost) -> tuple[float, float]:
    """Return the mean cost over the series of either half."""
    halves: tuple[list[float], list[float]] = ([], [])
    for path in paths:
        for name, counts in read(path).items():
            asked = [(q, q.answer()) for q in questions(counts, most=MONTHS)]
            months = [list(month) for _, month in groupby(asked, lambda each: each[0].period)]
            if months:
                halves[zlib.crc32(name.encode()) % 2].append(cost(months))
    one, other = (fmean(half) for half in halves)
    return (one, other) if cost is not_worth else (100 * math.exp(one), 100 * math.exp(other))


def main() -> None:
    """Try every value of every constant."""
    paths = [Path(name) for name in sys.argv[1:]]
    for module, name, cost, values in TRIALS:
        in_use = getattr(module, name)
        costs = {}
        for value in values:
            setattr(module, name, value)
            costs[value] = costs_of(paths, cost)
        setattr(module, name, in_use)
        sys.stdout.write(f"{name} = {in_use}\n")
        for value, (one, other) in costs.items():
            sys.stdout.write(f"  {value:>8}: {one:6.2f} {other:6.2f}\n")
        for half in (0, 1):
            best = min(costs, key=lambda value: costs[value][half])
            gain = costs[in_use][1 - half] - costs[best][1 - half]
            sys.stdout.write(
                f"  chosen on half {half}: {best}, on the other better by {gain:.2f}\n"
            )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
