"""What the forecast makes of histories that something happened to.

    python -m benchmarks.forecast.robustness SERIES.csv…

Months are asked about at the end of their 12th day, with their days changed: of the total that
the changed month comes to, the median error, the mean error with its sign, and how often the band
holds it. *Back* is a site whose tracking was dead and counts again tomorrow, *dead* one that stays
so. Weekly sums stand on Sundays, with no other day known.
"""

import random
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from statistics import fmean, median

from benchmarks.forecast.series import months, read
from quota_watch.forecast.forecast import Forecast, forecast
from quota_watch.model.period import ONE_DAY, Period

Days = dict[date, int]
_AS_OF = 12
_SUNDAY = 6


def _times(factor: float, since: int) -> Callable[[Days, date], tuple[Days, Days]]:
    """Multiply the last days, and all that follow."""

    def change(days: Days, as_of: date) -> tuple[Days, Days]:
        first = as_of - (since - 1) * ONE_DAY
        changed = {day: round(n * factor) if day >= first else n for day, n in days.items()}
        return changed, changed

    return change


def _once(factor: float, ago: int) -> Callable[[Days, date], tuple[Days, Days]]:
    """Multiply one day."""

    def change(days: Days, as_of: date) -> tuple[Days, Days]:
        odd = as_of - (ago - 1) * ONE_DAY
        changed = {day: round(n * factor) if day == odd else n for day, n in days.items()}
        return changed, changed

    return change


def _dead(length: int, *, back: bool) -> Callable[[Days, date], tuple[Days, Days]]:
    """Count nothing on the last days; then as before, or nothing for ever."""

    def change(days: Days, as_of: date) -> tuple[Days, Days]:
        first = as_of - (length - 1) * ONE_DAY
        changed = {
            day: 0 if first <= day and (day <= as_of or not back) else n for day, n in days.items()
        }
        return changed, changed

    return change


def _missing(share: float) -> Callable[[Days, date], tuple[Days, Days]]:
    """Leave days of earlier months out."""

    def change(days: Days, as_of: date) -> tuple[Days, Days]:
        chance = random.Random(as_of.toordinal())  # noqa: S311 -- which days are missing
        start = as_of.replace(day=1)
        return {day: n for day, n in days.items() if day >= start or chance.random() > share}, days

    return change


def _weekly(days: Days, _: date) -> tuple[Days, Days]:
    """Know the sums of weeks alone."""
    sums = {
        day: sum(days.get(day - n * ONE_DAY, 0) for n in range(_SUNDAY + 1))
        for day in days
        if day.weekday() == _SUNDAY
    }
    return sums, days


def _unchanged(days: Days, _: date) -> tuple[Days, Days]:
    return days, days


CHANGES: Mapping[str, Callable[[Days, date], tuple[Days, Days]]] = {
    "nothing": _unchanged,
    "10 % of days missing": _missing(0.1),
    "40 % of days missing": _missing(0.4),
    "times 50 yesterday": _once(50, 1),
    "times 50 8 days ago": _once(50, 8),
    **{f"times 3 since {n} days": _times(3, n) for n in (3, 7, 14)},
    **{f"divided by 3 since {n} days": _times(1 / 3, n) for n in (3, 7, 14)},
    **{f"dead {n} days, back": _dead(n, back=True) for n in (2, 5, 10)},
    **{f"dead {n} days, dead": _dead(n, back=False) for n in (2, 5, 10, 21)},
    "weekly sums": _weekly,
}


def play(history: Days) -> dict[str, list[tuple[float, bool] | None]]:
    """Return the error, as a share of the month, and whether the band held it; None: too early."""
    found: dict[str, list[tuple[float, bool] | None]] = {name: [] for name in CHANGES}
    for period in months(history, most=6):
        as_of = period.start + (_AS_OF - 1) * ONE_DAY
        for name, change in CHANGES.items():
            known, came = change(history, as_of)
            found[name].append(_asked(known, came, history, period, as_of))
    return found


def _asked(
    known: Days, came: Days, history: Days, period: Period, as_of: date
) -> tuple[float, bool] | None:
    """Ask of what is known; a month that comes to nothing is measured by what it should have."""
    total = sum(n for day, n in came.items() if day in period)
    measure = total or sum(n for day, n in history.items() if day in period)
    told = forecast(
        {day: n for day, n in known.items() if day <= as_of}, period=period, as_of=as_of
    )
    if not isinstance(told, Forecast):
        return None
    return (told.p50 - total) / measure, told.p10 <= total <= told.p90


def main() -> None:
    """Play every series of the files and print a line for each change."""
    series = [counts for name in sys.argv[1:] for counts in read(Path(name)).values()]
    with ProcessPoolExecutor(2) as workers:
        found = list(workers.map(play, series, chunksize=4))
    for name in CHANGES:
        cases = [each for one in found for each in one[name]]
        told = [each for each in cases if each is not None]
        line = f"{name:26}"
        if told:
            line += (
                f"error {100 * median(abs(off) for off, _ in told):6.1f} %  "
                f"mean {100 * fmean(max(min(off, 9), -9) for off, _ in told):+7.1f} %  "
                f"median {100 * median(off for off, _ in told):+7.1f} %  "
                f"in the band {100 * fmean(inside for _, inside in told):3.0f} %  "
            )
        sys.stdout.write(f"{line}too early {len(cases) - len(told)} of {len(cases)}\n")


if __name__ == "__main__":
    main()
