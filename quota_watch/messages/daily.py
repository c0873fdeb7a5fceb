"""The days of a period as a message shows them: what each had, and what is expected of the rest."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from quota_watch.forecast.forecast import Forecast
from quota_watch.model.period import ONE_DAY, Period, each_day
from quota_watch.rules.known import Known


def daily_of(known: Known, period: Period) -> list[dict[str, Any]] | None:
    """Return a row for each day of `period`: `date`, `used`, `expected`.

    `used` is None where it is not known, and for days to come; `expected` is what a whole day
    should come to, from today on, None where nothing is foretold. None where no day is known.
    """
    ahead = known.foresight
    if ahead is None:
        return None
    used = {day: n for day, n in ahead.past.counted.items() if day in period}
    expected: dict[date, int] = {}
    if known.usage is not None and known.usage.today in period:
        used[known.usage.today] = known.usage.used_today
        expected = _expected(known.forecast, used)
    if not used:
        return None
    return [
        {"date": day.isoformat(), "used": used.get(day), "expected": expected.get(day)}
        for day in each_day(period.start, period.last_day)
    ]


def _expected(forecast: Forecast | None, used: Mapping[date, int]) -> dict[date, int]:
    """Return what is expected of each day after the forecast's; of today with what it has."""
    if forecast is None:
        return {}
    days = (forecast.as_of + (n + 1) * ONE_DAY for n in range(len(forecast.path)))
    return {day: round(n) + used.get(day, 0) for day, n in zip(days, forecast.path, strict=True)}
