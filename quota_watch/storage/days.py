"""The day_usage and snapshot tables: what was counted, and on which days events were dropped."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    case,
    cast,
    delete,
    func,
    select,
    tuple_,
    type_coerce,
    update,
)

from quota_watch.forecast.capped import capped_days, lost
from quota_watch.lib.text import Estimate
from quota_watch.model.period import (
    ONE_DAY,
    DayCounts,
    Period,
    Usage,
    each_day,
    is_over,
)
from quota_watch.model.watch import Watch
from quota_watch.rules.known import ClosedPeriod
from quota_watch.storage.database import write_rows
from quota_watch.storage.schema import among, day_usage, organization, snapshot

BASELINE = timedelta(weeks=10)
"""How far before a period its usual days are looked for."""

_ALL_FOR = timedelta(days=7)
_HOURLY_FOR = timedelta(days=60)
_MILLISECONDS = {"hour": 3_600_000, "day": 86_400_000}


def snapshot_row(pk: int, usage: Usage, *, limit: int | None, now: datetime) -> dict[str, Any]:
    """Return the snapshot of a successful poll."""
    return {
        "organization_pk": pk,
        "at": now,
        "limit": limit,
        "used": usage.used,
        "today": usage.used_today,
    }


def days_of(
    connection: Connection, pks: Collection[int], first: date, last: date
) -> Mapping[int, list[DayCounts]]:
    """Read the days from `first` to `last` of many organizations in one query, by date."""
    values = _by_date(connection, day_usage.c.counts, pks, first, last)
    dates = {day.isoformat(): day for day in each_day(first, last)}
    return {
        pk: [DayCounts(dates[day], days[day]) for day in sorted(days)]
        for pk, days in values.items()
    }


def totals_of(
    connection: Connection, pks: Collection[int], first: date, last: date
) -> Mapping[int, list[int | None]]:
    """Read the counted events of each day from `first` to `last`; None where it is not stored."""
    values = _by_date(connection, day_usage.c.used, pks, first, last)
    dates = [day.isoformat() for day in each_day(first, last)]
    return {pk: [days.get(day) for day in dates] for pk, days in values.items()}


def sums_of(
    connection: Connection, pks: Collection[int], first: date, last: date
) -> Mapping[int, tuple[int, int]]:
    """Sum the counted events from `first` to `last`, and read those of the last day."""
    of_last = func.sum(case((day_usage.c.date == last, day_usage.c.used), else_=0))
    query = (
        select(day_usage.c.organization_pk, func.sum(day_usage.c.used), of_last)
        .where(among(day_usage.c.organization_pk, pks), day_usage.c.date.between(first, last))
        .group_by(day_usage.c.organization_pk)
    )
    sums = {pk: (int(used), int(day)) for pk, used, day in connection.execute(query)}
    return dict.fromkeys(pks, (0, 0)) | sums


def _by_date(
    connection: Connection, column: Column[Any], pks: Collection[int], first: date, last: date
) -> dict[int, dict[str, Any]]:
    """Read one column of many organizations' days by ISO date.

    Each organization's days come as one JSON text: decoding thousands of rows takes several times
    as long.
    """
    entry = '"' + cast(day_usage.c.date, Text) + '":' + cast(column, Text)
    query = (
        select(day_usage.c.organization_pk, func.aggregate_strings(entry, ","))
        .where(among(day_usage.c.organization_pk, pks), day_usage.c.date.between(first, last))
        .group_by(day_usage.c.organization_pk)
    )
    days: dict[int, dict[str, Any]] = {pk: {} for pk in pks}
    for pk, entries in connection.execute(query):
        days[pk] = json.loads(f"{{{entries}}}")
    return days


def are_ahead(connection: Connection, pk: int, today: date) -> bool:
    """Whether days later than today are stored: the clock was ahead then, or is behind now."""
    ahead = select(day_usage.c.date).where(
        day_usage.c.organization_pk == pk, day_usage.c.date > today
    )
    return connection.execute(ahead.limit(1)).first() is not None


def counted_days(
    connection: Connection, pk: int, first: date, last: date
) -> tuple[dict[date, int], set[date]]:
    """Read the counted events of one organization's days, and which of the days are capped."""
    query = select(day_usage.c.date, day_usage.c.used, day_usage.c.capped).where(
        day_usage.c.organization_pk == pk, day_usage.c.date.between(first, last)
    )
    rows = connection.execute(query).all()
    return {row.date: row.used for row in rows}, {row.date for row in rows if row.capped}


