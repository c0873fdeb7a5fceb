"""The forecast table, and the outlook of an organization: read before a poll, written after it."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, select, update

from quota_watch.forecast.accuracy import days_judged
from quota_watch.forecast.capped import capped_days
from quota_watch.forecast.forecast import Crossing, DateMemory, Forecast, KeptForecast
from quota_watch.forecast.outlook import (
    TYPE_DAYS,
    Analysis,
    Outlook,
    Past,
    from_json,
    since_first_event,
    stalls_rule_out,
)
from quota_watch.forecast.usual import DayShape, Snapshot, flat_shape, learn_shape, shape_from_json
from quota_watch.model.period import ONE_DAY, DayCounts, Period, Usage, is_over, month_of
from quota_watch.model.source import comparable
from quota_watch.model.watch import Watch
from quota_watch.storage.days import counted_days, days_of
from quota_watch.storage.organizations import known_sites
from quota_watch.storage.schema import among, forecast, organization, snapshot

VERSION = 3
"""Of the method; forecasts that another one made are not compared with."""

_MEMORY = timedelta(days=800)
_SHAPE_DAYS = timedelta(days=29)


def past_of(
    connection: Connection,
    pk: int,
    *,
    watch: Watch,
    usage: Usage,
    now: datetime,
    fetched: Iterable[DayCounts] = (),
    fetched_from: date | None = None,
    row: Row[Any] | None = None,
) -> Past:
    """Read what is known of the days before today; `fetched` days are not stored yet.

    `fetched_from` is the first day that was asked for just now, where closed days were; `row` is
    the organization's, where it was read already.
    """
    today, yesterday = usage.today, usage.today - ONE_DAY
    counted, capped = counted_days(connection, pk, today - _MEMORY, yesterday)
    stored = days_of(connection, [pk], today - TYPE_DAYS, yesterday)[pk] if counted else ()
    new = tuple(fetched)
    days = {day.day: day for day in (*stored, *new) if day.day < today}
    counted |= {day.day: day.counted(watch.not_counted) for day in days.values()}
    if row is None:
        row = connection.execute(select(organization).where(organization.c.pk == pk)).one()
    asked_from = min((day for day in (row.history_from, fetched_from) if day), default=None)
    counted = since_first_event({**counted, today: usage.used_today}, known_from=asked_from)
    del counted[today]
    for period in sorted({month_of(each.day) for each in new if each.day < usage.period.start}):
        capped |= _capped_in(counted, watch, period, today, known=capped)
    capped |= capped_now(counted, watch, usage, known=capped)
    was_watched = row.last_ok is not None
    since = now - ONE_DAY - (watch.stalled_after or ONE_DAY)
    return Past(
        counted=counted,
        capped=capped,
        by_type={
            day: {k: n for k, n in counts.by_type.items() if k not in watch.not_counted}
            for day, counts in sorted(days.items())
            if day >= today - TYPE_DAYS
        },
        snapshots=[
            *(_snapshots(connection, pk, since, now) if was_watched else ()),
            Snapshot(at=now, today=usage.used_today),
        ],
        shape=_shape(connection, pk, counted, capped, today) if was_watched else flat_shape(),
        sites=tuple(comparable(known_sites(row.sites), now=now).values()),
        memory=_date_memory(connection, pk, usage.period, today) if was_watched else None,
    )


def forecast_row(pk: int, analysis: Analysis, usage: Usage) -> dict[str, Any] | None:
    """Return the row of the day's forecast, which replaces an earlier one of the same day."""
    forecast = analysis.forecast
    if not isinstance(forecast, Forecast):
        return None
    return {
        "organization_pk": pk,
        "as_of": forecast.as_of,
        "period_start": usage.period.start,
        "p10": forecast.p10,
        "p50": forecast.p50,
        "p90": forecast.p90,
        "warn_at": forecast.warn_at,
        "path": [round(n, 1) for n in forecast.path],
        "state": {
            "used": forecast.used,
            "probability_over": forecast.probability_over,
            "crosses_on": msgspec.to_builtins(forecast.crosses_on),
            "memory": msgspec.to_builtins(forecast.memory),
            "shape": msgspec.to_builtins(analysis.past.shape),
        },
        "version": VERSION,
    }


