"""What a periodic report tells: read from the store, computed by the domain alone."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import Connection, Row, select

from quota_watch.forecast.capped import lost
from quota_watch.forecast.remedies import smaller_plan
from quota_watch.lib.plain import iso, plain
from quota_watch.model.period import Period, each_day, month_of, previous
from quota_watch.model.report import ReportKind, ReportSpan
from quota_watch.model.usage import is_over, percent
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.storage import claims
from quota_watch.storage import days as record
from quota_watch.storage.among import among
from quota_watch.storage.closed import BASELINE, closed_period
from quota_watch.storage.schema import alert, delivery, organization
from quota_watch.views.forecast import PeriodForecast, period_forecast
from quota_watch.views.status import Status, statuses

Json = dict[str, Any]

_CLOSED_PERIODS = 3
_MOST_STORIES = 12


def is_ready(connection: Connection, watches: Sequence[Watch], span: ReportSpan) -> bool:
    """Tell whether all that the report is about was polled since it was due.

    For a month, once more after it had closed.
    """
    pks = claims.keys_of(connection, [each.organization for each in watches]).values()
    columns = organization.c
    query = select(columns.last_ok, columns.reread_on).where(among(columns.pk, pks))
    rows = connection.execute(query).all()
    fresh = [
        row.last_ok is not None
        and row.last_ok >= span.due_at
        and (span.kind is not ReportKind.MONTHLY or _reread(row.reread_on, span))
        for row in rows
    ]
    return len(rows) == len(watches) and all(fresh)


def is_known(connection: Connection, watches: Sequence[Watch], span: ReportSpan) -> bool:
    """Tell whether any of the organizations was polled since the report's days have ended."""
    pks = claims.keys_of(connection, [each.organization for each in watches]).values()
    columns = organization.c
    query = select(columns.last_ok).where(among(columns.pk, pks))
    return any(at is not None and at >= span.ended_at for at in connection.scalars(query))


def told(connection: Connection, span: ReportSpan) -> set[tuple[str, str]]:
    """Return the channels and recipients that have the report, or will have it."""
    columns = delivery.c
    query = select(columns.channel, columns.recipient).where(columns.transition_id == span.id)
    return {(channel, recipient) for channel, recipient in connection.execute(query)}


def organizations(
    connection: Connection,
    watches: Sequence[Watch],
    span: ReportSpan,
    *,
    now: datetime,
) -> list[Json]:
    """Return what the report says of each organization."""
    keys = claims.keys_of(connection, [each.organization for each in watches])
    stories: dict[int, list[Json]] = {}
    for row in _stories(connection, span, now, pks=keys.values()):
        stories.setdefault(row.organization_pk, []).append(_story(row))
    found = []
    for watch, status in zip(watches, statuses(connection, watches, now=now), strict=True):
        entry = _identity(status) | _nothing()
        pk = status.known.pk
        if pk is not None:
            present = period_forecast(connection, watch, now=now)
            entry |= _now(present)
            entry["span"], entry["days"] = _span(connection, pk, span)
            if span.kind is ReportKind.MONTHLY:
                entry |= _closed(connection, pk, present.known.watch, span)
            entry["accuracy"] = _accuracy(present)
            entry["smaller_plan"] = _smaller_plan(connection, pk, present.known)
            entry["told"] = stories.get(pk, [])
        found.append(entry)
    return found


def own_affairs(connection: Connection, span: ReportSpan, *, now: datetime) -> list[Json]:
    """Return the stories about no single organization: channels, the config, a whole server."""
    return [_story(row) for row in _stories(connection, span, now, pks=None)]


def _reread(day: date | None, span: ReportSpan) -> bool:
    return day is not None and day > span.last


def _identity(status: Status) -> Json:
    names = ("id", "name", "plan", "server", "state", "blind")
    return {name: getattr(status, name) for name in names}


def _nothing() -> Json:
    names = ("period", "used", "limit", "percent", "over", "measured_at", "coming", "lost")
    rest = ("span", "days", "accuracy", "smaller_plan")
    return {**dict.fromkeys((*names, *rest)), "told": []}


def _now(present: PeriodForecast) -> Json:
    """Return the present period."""
    shape = present.to_json()
    names = ("plan", "period", "used", "limit", "percent", "over", "measured_at")
    lost = shape["lost"] and shape["lost"]["total"]
    return {name: shape[name] for name in names} | {"coming": _coming(present), "lost": lost}