def days_marked(
    connection: Connection, pks: Collection[int], since: date
) -> Mapping[int, set[date]]:
    """Read which days of many organizations are capped."""
    query = select(day_usage.c.organization_pk, day_usage.c.date).where(
        among(day_usage.c.organization_pk, pks), day_usage.c.date >= since, day_usage.c.capped
    )
    days: dict[int, set[date]] = {pk: set() for pk in pks}
    for pk, day in connection.execute(query):
        days[pk].add(day)
    return days


def last_snapshot(
    connection: Connection, pk: int, *, since: datetime, until: datetime
) -> Row[Any] | None:
    """Return what the last poll between two moments had counted, and the limit then."""
    query: Select[Any] = (
        select(snapshot.c.used, snapshot.c.limit)
        .where(snapshot.c.organization_pk == pk, snapshot.c.at.between(since, until))
        .order_by(snapshot.c.at.desc())
        .limit(1)
    )
    return connection.execute(query).one_or_none()


DayRows = Mapping[date, Any]


def day_rows(
    connection: Connection, days: Mapping[int, Sequence[DayCounts]]
) -> dict[int, dict[date, Any]]:
    """Read, by organization, the stored rows of days that upstream reported anew."""
    dates = [day.day for its in days.values() for day in its]
    by_date: dict[int, dict[date, Any]] = {pk: {} for pk in days}
    if dates:
        selection = (day_usage.c.counts, day_usage.c.used, day_usage.c.changed_from)
        query = select(day_usage.c.organization_pk, day_usage.c.date, *selection).where(
            among(day_usage.c.organization_pk, days),
            day_usage.c.date.between(min(dates), max(dates)),
        )
        for row in connection.execute(query):
            by_date[row.organization_pk][row.date] = row
    return by_date


def changed_rows(
    pk: int,
    days: Iterable[DayCounts],
    stored: DayRows,
    *,
    watch: Watch,
    now: datetime,
    last_ok: datetime | None,
) -> list[dict[str, Any]]:
    """Return the rows of the days that differ from the stored ones.

    Where a day had been counted whole by `last_ok`, its row also holds what it came to then.
    """
    rows = []
    for counts in days:
        before = stored.get(counts.day)
        used = counts.counted(watch.not_counted)
        if before is not None and (before.counts, before.used) == (counts.by_type, used):
            continue
        rows.append(
            {
                "organization_pk": pk,
                "date": counts.day,
                "counts": counts.by_type,
                "used": used,
                "seen_at": now,
                "changed_from": _changed_from(before, counts.day, used, last_ok),
            }
        )
    return rows


def _changed_from(before: Any, day: date, used: int, last_ok: datetime | None) -> int | None:
    """Return what a day had come to when it was over, if it is something else now."""
    if before is None:
        return None
    over = datetime.combine(day + ONE_DAY, time.min, UTC)
    first: int | None = before.changed_from
    if first is None and last_ok is not None and last_ok >= over:
        first = before.used
    return None if first == used else first


def forget_outlook(connection: Connection, pk: int) -> None:
    """Have the outlook fitted anew and days compared one by one: some of them changed."""
    stale = update(organization).where(organization.c.pk == pk)
    connection.execute(stale.values(days_digest=None, outlook=None))


def mark_dropped(
    connection: Connection, pk: int, *, watch: Watch, period: Period, today: date
) -> Estimate | None:
    """Mark the period's days on which events were dropped, and estimate how many were.

    A mark is never taken back.
    """
    if not watch.drops or watch.limit is None:
        return None
    counted, known = counted_days(connection, pk, period.start - BASELINE, period.last_day)
    if not is_over(total_of(counted, period), watch.limit):
        return None
    capped = capped_days(
        counted,
        period=period,
        limit=watch.limit,
        today=today,
        known=known,
        since=watch.limit_since,
    )
    if capped - known:
        same = day_usage.c.organization_pk == pk, day_usage.c.date.in_(capped - known)
        connection.execute(update(day_usage).where(*same).values(capped=True))
        forget_outlook(connection, pk)
    return lost(counted, capped=capped | known, period=period, today=today)


def closed_period(
    connection: Connection, pk: int, *, watch: Watch, period: Period
) -> ClosedPeriod | None:
    """Return what the period came to, if it was watched, under the limit it had at its end."""
    # Its end is the first moment of the next one.
    end = period.resets_at - timedelta.resolution
    last = last_snapshot(connection, pk, since=period.starts_at, until=end)
    if last is None:
        return None
    counted, capped = counted_days(connection, pk, period.start - BASELINE, period.last_day)
    return ClosedPeriod(
        period=period,
        used=total_of(counted, period),
        limit=last.limit,
        lost=lost(counted, capped=capped, period=period, today=period.end) if watch.drops else None,
    )


