"""Short ways to make values of the domain."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from quota_watch.forecast.forecast import Crossing, KeptForecast
from quota_watch.model.period import Period, Usage
from quota_watch.model.source import ErrorKind, Organization, Trouble
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.rules.registry import assess
from quota_watch.rules.verdict import Findings

ACME = Organization("https://app.rybbit.io", "org_acme")
MARCH = Period(date(2026, 3, 1), date(2026, 4, 1))
NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)


def watch(**changes: Any) -> Watch:
    """Return a watch of Acme, limit 100, levels 75, 90 and 100."""
    values: dict[str, Any] = {
        "organization": ACME,
        "name": "Acme",
        "plan": None,
        "limit": 100,
        "limit_source": "config",
        "drops": True,
        "not_counted": frozenset({"error"}),
        "thresholds": (75, 90, 100),
        "blind_after": timedelta(hours=2),
        "channels": ("ops",),
    }
    return Watch(**(values | changes))


def usage(used: int, *, period: Period = MARCH) -> Usage:
    """Return a usage of pageviews alone, all on the period's first day."""
    return Usage(
        period=period,
        used=used,
        by_type={"pageview": used},
        not_counted={},
        today=period.start,
        used_today=used,
    )


def trouble(
    since: datetime = NOON, *, polls: int = 2, kind: ErrorKind = ErrorKind.CONNECTION
) -> Trouble:
    return Trouble(since=since, polls=polls, kind=kind, message="no answer")


KEPT_FORECAST = KeptForecast(
    as_of=date(2026, 3, 14),
    used=50_000,
    p10=76_000,
    p50=90_000,
    p90=104_000,
    probability_over=0.2,
    crosses_on=None,
)
"""What a poll kept of the period at the end of the day before NOON."""


def assess_usage(watch: Watch, usage: Usage) -> Findings:
    """Assess a good poll that counted `usage`; upstream may yet say a limit where there is none."""
    watch = replace(watch, auto=watch.auto or watch.limit is None)
    return assess(Known(watch=watch, period=usage.period, at=NOON, usage=usage, measured_at=NOON))


def assess_trouble(
    watch: Watch,
    trouble: Trouble,
    *,
    last_known: Usage | None,
    period: Period,
    now: datetime,
    crossing: date | None = None,
) -> Findings:
    """Assess a failed poll, `last_known` having been counted before."""
    known = Known(watch=watch, period=period, at=now, usage=last_known, trouble=trouble)
    if crossing is not None:
        crosses_on = Crossing(early=crossing, likely=crossing, late=crossing)
        known = replace(known, kept_forecast=replace(KEPT_FORECAST, crosses_on=crosses_on))
    return assess(known)
