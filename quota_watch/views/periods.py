"""Counts of days and of past periods, the forecast of the present one, and days for export."""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, select

from quota_watch.forecast.accuracy import (
    CheckDay,
    DateCheck,
    PastForecast,
    PastPeriod,
    accuracy,
    date_accuracy,
)
from quota_watch.forecast.capped import Losses
from quota_watch.forecast.forecast import DateMemory, DayAhead, TooEarly, days_ahead
from quota_watch.lib.text import by_field, iso, plain
from quota_watch.model.limit import NOT_COUNTED
from quota_watch.model.period import Period, is_over, month_of, percent, previous, sum_types
from quota_watch.model.source import Organization
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.storage import claims
from quota_watch.storage.days import counted_days, totals_of
from quota_watch.storage.forecasts import VERSION, kept_path, made_on
from quota_watch.storage.schema import among, day_usage, forecast, organization
from quota_watch.views.known import known_of, look_ahead, losses_of

_STREAMED = {"yield_per": 500}
_MOST_PERIODS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRecord:
    """The counts of one day, or of the days of a month: then `date` is its first.

    `capped`: events were dropped. `changed_from` is the count at the end of the day, where
    upstream has changed it since.
    """

    date: date
    used: int
    by_type: Mapping[str, int]
    not_counted: Mapping[str, int]
    capped: bool
    changed_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodSum:
    """The counted events of a period: `days` of it are stored; `used` is None where none is."""

    period: Period
    used: int | None
    days: int
    capped: bool = False


def history(connection: Connection, watch: Watch, first: date, last: date) -> list[DayRecord]:
    """Read the kept days from `first` to `last`, oldest first."""
    whose = watch.organization
    pks = claims.keys_of(connection, [whose]).values()
    wanted = Wanted(pks=pks, first=first, last=last)
    return [
        each.day for each in all_days(connection, wanted, not_counted={whose: watch.not_counted})
    ]


def by_month(days: Iterable[DayRecord]) -> list[DayRecord]:
    """Sum days, oldest first, by calendar month, as they are and as they were at their end."""
    months = []
    for first, of_month in groupby(days, lambda day: day.date.replace(day=1)):
        its_days = list(of_month)
        is_changed = any(day.changed_from is not None for day in its_days)
        before = sum(day.used if day.changed_from is None else day.changed_from for day in its_days)
        months.append(
            DayRecord(
                date=first,
                used=sum(day.used for day in its_days),
                by_type=sum_types(day.by_type for day in its_days),
                not_counted=sum_types(day.not_counted for day in its_days),
                capped=any(day.capped for day in its_days),
                changed_from=before if is_changed else None,
            )
        )
    return months


def daily_totals(
    connection: Connection, keys: Mapping[int, str], first: date, last: date
) -> dict[str, list[int | None]]:
    """Read counted events of each day from `first` to `last`, by organization id.

    `keys` are the organizations' ids by key. None stands for a day that is not stored.
    """
    totals = totals_of(connection, keys, first, last)
    return {id_: totals[pk] for pk, id_ in keys.items()}


def last_periods(
    connection: Connection, watch: Watch, *, today: date, periods: int = 12
) -> list[PeriodSum]:
    """Read the counted events of the last periods, oldest first, the current one at the end."""
    months = periods_until(month_of(today), periods)
    days = history(connection, watch, months[0].start, months[-1].last_day)
    by_period = [(period, [day for day in days if day.date in period]) for period in months]
    return [
        PeriodSum(
            period=period,
            used=sum(day.used for day in own) if own else None,
            days=len(own),
            capped=any(day.capped for day in own),
        )
        for period, own in by_period
    ]