def total_of(counted: Mapping[date, int], period: Period) -> int:
    """Sum the days of a period."""
    return sum(n for day, n in counted.items() if day in period)


@dataclass(frozen=True, slots=True)
class KeptPeriod:
    """How a period is stored: whether all its days are final, and all of one request."""

    is_complete: bool
    at_once: bool


def kept_period(connection: Connection, pk: int, period: Period) -> KeptPeriod:
    """Return how a period is stored; a day is final if it was fetched after its end."""
    fetched = _fetched_at(connection, pk, period.start, period.last_day)
    final = sum(at >= datetime.combine(day + ONE_DAY, time.min, UTC) for day, at in fetched.items())
    whole = final == period.days
    return KeptPeriod(is_complete=whole, at_once=whole and len(set(fetched.values())) == 1)


def write_days(
    connection: Connection,
    pk: int,
    days: Sequence[DayCounts],
    *,
    watch: Watch,
    seen_at: datetime,
) -> None:
    """Write consecutive days as they were at `seen_at`, before they were asked for.

    What was fetched later stays as it is.
    """
    first, last = days[0].day, days[-1].day
    newer = {day for day, at in _fetched_at(connection, pk, first, last).items() if at > seen_at}
    own = [counts for counts in days if counts.day not in newer]
    last_ok = connection.scalar(select(organization.c.last_ok).where(organization.c.pk == pk))
    stored = day_rows(connection, {pk: own})[pk]
    rows = changed_rows(pk, own, stored, watch=watch, now=seen_at, last_ok=last_ok)
    if rows:
        write_rows(connection, day_usage, rows, replace=True)
        forget_outlook(connection, pk)
    older = (
        day_usage.c.organization_pk == pk,
        day_usage.c.date.between(first, last),
        day_usage.c.seen_at < seen_at,
    )
    connection.execute(update(day_usage).where(*older).values(seen_at=seen_at))


def mark_capped_in(
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


def _fetched_at(connection: Connection, pk: int, first: date, last: date) -> dict[date, datetime]:
    query = select(day_usage.c.date, day_usage.c.seen_at).where(
        day_usage.c.organization_pk == pk, day_usage.c.date.between(first, last)
    )
    return {row.date: row.seen_at for row in connection.execute(query)}


def thin_out(
    connection: Connection, pk: int, *, now: datetime, oldest: datetime, oldest_day: date
) -> int:
    """Keep one organization's snapshots all for 7 days, hourly for 60, then daily.

    None before `oldest`, and no day before `oldest_day`. Of each hour and day the last snapshot
    stays. Returns the rows deleted.
    """
    own = snapshot.c.organization_pk == pk
    ended = delete(snapshot).where(own, snapshot.c.at < oldest)
    rows = connection.execute(ended).rowcount
    rows += _thin(connection, own, "hour", newest=now - _ALL_FOR, oldest=now - _HOURLY_FOR)
    rows += _thin(connection, own, "day", newest=now - _HOURLY_FOR, oldest=oldest)
    old_days = delete(day_usage).where(
        day_usage.c.organization_pk == pk, day_usage.c.date < oldest_day
    )
    return rows + connection.execute(old_days).rowcount


def _thin(
    connection: Connection,
    own: ColumnElement[bool],
    unit: str,
    *,
    newest: datetime,
    oldest: datetime,
) -> int:
    """Delete all but the last snapshot of each whole hour or day between the two moments."""
    bucket = _bucket(connection, unit)
    place = func.row_number().over(partition_by=bucket, order_by=snapshot.c.at.desc())
    ranked = (
        select(snapshot.c.organization_pk, snapshot.c.at, place.label("place"))
        .where(own, snapshot.c.at < newest, snapshot.c.at >= oldest)
        .subquery()
    )
    superfluous = select(ranked.c.organization_pk, ranked.c.at).where(ranked.c.place > 1)
    key = tuple_(snapshot.c.organization_pk, snapshot.c.at)
    return connection.execute(delete(snapshot).where(key.in_(superfluous))).rowcount


def _bucket(connection: Connection, unit: str) -> ColumnElement[int]:
    if connection.dialect.name == "postgresql":
        return func.date_trunc(unit, snapshot.c.at, "UTC")
    return type_coerce(snapshot.c.at, BigInteger) // _MILLISECONDS[unit]
