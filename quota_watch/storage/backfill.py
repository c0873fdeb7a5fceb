"""Older days, a month at a time: what is still to be fetched, and small writes of what came."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time

from sqlalchemy import Connection, select, update

from quota_watch.model.period import ONE_DAY, Period
from quota_watch.model.usage import DayCounts
from quota_watch.model.watch import Watch
from quota_watch.storage.closed import mark_dropped
from quota_watch.storage.days import counted_days, record_days
from quota_watch.storage.schema import day_usage, organization


@dataclass(frozen=True, slots=True)
class Kept:
    """How a period is kept: whether all its days are final, and whether all were seen at once."""

    is_complete: bool
    at_once: bool


def kept(connection: Connection, pk: int, period: Period) -> Kept:
    """Return how a period is kept; a day is final if it was seen after its end."""
    seen = _seen(connection, pk, period.start, period.last_day)
    final = sum(at >= datetime.combine(day + ONE_DAY, time.min, UTC) for day, at in seen.items())
    whole = final == period.days
    return Kept(is_complete=whole, at_once=whole and len(set(seen.values())) == 1)


def write_days(
    connection: Connection,
    pk: int,
    days: Sequence[DayCounts],
    *,
    watch: Watch,
    seen_at: datetime,
) -> None:
    """Keep days that follow each other as they were at `seen_at`, before they were asked for.

    What was seen later stays as it is.
    """
    first, last = days[0].day, days[-1].day
    newer = {day for day, at in _seen(connection, pk, first, last).items() if at > seen_at}
    query = select(organization.c.last_ok).where(organization.c.pk == pk)
    record_days(
        connection,
        pk,
        watch=watch,
        days=[counts for counts in days if counts.day not in newer],
        now=seen_at,
        last_ok=connection.scalar(query),
    )
    columns = day_usage.c
    older = (
        columns.organization_pk == pk,
        columns.date.between(first, last),
        columns.seen_at < seen_at,
    )
    connection.execute(update(day_usage).where(*older).values(seen_at=seen_at))


def mark_capped(
    connection: Connection, pk: int, period: Period, *, watch: Watch, today: date
) -> int:
    """Mark the days of a period on which the limit known now dropped events.

    Returns how many had no mark before; one once made is never taken back.
    """
    query = select(organization.c.limit, organization.c.drops).where(organization.c.pk == pk)
    row = connection.execute(query).one()
    known = replace(watch, limit=row.limit, drops=row.drops)
    span = period.start, period.last_day
    _, before = counted_days(connection, pk, *span)
    mark_dropped(connection, pk, watch=known, period=period, today=today)
    _, after = counted_days(connection, pk, *span)
    return len(after - before)


def _seen(connection: Connection, pk: int, first: date, last: date) -> dict[date, datetime]:
    columns = day_usage.c
    query = select(columns.date, columns.seen_at).where(
        columns.organization_pk == pk, columns.date.between(first, last)
    )
    return {row.date: row.seen_at for row in connection.execute(query)}
