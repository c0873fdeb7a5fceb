"""What `forecast` shows of one organization: read from the store, computed by the domain alone."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, select

from quota_watch.forecast.accuracy import CheckDay, PastForecast, PastPeriod, accuracy
from quota_watch.forecast.capped import Losses
from quota_watch.forecast.forecast import DayAhead, Forecast, TooEarly, days_ahead
from quota_watch.forecast.outlook import Foresight
from quota_watch.lib.plain import iso, plain
from quota_watch.model.period import Period, month_of, period_json
from quota_watch.model.usage import Usage, is_over, percent
from quota_watch.model.watch import Watch
from quota_watch.storage import days as record
from quota_watch.storage.forecasts import VERSION, made_on
from quota_watch.storage.schema import forecast
from quota_watch.views.known import known_of, look_ahead, losses_of

_MOST_PERIODS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What is known of the present period and foretold of it.

    `watch` is what is agreed with upstream. All is as of `measured_at`, the last good poll. Where
    there was none in this period, `usage` and what follows from it are None. `ahead` are the days
    from today on. `accuracy` is of closed periods.
    """

    watch: Watch
    period: Period
    measured_at: datetime | None
    usage: Usage | None = None
    foresight: Foresight | None = None
    ahead: tuple[DayAhead, ...] = ()
    losses: Losses | None = None
    accuracy: tuple[CheckDay, ...] = ()

    @property
    def forecast(self) -> Forecast | None:
        """What the period will come to, where that can be told."""
        seen = None if self.foresight is None else self.foresight.forecast
        return seen if isinstance(seen, Forecast) else None

    @property
    def too_early(self) -> TooEarly | None:
        """Why nothing is foretold although the period is watched."""
        seen = None if self.foresight is None else self.foresight.forecast
        return seen if isinstance(seen, TooEarly) else None


def prospect(connection: Connection, watch: Watch, *, now: datetime) -> Prospect:
    """Return what the daemon would foretell of the organization, as of its last good poll."""
    (known,) = known_of(connection, [watch], now=now)
    known = look_ahead(connection, known)
    period = known.period
    seen = None if known.foresight is None else known.foresight.forecast
    return Prospect(
        watch=known.watch,
        period=period,
        measured_at=known.measured_at or known.last_ok,
        usage=known.usage,
        foresight=known.foresight,
        ahead=days_ahead(seen) if isinstance(seen, Forecast) else (),
        losses=losses_of(known),
        accuracy=() if known.pk is None else accuracy_of(connection, known.pk, before=period),
    )


def accuracy_of(connection: Connection, pk: int, *, before: Period) -> tuple[CheckDay, ...]:
    """Return how far off the forecasts of closed periods were that are known whole."""
    columns = forecast.c
    query = select(forecast).where(
        columns.organization_pk == pk,
        columns.period_start < before.start,
        columns.version == VERSION,
    )
    rows = connection.execute(query).all()
    kept = {
        made_on(row.as_of): PastForecast(
            as_of=made_on(row.as_of), p10=row.p10, p50=row.p50, p90=row.p90
        )
        for row in rows
    }
    starts = sorted({row.period_start for row in rows})[-_MOST_PERIODS:]
    return accuracy(_closed(connection, pk, starts), kept) if starts else ()


def prospect_json(seen: Prospect) -> dict[str, Any]:
    """Return it as `forecast --json` prints it."""
    watch, usage = seen.watch, seen.usage
    used = None if usage is None else usage.used
    return {
        "id": watch.organization.id,
        "name": watch.name,
        "server": watch.organization.server,
        "plan": watch.plan,
        "limit": watch.limit,
        "used": used,
        "percent": None if used is None else percent(used, watch.limit),
        "over": None if used is None else is_over(used, watch.limit),
        "drops": watch.drops,
        "period": period_json(seen.period),
        "measured_at": iso(seen.measured_at),
        "too_early": plain(seen.too_early),
        "forecast": _forecast_json(seen),
        "advice": plain(seen.foresight.advice) if seen.foresight else None,
        "plan_fit": plain(seen.foresight.plan_fit) if seen.foresight else None,
        "lost": plain(seen.losses),
        "accuracy": plain(seen.accuracy),
    }


def _forecast_json(seen: Prospect) -> dict[str, Any] | None:
    told = seen.forecast
    if told is None:
        return None
    return {
        "p10": told.p10,
        "p50": told.p50,
        "p90": told.p90,
        "warn_at": told.warn_at,
        "probability_over": told.probability_over,
        "crosses_on": plain(told.crosses_on),
        "path": [{"date": each.pop("day"), **each} for each in (plain(day) for day in seen.ahead)],
    }


def _closed(connection: Connection, pk: int, starts: list[date]) -> list[PastPeriod]:
    """Return what those periods came to of which every day is known."""
    periods = [month_of(start) for start in starts]
    counted, capped = record.counted_days(connection, pk, starts[0], periods[-1].last_day)
    found = []
    for period in periods:
        days = [n for day, n in counted.items() if day in period]
        if len(days) == period.days:
            dropped = any(day in period for day in capped)
            found.append(PastPeriod(start=period.start, total=sum(days), capped=dropped))
    return found
