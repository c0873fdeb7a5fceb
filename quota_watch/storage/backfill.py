"""Older days, a month at a time: what is still to be fetched, and small writes of what came."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Connection, select, update

from quota_watch.domain.capped import capped_days
from quota_watch.domain.periods import ONE_DAY, Period
from quota_watch.domain.usage import DayCounts
from quota_watch.storage.database import insert_into
from quota_watch.storage.record import days_of
from quota_watch.storage.schema import day_usage, organization

_BASELINE = timedelta(weeks=6)


@dataclass(frozen=True, slots=True)
class DroppingLimit:
    """A limit past which events are lost."""

    events: int


@dataclass(frozen=True, slots=True)
class Kept:
    """How a period is kept: whether all its days are final, and whether all were seen at once."""

    is_complete: bool
    at_once: bool


def kept(connection: Connection, pk: int, period: Period) -> Kept:
    """Return how a period is kept; a day is final if it was seen after its end."""
    columns = day_usage.c
    query = select(columns.date, columns.seen_at).where(
        columns.organization_pk == pk, columns.date.between(period.start, period.last_day)
    )
    seen: dict[date, datetime] = {row.date: row.seen_at for row in connection.execute(query)}
    final = sum(at >= datetime.combine(day + ONE_DAY, time.min, UTC) for day, at in seen.items())
    whole = final == period.days
    return Kept(is_complete=whole, at_once=whole and len(set(seen.values())) == 1)


def write_days(
    connection: Connection,
    pk: int,
    days: Sequence[DayCounts],
    *,
    not_counted: Collection[str],
    seen_at: datetime,
) -> None:
    """Keep days as they were at `seen_at`, before the request; what was seen later stays.

    A day's mark as capped stays too.
    """
    insert = insert_into(connection, day_usage)
    newer = insert.excluded
    statement = insert.on_conflict_do_update(
        index_elements=[day_usage.c.organization_pk, day_usage.c.date],
        set_={name: newer[name] for name in ("counts", "used", "seen_at")},
        where=day_usage.c.seen_at <= newer.seen_at,
    )
    rows = [
        {
            "organization_pk": pk,
            "date": day.day,
            "counts": dict(day.by_type),
            "used": day.counted(not_counted),
            "capped": False,
            "seen_at": seen_at,
        }
        for day in days
    ]
    connection.execute(statement, rows)


def dropping_limit(connection: Connection, pk: int) -> DroppingLimit | None:
    """Return the organization's limit where one is known and events past it are lost."""
    query = select(organization.c.limit, organization.c.drops).where(organization.c.pk == pk)
    row = connection.execute(query).one()
    return DroppingLimit(row.limit) if row.drops and row.limit is not None else None


def mark_capped(
    connection: Connection,
    pk: int,
    period: Period,
    *,
    limit: DroppingLimit,
    not_counted: Collection[str],
) -> frozenset[date]:
    """Mark the days of a period that is over on which its limit dropped events.

    Returns those that had no mark. One once made is never taken back, and such a day is no
    measure of others.
    """
    first = period.start - _BASELINE
    days = days_of(connection, [pk], first, period.last_day)[pk]
    columns = day_usage.c
    is_own = (columns.organization_pk == pk, columns.date.between(first, period.last_day))
    known = connection.scalars(select(columns.date).where(*is_own, columns.capped)).all()
    capped = capped_days(
        {day.day: day.counted(not_counted) for day in days},
        period=period,
        limit=limit.events,
        today=period.end,
        known=known,
    )
    new = capped.difference(known)
    if new:
        here = columns.organization_pk == pk, columns.date.in_(new)
        connection.execute(update(day_usage).where(*here).values(capped=True))
    return new