def digest_of(days: Sequence[DayCounts], watch: Watch, today: date) -> str:
    """Return a digest of the whole days before `today`, as they are counted."""
    whole = [(day.day, day.by_type) for day in days if day.day < today]
    # What else an outlook depends on: how far back silence is looked for, and what is counted.
    text = msgspec.json.encode((today, watch.stalled_after, sorted(watch.not_counted), whole))
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def kept_outlook(row: Row[Any], digest: str, watch: Watch, usage: Usage) -> Outlook | None:
    """Return the outlook that was fitted to just these days.

    None where there is none, where so little came today that something may have stalled, and while
    events are dropped: then today changes what is learned.
    """
    if row.outlook is None or row.days_digest != digest:
        return None
    if watch.drops and is_over(usage.used, watch.limit):
        return None
    stored = json.loads(row.outlook)
    return from_json(stored["outlook"]) if usage.used_today > stored["awake_from"] else None


def outlook_text(analysis: Analysis, watch: Watch, usage: Usage) -> str | None:
    """Return the outlook that was fitted as text, None where it holds for this poll only."""
    if watch.drops and is_over(usage.used, watch.limit):
        return None
    awake_from = stalls_rule_out(analysis.past, after=watch.stalled_after, today=usage.today)
    stored = {"outlook": analysis.outlook.to_json(), "awake_from": min(awake_from, 1e18)}
    return json.dumps(stored, separators=(",", ":"))


def kept_forecasts(
    connection: Connection, pks: Collection[int], period: Period, today: date
) -> dict[int, KeptForecast]:
    """Read the newest forecast of the period of each organization that has one.

    Without path and shape, which are long: `kept_path` reads the path.
    """
    newest = (
        select(func.max(forecast.c.as_of))
        .where(
            forecast.c.organization_pk == organization.c.pk,
            # The first forecast of a period is as of the day before it: the index knows enough.
            forecast.c.as_of.between(period.start - ONE_DAY, today - ONE_DAY),
        )
        .correlate(organization)
        .scalar_subquery()
    )
    query = (
        select(
            forecast.c.organization_pk,
            forecast.c.as_of,
            forecast.c.p10,
            forecast.c.p50,
            forecast.c.p90,
            forecast.c.state["used"].as_integer(),
            forecast.c.state["probability_over"].as_float(),
            forecast.c.state["crosses_on"],
        )
        .join(organization)
        .where(
            among(organization.c.pk, pks),
            forecast.c.as_of == newest,
            forecast.c.period_start == period.start,
        )
    )
    return {
        pk: KeptForecast(
            as_of=day,
            used=used,
            p10=p10,
            p50=p50,
            p90=p90,
            probability_over=probability,
            crosses_on=crosses_on and msgspec.convert(crosses_on, Crossing),
        )
        for pk, day, p10, p50, p90, used, probability, crosses_on in connection.execute(query)
    }


def kept_path(connection: Connection, pk: int, as_of: date) -> list[float]:
    """Read what a stored forecast expects of each day after `as_of`; empty if there is none."""
    query = select(forecast.c.path).where(
        forecast.c.organization_pk == pk, forecast.c.as_of == as_of
    )
    return list(connection.scalar(query) or ())


def kept_shapes(connection: Connection, as_of: Mapping[int, date]) -> dict[int, DayShape]:
    """Read, by organization, the shape of a day that was stored with its forecast of that day."""
    query = select(forecast.c.organization_pk, forecast.c.as_of, forecast.c.state["shape"]).where(
        among(forecast.c.organization_pk, as_of), forecast.c.as_of.in_(set(as_of.values()))
    )
    rows = connection.execute(query)
    return {pk: shape_from_json(shape) for pk, day, shape in rows if day == as_of[pk]}


def made_on(as_of: date) -> date:
    """Return the day at whose end a stored forecast was made.

    The polls of the day after `as_of` write it over until that day is over.
    """
    return as_of + ONE_DAY


