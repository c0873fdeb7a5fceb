"""Short ways to make forecasts and what would help."""

from datetime import date, timedelta
from typing import Any

from quota_watch.forecast.forecast import Crossing, Forecast
from quota_watch.forecast.remedies import PlanFit, Remedies, remedies
from support.domain import MARCH, NOON

LARGER = PlanFit(plan="standard250k", limit=250_000, needed=162_000)
TYPES = {"pageview": 2_870, "button_click": 1_250, "performance": 680, "custom_event": 30}
CROSSING = Crossing(early=date(2026, 3, 17), likely=date(2026, 3, 18), late=date(2026, 3, 20))


def forecast_of(
    p50: int = 117_430,
    *,
    used: int = 61_950,
    probability: float | None = 0.93,
    crosses: Crossing | None = CROSSING,
) -> Forecast:
    """Return a forecast made at noon, the band 14,000 to each side."""
    return Forecast(
        as_of=NOON.date(),
        used=used,
        p10=p50 - 14_000,
        p50=p50,
        p90=p50 + 14_000,
        warn_at=p50,
        path=((p50 - used) / 16,) * 16,
        probability_over=probability,
        crosses_on=crosses,
    )


def helped(seen: Forecast, *, limit: int = 100_000, types: dict[str, int] = TYPES) -> Remedies:
    """Return what would help, after eight weeks of which the last four had twice the clicks."""
    older = types | ({"button_click": 625} if "button_click" in types else {})
    days = {
        NOON.date() - timedelta(days=ago): types if ago <= 28 else older for ago in range(1, 57)
    }
    return remedies(seen, limit=limit, period=MARCH, now=NOON, by_type=days)


def known(seen: Forecast, **more: Any) -> dict[str, Any]:
    """Return what an observation knows besides its count."""
    return {"forecast": seen, "advice": helped(seen), **more}
