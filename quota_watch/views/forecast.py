"""What the present period will come to and what it lost, for those who ask about one or all."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, select

from quota_watch.forecast.accuracy import (
    CheckDay,
    DateCheck,
    PastForecast,
    PastPeriod,
    accuracy,
    date_accuracy,
)
from quota_watch.forecast.capped import Losses, capped_days, losses
from quota_watch.forecast.forecast import DayAhead, Forecast, TooEarly, days_ahead
from quota_watch.forecast.outlook import memory_from_json
from quota_watch.forecast.usual import DayShape, flat_shape, shape_from_json, share_at
from quota_watch.lib.text import Estimate, iso, plain
from quota_watch.model.period import ONE_DAY, each_day, is_over, month_of, percent
from quota_watch.model.watch import Watch
from quota_watch.rules.known import KeptForecast, Known
from quota_watch.storage import days as record
from quota_watch.storage.days import BASELINE
from quota_watch.storage.forecasts import VERSION, kept_path, made_on
from quota_watch.storage.schema import among, day_usage, forecast
from quota_watch.views.known import known_of, look_ahead

Json = dict[str, Any]

_MOST_PERIODS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodForecast:
    """What is `known` of the present period and forecast of it, as of the last good poll.

    `path` are the days from today on. `losses` is what was dropped day by day. `accuracy` is how
    far off forecasts of closed periods were, `date_accuracy` the days told in those that crossed.
    """

    known: Known
    path: Sequence[DayAhead] = ()
    losses: Losses | None = None
    accuracy: Sequence[CheckDay] = ()
    date_accuracy: Sequence[DateCheck] = ()

    @property
    def too_early(self) -> TooEarly | None:
        """Why nothing is forecast although the period is watched."""
        ahead = None if self.known.analysis is None else self.known.analysis.forecast
        return ahead if isinstance(ahead, TooEarly) else None

    def to_json(self) -> Json:
        """Write it as `forecast --json` prints it."""
        known, watch = self.known, self.known.watch
        used = None if known.usage is None else known.usage.used
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
            "period": known.period.to_json(),
            "measured_at": iso(known.measured_at or known.last_ok),
            "too_early": plain(self.too_early),
            "forecast": self._forecast_json(),
            "advice": plain(known.advice),
            "plan_fit": plain(known.plan_fit),
            "lost": plain(self.losses),
            "accuracy": plain(self.accuracy),
            "date_accuracy": plain(self.date_accuracy),
        }

    def _forecast_json(self) -> Json | None:
        ahead = self.known.forecast
        if ahead is None:
            return None
        days = (plain(day) for day in self.path)
        return {
            "p10": ahead.p10,
            "p50": ahead.p50,
            "p90": ahead.p90,
            "warn_at": ahead.warn_at,
            "probability_over": ahead.probability_over,
            "crosses_on": plain(ahead.crosses_on),
            "path": [{"date": day.pop("day"), **day} for day in days],
        }


def period_forecast(connection: Connection, watch: Watch, *, now: datetime) -> PeriodForecast:
    """Read what the daemon would forecast of the organization, as of its last good poll."""
    (known,) = known_of(connection, [watch], now=now)
    known = look_ahead(connection, known)
    dropped = losses_of(known)
    closed, past = _judged(connection, known)
    forecast = known.forecast
    return PeriodForecast(
        known=known if dropped is None else replace(known, lost=dropped.total),
        path=() if forecast is None else _days_ahead(forecast, forecast.path),
        losses=dropped,
        accuracy=accuracy(closed, past),
        date_accuracy=date_accuracy(closed, past),
    )


def expected_days(connection: Connection, known: Known) -> list[DayAhead]:
    """Read the total that was last forecast for the end of each day to come."""
    forecast = known.kept_forecast
    if known.pk is None or forecast is None:
        return []
    return _days_ahead(forecast, kept_path(connection, known.pk, forecast.as_of))


def _days_ahead(forecast: Forecast | KeptForecast, path: Sequence[float]) -> list[DayAhead]:
    return days_ahead(
        as_of=forecast.as_of,
        used=forecast.used,
        path=path,
        p10=forecast.p10,
        p50=forecast.p50,
        p90=forecast.p90,
    )


def _judged(
    connection: Connection, known: Known
) -> tuple[list[PastPeriod], dict[date, PastForecast]]:
    """Read the closed periods that are known whole, and the forecasts that were made of them."""
    columns = forecast.c
    query = select(forecast).where(
        columns.organization_pk == known.pk,
        columns.period_start < known.period.start,
        columns.version == VERSION,
    )
    rows = connection.execute(query).all()
    forecasts = {
        made_on(row.as_of): PastForecast(
            as_of=made_on(row.as_of),
            p10=row.p10,
            p50=row.p50,
            p90=row.p90,
            memory=memory_from_json(row.state.get("memory")),
        )
        for row in rows
    }
    starts = sorted({row.period_start for row in rows})[-_MOST_PERIODS:]
    return _closed(connection, known.pk, starts), forecasts


def losses_of(known: Known) -> Losses | None:
    """Estimate what was dropped day by day and what will be; None where nothing is, or can be.

    Takes what `look_ahead` returned. What will be is what the forecast says, as in messages.
    """
    usage, at, forecast = known.usage, known.measured_at, known.forecast
    if known.analysis is None or usage is None or at is None or not _is_dropping(known):
        return None
    past = known.analysis.past
    dropped = _losses(known, past.counted, past.capped, past.shape)
    if dropped is None or forecast is None:
        return dropped
    days_left = max((known.period.resets_at - at) / ONE_DAY, 1.0)
    to_come = [max(0, total - usage.used) for total in (forecast.p10, forecast.p50, forecast.p90)]
    a_day = Estimate(*(round(events / days_left) for events in to_come))
    return replace(dropped, until_reset=Estimate(*to_come), a_day=a_day)


def losses_so_far(connection: Connection, organizations: Iterable[Known]) -> dict[int, Estimate]:
    """Estimate by key what was dropped, where something is: what `losses_of` says, for many."""
    dropping = {
        known.pk: known for known in organizations if known.pk is not None and _is_dropping(known)
    }
    if not dropping:
        return {}
    first = min(known.period.start for known in dropping.values()) - BASELINE
    days = _counted_days(connection, dropping, first)
    shapes = _shapes(connection, dropping)
    lost = {}
    for pk, known in dropping.items():
        counted, capped = days[pk]
        losses = _losses(known, counted, _capped(known, counted, capped), shapes[pk])
        if losses is not None:
            lost[pk] = losses.total
    return lost


def _is_dropping(known: Known) -> bool:
    watch, usage = known.watch, known.usage
    return usage is not None and watch.drops and is_over(usage.used, watch.limit)


def _losses(
    known: Known, counted: Mapping[date, int], capped: Collection[date], shape: DayShape
) -> Losses | None:
    usage, at = known.usage, known.measured_at
    if usage is None or at is None:
        return None
    return losses(
        {**counted, usage.today: usage.used_today},
        capped=capped,
        period=usage.period,
        today=usage.today,
        share=share_at(shape, at),
    )


def _capped(known: Known, counted: Mapping[date, int], marked: set[date]) -> set[date]:
    """Add today, and days that collapsed and are not marked yet, to those that are."""
    usage, limit = known.usage, known.watch.limit
    if usage is None or limit is None:
        return marked
    days = {**counted, usage.today: usage.used_today}
    collapsed = capped_days(days, period=usage.period, limit=limit, today=usage.today, known=marked)
    return marked | collapsed | {usage.today}


def _counted_days(
    connection: Connection, organizations: Mapping[int, Known], first: date
) -> dict[int, tuple[dict[date, int], set[date]]]:
    """Read counted events by day up to the last good poll's, and which days are capped."""
    columns = day_usage.c
    last = max((known.at.date() for known in organizations.values()), default=first)
    totals = record.totals_of(connection, organizations, first, last)
    query = select(columns.organization_pk, columns.date).where(
        among(columns.organization_pk, organizations), columns.date >= first, columns.capped
    )
    capped: dict[int, set[date]] = {pk: set() for pk in organizations}
    for pk, day in connection.execute(query):
        capped[pk].add(day)
    days = list(each_day(first, last))
    counted: dict[int, tuple[dict[date, int], set[date]]] = {}
    for pk, known in organizations.items():
        today = known.at.date() if known.usage is None else known.usage.today
        pairs = zip(days, totals[pk], strict=True)
        before = {day: used for day, used in pairs if used is not None and day < today}
        counted[pk] = before, {day for day in capped[pk] if day < today}
    return counted