def thin_out(connection: Connection, pk: int, *, period: Period, oldest: date) -> int:
    """Reduce closed periods to what forecasts are judged by; return the rows deleted."""
    closed = (forecast.c.organization_pk == pk, forecast.c.as_of < period.start - ONE_DAY)
    rows = connection.execute(select(forecast.c.period_start, forecast.c.as_of).where(*closed))
    days = _not_judged((row.period_start, row.as_of) for row in rows)
    superfluous = delete(forecast).where(*closed, forecast.c.as_of.in_(days))
    deleted = connection.execute(superfluous).rowcount
    whole = select(forecast.c.as_of, forecast.c.state).where(
        *closed, forecast.c.warn_at.is_not(None)
    )
    for row in connection.execute(whole).all():
        connection.execute(
            update(forecast)
            .where(*closed, forecast.c.as_of == row.as_of)
            .values(path=[], state={"memory": row.state.get("memory")}, warn_at=None)
        )
    ended = delete(forecast).where(forecast.c.organization_pk == pk, forecast.c.as_of < oldest)
    return deleted + connection.execute(ended).rowcount


def _not_judged(rows: Iterable[tuple[date, date]]) -> set[date]:
    """Return the `as_of` of forecasts that nothing is judged by, of their periods and `as_of`."""
    days_made: dict[date, dict[date, date]] = {}
    for start, as_of in rows:
        days_made.setdefault(start, {})[made_on(as_of)] = as_of
    return {
        as_of
        for start, days in days_made.items()
        for day, as_of in days.items()
        if day not in days_judged(days, start)
    }


def capped_now(
    counted: dict[date, int], watch: Watch, usage: Usage, *, known: Collection[date]
) -> frozenset[date]:
    """Return the days of the period, today too, on which events were dropped, if they are now."""
    if not watch.drops or not is_over(usage.used, watch.limit):
        return frozenset()
    with_today = {**counted, usage.today: usage.used_today}
    days = _capped_in(with_today, watch, usage.period, usage.today, known=known)
    return days | {usage.today}  # while events are dropped, what is missing today means nothing


def _capped_in(
    counted: dict[date, int], watch: Watch, period: Period, today: date, *, known: Collection[date]
) -> frozenset[date]:
    if not watch.drops or watch.limit is None:
        return frozenset()
    return capped_days(
        counted,
        period=period,
        limit=watch.limit,
        today=today,
        known=known,
        since=watch.limit_since,
    )


def _shape(
    connection: Connection,
    pk: int,
    counted: dict[date, int],
    capped: Collection[date],
    today: date,
) -> DayShape:
    """Return the shape of a day as it was learned today, or learn it."""
    query = select(forecast.c.state["shape"]).where(
        forecast.c.organization_pk == pk, forecast.c.as_of == today - ONE_DAY
    )
    shape = connection.scalar(query)
    if shape is not None:
        return shape_from_json(shape)
    if not counted:
        return flat_shape()
    midnight = datetime.combine(today, time.min, UTC)
    snapshots = _snapshots(connection, pk, midnight - _SHAPE_DAYS, midnight)
    return learn_shape(snapshots, totals=counted, today=today, excluded=capped)


def _date_memory(connection: Connection, pk: int, period: Period, today: date) -> DateMemory | None:
    """Read which date was reported for the limit by the last forecast before yesterday's end."""
    query = (
        select(forecast.c.state["memory"])
        .where(forecast.c.organization_pk == pk, forecast.c.version == VERSION)
        .where(forecast.c.as_of.between(period.start - ONE_DAY, today - 2 * ONE_DAY))
        .where(forecast.c.period_start == period.start)
        .order_by(forecast.c.as_of.desc())
        .limit(1)
    )
    return msgspec.convert(connection.scalar(query), DateMemory | None)


def _snapshots(connection: Connection, pk: int, since: datetime, until: datetime) -> list[Snapshot]:
    query = (
        select(snapshot.c.at, snapshot.c.today)
        .where(snapshot.c.organization_pk == pk, snapshot.c.at >= since, snapshot.c.at < until)
        .order_by(snapshot.c.at)
    )
    return [Snapshot(at=at, today=today) for at, today in connection.execute(query)]