def periods_until(last: Period, number: int) -> list[Period]:
    """List periods in a row, oldest first, up to `last`."""
    periods = [last]
    while len(periods) < number:
        periods.append(previous(periods[-1]))
    return periods[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodForecast:
    """What is `known` of the present period and forecast of it, as of the last good poll.

    `path` are the days from today on. `losses` is what was dropped day by day. `accuracy` is how
    far off forecasts of closed periods were, `date_accuracy` the same for the days of crossing.
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

    def to_json(self) -> dict[str, Any]:
        """Write it as `forecast --json` prints it."""
        known, watch, ahead = self.known, self.known.watch, self.known.forecast
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
            "forecast": None
            if ahead is None
            else {
                "p10": ahead.p10,
                "p50": ahead.p50,
                "p90": ahead.p90,
                "warn_at": ahead.warn_at,
                "probability_over": ahead.probability_over,
                "crosses_on": plain(ahead.crosses_on),
                "path": plain(self.path),
            },
            "advice": plain(known.advice),
            "plan_fit": plain(known.plan_fit),
            "lost": plain(self.losses),
            "accuracy": plain(self.accuracy),
            "date_accuracy": plain(self.date_accuracy),
        }


def period_forecast(connection: Connection, watch: Watch, *, now: datetime) -> PeriodForecast:
    """Read what the daemon would forecast of the organization, as of its last good poll."""
    (known,) = known_of(connection, [watch], now=now)
    known = look_ahead(connection, known)
    dropped = next(iter(losses_of(connection, [known]).values()), None)
    closed, past = _judged(connection, known)
    forecast = known.forecast
    return PeriodForecast(
        known=known if dropped is None else replace(known, lost=dropped.total),
        path=() if forecast is None else days_ahead(forecast, forecast.path),
        losses=dropped,
        accuracy=accuracy(closed, past),
        date_accuracy=date_accuracy(closed, past),
    )


def expected_days(connection: Connection, known: Known) -> list[DayAhead]:
    """Read the total that was last forecast for the end of each day to come."""
    forecast = known.kept_forecast
    if known.pk is None or forecast is None:
        return []
    return days_ahead(forecast, kept_path(connection, known.pk, forecast.as_of))


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
    if known.pk is None or not rows:
        return [], {}
    forecasts = {
        made_on(row.as_of): PastForecast(
            as_of=made_on(row.as_of),
            p10=row.p10,
            p50=row.p50,
            p90=row.p90,
            memory=msgspec.convert(row.state.get("memory"), DateMemory | None),
        )
        for row in rows
    }
    months = [month_of(start) for start in sorted({row.period_start for row in rows})]
    counted, capped = counted_days(connection, known.pk, months[0].start, months[-1].last_day)
    periods = [
        PastPeriod(
            period=month,
            counted={day: n for day, n in counted.items() if day in month},
            capped=any(day in month for day in capped),
        )
        for month in months[-_MOST_PERIODS:]
    ]
    return [each for each in periods if len(each.counted) == each.period.days], forecasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which days: from `first` to `last`.

    `pks` None: of every organization in the database, whether the config names it or not.
    """

    pks: Collection[int] | None = None
    first: date = date.min
    last: date = date.max

    def within(self, query: Select[Any]) -> Select[Any]:
        """Narrow a query of the table of days down to them."""
        query = query.where(day_usage.c.date.between(self.first, self.last))
        return (
            query if self.pks is None else query.where(among(day_usage.c.organization_pk, self.pks))
        )


def how_many_days(connection: Connection, wanted: Wanted) -> int:
    """Count those days."""
    return connection.scalar(wanted.within(select(func.count()).select_from(day_usage))) or 0


def types_of(connection: Connection, wanted: Wanted) -> set[str]:
    """List the event types of the days; reads all of them."""
    query = wanted.within(select(day_usage.c.counts)).execution_options(**_STREAMED)
    return {name for counts in connection.scalars(query) for name in counts}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedDay:
    """A day, and whose it is."""

    organization: Organization
    name: str
    day: DayRecord

    def to_json(self) -> dict[str, Any]:
        """Write it as `export` does."""
        day = by_field(self.day, without={"changed_from"})
        whose = {"organization": self.organization.id, "name": self.name}
        return whose | {"server": self.organization.server} | day


def all_days(
    connection: Connection,
    wanted: Wanted,
    *,
    not_counted: Mapping[Organization, Collection[str]],
) -> Generator[ExportedDay, None, None]:
    """Yield the days in constant memory, each organization's oldest first.

    `not_counted` holds the types outside the bill, by organization; Rybbit's for those not in it.
    """
    owner, columns = organization.c, day_usage.c
    query = (
        select(owner.server, owner.id, owner.name, day_usage)
        .join_from(day_usage, organization)
        .order_by(columns.organization_pk, columns.date)
    )
    # Closed also where the reader stops early: PostgreSQL keeps a cursor for it.
    streamed = wanted.within(query).execution_options(**_STREAMED)
    with closing(connection.execute(streamed)) as rows:
        for row in rows:
            whose = Organization(row.server, row.id)
            outside = not_counted.get(whose, NOT_COUNTED)
            by_type = {type_: n for type_, n in row.counts.items() if type_ not in outside}
            day = DayRecord(
                date=row.date,
                used=sum(by_type.values()),
                by_type=by_type,
                not_counted={type_: n for type_, n in row.counts.items() if type_ in outside},
                capped=row.capped,
                changed_from=row.changed_from,
            )
            yield ExportedDay(organization=whose, name=row.name, day=day)