def _shapes(connection: Connection, organizations: Mapping[int, Known]) -> dict[int, DayShape]:
    """Read the shapes of a day as they were learned last."""
    columns = forecast.c
    days = {known.kept_forecast.as_of for known in organizations.values() if known.kept_forecast}
    query = select(columns.organization_pk, columns.as_of, columns.state["shape"]).where(
        among(columns.organization_pk, organizations), columns.as_of.in_(days)
    )
    shapes = dict.fromkeys(organizations, flat_shape())
    for pk, as_of, shape in connection.execute(query):
        stored = organizations[pk].kept_forecast
        if shape is not None and stored is not None and stored.as_of == as_of:
            shapes[pk] = shape_from_json(shape)
    return shapes


def _closed(connection: Connection, pk: int | None, starts: list[date]) -> list[PastPeriod]:
    """Return those periods of which every day is known."""
    if pk is None or not starts:
        return []
    periods = [month_of(start) for start in starts]
    counted, capped = record.counted_days(connection, pk, starts[0], periods[-1].last_day)
    closed = []
    for period in periods:
        days = {day: n for day, n in counted.items() if day in period}
        if len(days) == period.days:
            dropped = any(day in period for day in capped)
            closed.append(PastPeriod(start=period.start, counted=days, capped=dropped))
    return closed
