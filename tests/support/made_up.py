"""Made-up forecasts, advice and details, for the samples that templates are tried with."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

from quota_watch.forecast.forecast import Crossing, Forecast, TooEarly
from quota_watch.forecast.outlook import Analysis, Past, fit
from quota_watch.forecast.remedies import PlanFit, Remedies, remedies
from quota_watch.forecast.usual import flat_shape
from quota_watch.lib.text import iso, plain
from quota_watch.model.period import ONE_DAY, Period, each_day, month_of
from quota_watch.model.source import ErrorKind
from quota_watch.rules.spike import Spike, TypeExcess
from quota_watch.rules.stalled import Stall
from quota_watch.rules.verdict import Reason

SERVER = "https://app.rybbit.io"
TODAYS_PART = 20
"""One in so many of a made-up count is today's."""
REFUSED: Mapping[str, Any] = {"problems": ["poll.intervall: unknown key; did you mean interval?"]}
FOUND: Mapping[str, Any] = {
    "id": "org_new",
    "server": SERVER,
    "name": "New & Co",
    "plan": "pro1m",
    "limit": 1_000_000,
    "watched": False,
}
_TO_COME = 55_480
_SAT_SUN = (5, 6)
_WEEKEND = 0.55


def analysis(
    forecast: Forecast | TooEarly,
    *,
    advice: Remedies | None = None,
    plan_fit: PlanFit | None = None,
    counted: Mapping[date, int] | None = None,
) -> Analysis:
    """Return what follows from a past of which nothing but `counted` days is known."""
    past = Past(counted=counted or {}, capped=(), by_type={}, snapshots=(), shape=flat_shape())
    return Analysis(
        past=past,
        outlook=fit({}, period=month_of(date(2026, 3, 1)), as_of=date(2026, 3, 14)),
        forecast=forecast,
        advice=advice,
        plan_fit=plan_fit,
    )


