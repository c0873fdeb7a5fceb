"""Cross-check of the forecast's constants: choose on half of the series, judge on the other.

    python -m benchmarks.forecast.halves SERIES.csv…

For each constant it prints what each value costs on either half (the geometric mean over series
of the error of the month's total, in percent). A constant is safe where the value chosen on one
half is no worse on the other than the one in use.
"""

import math
import sys
import zlib
from pathlib import Path
from statistics import fmean

from benchmarks.forecast.series import questions, read
from quota_watch.domain import outlook

MONTHS = 3
TRIALS = {
    "_CHOOSINESS": (4.0, 7.0, 10.0, 15.0, 25.0),
    "_REPLAY_HALF_LIFE": (45.0, 80.0, 120.0, 200.0),
    "_BIAS_DOUBT": (4.0, 12.0, 30.0, 1e9),
    "_YEAR_SLOPE": (0.0, 0.2, 0.35, 0.5, 0.7),
}
Errors = dict[str, float]


def errors_of(paths: list[Path]) -> Errors:
    """Return the mean error of each series, as a share of its months' totals."""
    errors = {}
    for path in paths:
        for name, counts in read(path).items():
            off = [
                abs(q.answer().p50 - q.actual) / q.actual for q in questions(counts, months=MONTHS)
            ]
            if off:
                errors[name] = fmean(off)
    return errors


def cost(errors: Errors, half: int) -> float:
    """Return the geometric mean of a half's errors, in percent."""
    logs = [
        math.log(error + 0.005)
        for name, error in errors.items()
        if zlib.crc32(name.encode()) % 2 == half
    ]
    return 100 * math.exp(fmean(logs))


def main() -> None:
    """Try every value of every constant."""
    paths = [Path(name) for name in sys.argv[1:]]
    for name, values in TRIALS.items():
        in_use = getattr(outlook, name)
        costs = {}
        for value in values:
            setattr(outlook, name, value)
            errors = errors_of(paths)
            costs[value] = (cost(errors, 0), cost(errors, 1))
        setattr(outlook, name, in_use)
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
