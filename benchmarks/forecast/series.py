"""Daily series, and the questions a forecaster is asked about their months."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from quota_watch.forecast.forecast import Forecast, forecast
from quota_watch.model.period import ONE_DAY, Period, month_of

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


def questions(counts: dict[date, int], *, months: int) -> Iterator[Question]:
    """Yield the check days of the last `months` whole months that have a month before them."""
    first, last = min(counts), max(counts)
    period = month_of(last + ONE_DAY)
    while months:
        period = month_of(period.start - ONE_DAY)
        if (period.start - first).days < _LEAST_HISTORY:
            return
        actual = sum(count for day, count in counts.items() if day in period)
        if actual >= _LEAST_TOTAL:
            months -= 1
            for day in CHECK_DAYS:
                as_of = period.start + (day - 1) * ONE_DAY
                yield Question(counts, period, as_of, actual)
