"""Daily series, and the questions a forecaster is asked about their months."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from quota_watch.forecast.forecast import Forecast, forecast
from quota_watch.model.period import ONE_DAY, Period, each_day, month_of, previous

CHECK_DAYS = (3, 5, 7, 10, 14, 18, 22, 25)
_LEAST_HISTORY, _LEAST_TOTAL = 28, 100


@dataclass(frozen=True, slots=True)
class Question:
    """What was known at the end of a day, and what the month came to."""

    history: dict[date, int]
    period: Period
    as_of: date
    actual: int

    def answer(self) -> Forecast:
        """Ask the forecaster."""
        seen = forecast(self.history, period=self.period, as_of=self.as_of)
        if not isinstance(seen, Forecast):
            raise TypeError(f"too early at {self.as_of}")
        return seen


def read(path: Path) -> dict[str, dict[date, int]]:
    """Read `series_id,date,count` rows."""
    series: dict[str, dict[date, int]] = defaultdict(dict)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            series[row["series_id"]][date.fromisoformat(row["date"])] = int(row["count"])
    return series


def months(counts: Mapping[date, int], *, most: int) -> Iterator[Period]:
    """Yield the last whole months that have a month before them and a hundred events, at most."""
    first = min(counts)
    period = month_of(max(counts) + ONE_DAY)
    while most:
        period = previous(period)
        if (period.start - first).days < _LEAST_HISTORY:
            return
        days = each_day(period.start, period.last_day)
        if sum(counts.get(day, 0) for day in days) >= _LEAST_TOTAL:
            most -= 1
            yield period


def questions(counts: dict[date, int], *, most: int) -> Iterator[Question]:
    """Yield the check days of the last months."""
    for period in months(counts, most=most):
        actual = sum(count for day, count in counts.items() if day in period)
        for day in CHECK_DAYS:
            yield Question(counts, period, period.start + (day - 1) * ONE_DAY, actual)