def _coming(present: PeriodForecast) -> Json | None:
    forecast = present.known.forecast
    if forecast is None:
        return None
    names = ("p10", "p50", "p90", "probability_over", "crosses_on")
    figures = {name: plain(getattr(forecast, name)) for name in names}
    return {"period": present.known.period.to_json(), **figures}


def _closed(connection: Connection, pk: int, watch: Watch, span: ReportSpan) -> Json:
    """Return the period that has closed, in the place of the present one."""
    period = month_of(span.first)
    closed = closed_period(connection, pk, watch=watch, period=period)
    if closed is None:
        used, limit = _sum(connection, pk, period), watch.limit
        gone = _lost(connection, pk, watch, period)
    else:
        used, limit, gone = closed.used, closed.limit, plain(closed.lost)
    return {
        "period": period.to_json(),
        "used": used,
        "limit": limit,
        "percent": None if used is None else percent(used, limit),
        "over": None if used is None else is_over(used, limit),
        "lost": gone,
    }


def _lost(connection: Connection, pk: int, watch: Watch, period: Period) -> Json | None:
    if not watch.drops:
        return None
    counted, capped = record.counted_days(connection, pk, period.start - BASELINE, period.last_day)
    ours = {day for day in capped if day in period}
    found: Json | None = plain(lost(counted, capped=ours, before_today=period.end))
    return found


def _sum(connection: Connection, pk: int, period: Period) -> int | None:
    """Return what a period came to, None where not every day of it is known."""
    counted, _ = record.counted_days(connection, pk, period.start, period.last_day)
    return sum(counted.values()) if len(counted) == period.days else None


def _span(connection: Connection, pk: int, span: ReportSpan) -> tuple[Json, list[int | None]]:
    """Return what the days came to, against those before, and what each of them had."""
    counted, _ = record.counted_days(connection, pk, span.before, span.last)
    days = list(each_day(span.first, span.last))
    now = _mean(counted, days)
    before = _mean(counted, [day for day in each_day(span.before, span.last) if day < span.first])
    growth = round(100 * (now / before - 1), 1) if now is not None and before else None
    used = sum(counted[day] for day in days) if now is not None else None
    return {"used": used, "growth": growth}, [counted.get(day) for day in days]


def _mean(counted: Mapping[date, int], days: Collection[date]) -> float | None:
    """Return the mean of some days, None where one is not known."""
    known = [counted[day] for day in days if day in counted]
    return sum(known) / len(known) if known and len(known) == len(days) else None


def _accuracy(present: PeriodForecast) -> Json | None:
    """Return how forecasts of the tenth day did, or of the day nearest to it."""
    found = sorted(present.accuracy, key=lambda each: abs(each.day - 10))
    return plain(found[0]) if found else None


def _smaller_plan(connection: Connection, pk: int, known: Known) -> Json | None:
    if known.watch.plan is None or known.watch.limit is None:
        return None
    periods = [previous(known.period)]
    while len(periods) < _CLOSED_PERIODS:
        periods.append(previous(periods[-1]))
    totals = [_sum(connection, pk, period) for period in reversed(periods)]
    whole = [total for total in totals if total is not None]
    if len(whole) < len(totals):
        return None
    plan: Json | None = plain(smaller_plan(whole, plan=known.watch.plan, limit=known.watch.limit))
    return plan


def _stories(
    connection: Connection, span: ReportSpan, now: datetime, *, pks: Collection[int] | None
) -> list[Row[Any]]:
    """Return what was told since the span began, newest first; of no organization without keys."""
    columns = alert.c
    since = datetime.combine(span.first, time.min, UTC)
    owner = columns.organization_pk
    whose = owner.is_(None) if pks is None else among(owner, pks)
    query = (
        select(alert)
        .where(whose, columns.started_at >= since, columns.started_at <= now)
        .order_by(columns.started_at.desc(), columns.pk.desc())
    )
    rows = connection.execute(query).all()
    kept: dict[int | None, int] = {}
    found = []
    for row in rows:
        n = kept.get(row.organization_pk, 0)
        if n < _MOST_STORIES and any(step["told"] for step in row.transitions):
            kept[row.organization_pk] = n + 1
            found.append(row)
    return found


def _story(row: Row[Any]) -> Json:
    """Return a story under the title it was first told by."""
    return {
        "id": row.id,
        "rule": row.rule,
        "level": row.level,
        "severity": row.severity,
        "title": row.transitions[0].get("title", row.title),
        "started_at": iso(row.started_at),
        "ended_at": iso(row.ended_at),
    }