def counted(used: int, first: date, today: date) -> dict[date, int]:
    """Return days before today that come to `used`, with quiet weekends and one busy day."""
    days = list(each_day(first, today - ONE_DAY))
    busy = days[len(days) // 2] if days else None
    return dict(zip(days, _shared(used, days, busy), strict=True))


def _shared(total: int, days: Sequence[date], busy: date | None = None) -> list[int]:
    """Share a total out to days, less to weekends and more to the `busy` one."""
    shares = [_WEEKEND if day.weekday() in _SAT_SUN else 1.0 for day in days]
    shares = [1.5 if day == busy else each for day, each in zip(days, shares, strict=True)]
    sums = [round(total * sum(shares[:n]) / sum(shares)) for n in range(len(days) + 1)]
    return [after - before for before, after in pairwise(sums)]


def at_risk(used: int, limit: int, period: Period, now: datetime) -> Analysis:
    """Return a forecast over the limit, what would help, and a plan that would do."""
    total, high = used + _TO_COME, used + 70_900
    ahead = list(each_day(now.date(), period.last_day))
    forecast = Forecast(
        as_of=now.date() - ONE_DAY,
        used=used,
        p10=used + 41_300,
        p50=total,
        p90=high,
        warn_at=used + 50_000,
        path=tuple(map(float, _shared(_TO_COME, ahead))),
        probability_over=0.93,
        crosses_on=_crossing(now.date(), period),
    )
    advice = remedies(forecast, limit=limit, period=period, now=now, by_type=_days(now.date()))
    plan = PlanFit(plan="standard250k", limit=250_000, needed=high)
    days = counted(used - used // TODAYS_PART, period.start, now.date())
    return analysis(forecast, advice=advice, plan_fit=plan, counted=days)


def _crossing(today: date, period: Period) -> Crossing:
    early, likely, late = (min(today + timedelta(days=days), period.last_day) for days in (2, 3, 5))
    return Crossing(early=early, likely=likely, late=late)


def _days(today: date) -> dict[date, dict[str, int]]:
    """Return eight weeks of days by type; clicks have doubled, web vitals are new."""
    month = 28
    older = {"pageview": 2_750, "button_click": 480}
    newer = {"pageview": 2_870, "button_click": 1_250, "performance": 680}
    return {
        today - timedelta(days=ago): newer if ago <= month else older
        for ago in range(1, 2 * month + 1)
    }


def spike(now: datetime) -> dict[str, Any]:
    """Return the detail of a day far above the usual."""
    grown = TypeExcess(type="custom_event", counted=15_200, expected=1_100, excess=14_100)
    found: dict[str, Any] = plain(
        Spike(
            day=now.date(),
            counted=19_400,
            expected=4_600,
            excess=14_800,
            excess_percent=14.8,
            factor=4.2,
            moves_over=False,
            types=(grown,),
        )
    )
    return found


def stall(now: datetime) -> dict[str, Any]:
    """Return the detail of a silence."""
    since = now - timedelta(hours=26)
    found: dict[str, Any] = plain(
        Stall(since=since, hours=26.0, counted=0, expected=5_230, last_seen=since)
    )
    return found


def all_failing(now: datetime, name: str) -> dict[str, Any]:
    """Return the detail of a server that refuses the key for all."""
    return {
        "organizations": 40,
        "names": [name, "Other"],
        "since": iso(now - timedelta(hours=2)),
        "kind": ErrorKind.FORBIDDEN.value,
        "error": "the server refuses the API key (HTTP 403: Forbidden)",
    }


def failing_channel(now: datetime) -> dict[str, Any]:
    """Return the detail of a channel that keeps failing."""
    return {
        "since": iso(now - timedelta(hours=1)),
        "attempts": 7,
        "last_error": "smtp.example.com:587: connection refused",
    }


def detail_of(reason: Reason, now: datetime) -> dict[str, Any]:
    """Return the figures that a rule gives with its reason."""
    small = {"limit": 100_000, "plan": "standard100k", "status": "active"}
    large = {"limit": 250_000, "plan": "standard250k", "status": "active"}
    none = {"limit": None, "plan": None, "status": None}
    details: dict[Reason, Mapping[str, Any]] = {
        Reason.ABOVE_EXPECTED: spike(now),
        Reason.NO_EVENTS: stall(now),
        Reason.ALL_POLLS_FAIL: all_failing(now, "Acme"),
        Reason.CHANNEL_FAILS: failing_channel(now),
        Reason.CONFIG_REFUSED: REFUSED,
        Reason.DISCOVERED: FOUND,
        Reason.KEY_SEES_LESS: {"ours": 91_234, "theirs": 120_500},
        Reason.UPSTREAM_COUNTS_LESS: {"ours": 91_234, "theirs": 60_100},
        Reason.USED_FELL: {"before": 120_500, "days": None},
        Reason.PAST_DAYS_GREW: {"before": 27_830, "after": 166_980, "days": 31},
        Reason.BUDGET_REACHED: {"site": "shop.example", "used": 45_120, "budget": 50_000},
        Reason.CLOSED_OVER: {"used": 104_310, "limit": 100_000},
        Reason.LIMIT_RAISED: {"before": small, "after": large},
        Reason.LIMIT_LOWERED: {"before": large, "after": small},
        Reason.LIMIT_FOUND: {"before": none, "after": small},
        Reason.LIMIT_REMOVED: {"before": small, "after": none},
        Reason.STATUS_CHANGED: {"before": small | {"status": "trialing"}, "after": small},
        Reason.RYBBIT_DROPS_EVENTS: {
            "since": iso(now - timedelta(hours=1)),
            "theirs": 100_412,
            "their_limit": 100_000,
            "plan": "standard100k",
            "status": "active",
        },
        Reason.SITES_NEED_PLAN: {"sites": ["new.example"], "of": 2, "new": ["new.example"]},
    }
    return dict(details.get(reason, {}))
