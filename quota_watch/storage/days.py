"""Record: what a poll saw, written in the one transaction that reaches to the outbox."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Row, Text, case, cast, func, or_, select, update

from quota_watch.model.period import ONE_DAY, DayCounts, Usage, each_day
from quota_watch.model.source import ErrorKind, Trouble, UpstreamError
from quota_watch.model.watch import Watch
from quota_watch.storage.database import insert_into
from quota_watch.storage.schema import among, day_usage, organization, snapshot

_ROWS_AT_A_TIME = 500
_TOLD_ON = "told_on"
"""The key, beside an organization's last error, of the day on which a defect was told plainly."""


def snapshot_row(pk: int, usage: Usage, *, limit: int | None, now: datetime) -> dict[str, Any]:
    """Return how a good poll is kept among the snapshots."""
    seen = {"organization_pk": pk, "at": now, "used": usage.used, "today": usage.used_today}
    return {**seen, "limit": limit}


def good_poll_columns(
    watch: Watch, usage: Usage, *, now: datetime, next_at: datetime, interval: timedelta
) -> dict[str, Any]:
    """Return how a good poll is kept in the organization's row: all is well."""
    return {
        **_agreed(watch, now),
        "period_start": usage.period.start,
        "used": usage.used,
        "next_at": next_at,
        "last_poll": now,
        "last_ok": now,
        "failing_since": None,
        "failed_polls": 0,
        "last_error": None,
        "interval_seconds": _whole_seconds(interval),
    }


def _whole_seconds(interval: timedelta) -> int:
    return max(1, round(interval.total_seconds()))


def failed_poll_columns(
    row: Row[Any],
    trouble: Trouble,
    watch: Watch,
    error: UpstreamError,
    *,
    now: datetime,
    next_at: datetime,
    interval: timedelta,
) -> dict[str, Any]:
    """Return how a failed poll is kept there, and nothing else: unknown is never zero."""
    before = row.last_error or {}
    return {
        **({"name": watch.name} if watch.auto else _agreed(watch, now)),
        "next_at": next_at,
        "last_poll": now,
        "failing_since": trouble.since,
        "failed_polls": trouble.polls,
        "interval_seconds": _whole_seconds(interval),
        "last_error": {
            "kind": error.kind,
            "message": error.message,
            "status": error.status,
            **({_TOLD_ON: before[_TOLD_ON]} if _TOLD_ON in before else {}),
        },
    }


def goes_on_failing(row: Row[Any], error: UpstreamError, now: datetime) -> Trouble:
    """Return the unbroken run of failures that a failed poll belongs to."""
    # The run can't have begun later than now: then the clock has gone back since.
    since = min(row.failing_since or now, now)
    return Trouble(
        since=since,
        polls=row.failed_polls + 1,
        kind=error.kind,
        message=error.message,
        status=error.status,
    )


def take_notice_of_day(connection: Connection, pk: int, day: date) -> bool:
    """Keep with the failure of an organization that it was told on `day`; False if it was already.

    Nothing is taken where no failure is kept: there is then nothing to remember it by.
    """
    columns = organization.c
    query = select(columns.last_error).where(columns.pk == pk).with_for_update()
    error: dict[str, Any] | None = connection.scalar(query)
    if error is None or error.get(_TOLD_ON) == day.isoformat():
        return False
    told = error | {_TOLD_ON: day.isoformat()}
    connection.execute(update(organization).where(columns.pk == pk).values(last_error=told))
    return True


def trouble_of(row: Row[Any]) -> Trouble | None:
    """Return the run of failed polls an organization is in, or None."""
    if row.failing_since is None or row.last_error is None:
        return None
    return Trouble(
        since=row.failing_since,
        polls=row.failed_polls,
        kind=ErrorKind(row.last_error["kind"]),
        message=row.last_error["message"],
        status=row.last_error["status"],
    )


def failing_alike(connection: Connection, pks: Collection[int], *, kind: str) -> bool:
    """Tell whether the last polls of all these organizations failed with this kind of error."""
    columns = organization.c
    is_other = columns.last_error["kind"].as_string().is_distinct_from(kind)
    other = select(columns.pk).where(
        among(columns.pk, pks), or_(columns.failing_since.is_(None), is_other)
    )
    return connection.execute(other.limit(1)).first() is None


def days_of(
    connection: Connection, pks: Collection[int], first: date, last: date
) -> Mapping[int, list[DayCounts]]:
    """Return the kept days from `first` to `last` of many organizations in one query, by date."""
    found = _by_date(connection, day_usage.c.counts, pks, first, last)
    dates = {day.isoformat(): day for day in each_day(first, last)}
    return {
        pk: [DayCounts(dates[day], days[day]) for day in sorted(days)] for pk, days in found.items()
    }


def totals_of(
    connection: Connection, pks: Collection[int], first: date, last: date
) -> Mapping[int, list[int | None]]:
    """Return the counted events of each day from `first` to `last`; None where it is not kept."""
    found = _by_date(connection, day_usage.c.used, pks, first, last)
    dates = [day.isoformat() for day in each_day(first, last)]
    return {pk: [days.get(day) for day in dates] for pk, days in found.items()}


def sums_of(
    connection: Connection, pks: Collection[int], first: date, last: date
) -> Mapping[int, tuple[int, int]]:
    """Return the counted events of the days from `first` to `last` together, and of the last."""
    columns = day_usage.c
    of_last = func.sum(case((columns.date == last, columns.used), else_=0))
    query = (
        select(columns.organization_pk, func.sum(columns.used), of_last)
        .where(among(columns.organization_pk, pks), columns.date.between(first, last))
        .group_by(columns.organization_pk)
    )
    found = {pk: (int(used), int(day)) for pk, used, day in connection.execute(query)}
    return dict.fromkeys(pks, (0, 0)) | found


def _by_date(
    connection: Connection, column: Column[Any], pks: Collection[int], first: date, last: date
) -> dict[int, dict[str, Any]]:
    """Read one column of many organizations' days by ISO date.

    Each organization's days come as one JSON text: decoding thousands of rows takes several times
    as long.
    """
    columns = day_usage.c
    entry = '"' + cast(columns.date, Text) + '":' + cast(column, Text)
    query = (
        select(columns.organization_pk, func.aggregate_strings(entry, ","))
        .where(among(columns.organization_pk, pks), columns.date.between(first, last))
        .group_by(columns.organization_pk)
    )
    days: dict[int, dict[str, Any]] = {pk: {} for pk in pks}
    for pk, entries in connection.execute(query):
        days[pk] = json.loads(f"{{{entries}}}")
    return days


def are_ahead(connection: Connection, pk: int, today: date) -> bool:
    """Tell whether days later than today are kept: the clock was ahead then, or is behind now."""
    ahead = select(day_usage.c.date).where(
        day_usage.c.organization_pk == pk, day_usage.c.date > today
    )
    return connection.execute(ahead.limit(1)).first() is not None


def counted_days(
    connection: Connection, pk: int, first: date, last: date
) -> tuple[dict[date, int], set[date]]:
    """Return the counted events of one organization's kept days, and which of them are capped."""
    columns = day_usage.c
    query = select(columns.date, columns.used, columns.capped).where(
        columns.organization_pk == pk, columns.date.between(first, last)
    )
    rows = connection.execute(query).all()
    return {row.date: row.used for row in rows}, {row.date for row in rows if row.capped}


def mark_capped(connection: Connection, pk: int, days: Collection[date]) -> None:
    """Mark days on which events were dropped; what is marked stays so."""
    if days:
        connection.execute(
            update(day_usage)
            .where(day_usage.c.organization_pk == pk, day_usage.c.date.in_(days))
            .values(capped=True)
        )
        forget_outlook(connection, [pk])


def used_before(connection: Connection, pk: int, at: datetime, *, since: datetime) -> int | None:
    """Return what the last snapshot up to `at`, but not before `since`, had counted."""
    columns = snapshot.c
    query = (
        select(columns.used)
        .where(columns.organization_pk == pk, columns.at <= at, columns.at >= since)
        .order_by(columns.at.desc())
        .limit(1)
    )
    used: int | None = connection.scalar(query)
    return used


def record_days(
    connection: Connection,
    pk: int,
    *,
    watch: Watch,
    days: Sequence[DayCounts],
    now: datetime,
    last_ok: datetime | None,
) -> None:
    """Write the days that changed, and let the outlook be fitted anew if any did."""
    if not days:
        return
    kept = kept_rows(connection, {pk: days})[pk]
    rows = changed_rows(pk, days, kept, watch=watch, now=now, last_ok=last_ok)
    if rows:
        write_rows(connection, rows)
        forget_outlook(connection, [pk])


KeptRows = Mapping[date, Any]


def kept_rows(
    connection: Connection, days: Mapping[int, Sequence[DayCounts]]
) -> dict[int, dict[date, Any]]:
    """Return, by organization, the rows of days that are compared with what upstream says now."""
    columns = day_usage.c
    first = min((day.day for its in days.values() for day in its), default=date.max)
    last = max((day.day for its in days.values() for day in its), default=date.min)
    shown = (columns.counts, columns.used, columns.changed_from)
    query = select(columns.organization_pk, columns.date, *shown).where(
        among(columns.organization_pk, days), columns.date.between(first, last)
    )
    found: dict[int, dict[date, Any]] = {pk: {} for pk in days}
    if any(days.values()):
        for row in connection.execute(query):
            found[row.organization_pk][row.date] = row
    return found


def changed_rows(
    pk: int,
    days: Iterable[DayCounts],
    kept: KeptRows,
    *,
    watch: Watch,
    now: datetime,
    last_ok: datetime | None,
) -> list[dict[str, Any]]:
    """Return the rows of those days that are not kept just so.

    Where a day had been counted whole by `last_ok`, what it came to then is kept beside it.
    """
    rows = []
    for counts in days:
        before = kept.get(counts.day)
        used = counts.counted(watch.not_counted)
        if before is not None and (before.counts, before.used) == (counts.by_type, used):
            continue
        rows.append(
            {
                "organization_pk": pk,
                "date": counts.day,
                "counts": counts.by_type,
                "used": used,
                "capped": False,
                "seen_at": now,
                "changed_from": _changed_from(before, counts.day, used, last_ok),
            }
        )
    return rows


def write_rows(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of days, in place of those of the same days; what is marked stays so."""
    insert = insert_into(connection, day_usage)
    names = ("counts", "used", "seen_at", "changed_from")
    changed = {name: insert.excluded[name] for name in names}
    keys = [day_usage.c.organization_pk, day_usage.c.date]
    statement = insert.on_conflict_do_update(index_elements=keys, set_=changed)
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        connection.execute(statement, rows[first : first + _ROWS_AT_A_TIME])


def _changed_from(before: Any, day: date, used: int, last_ok: datetime | None) -> int | None:
    """Return what a day had come to when it was over, if it is something else now."""
    if before is None:
        return None
    over = datetime.combine(day + ONE_DAY, time.min, UTC)
    first: int | None = before.changed_from
    if first is None and last_ok is not None and last_ok >= over:
        first = before.used
    return None if first == used else first


def _agreed(watch: Watch, now: datetime) -> dict[str, Any]:
    return {
        "name": watch.name,
        "plan": watch.plan,
        "limit": watch.limit,
        "limit_source": watch.limit_source,
        "limit_as_of": now if watch.limit is not None else None,
        "drops": watch.drops,
    }


def forget_outlook(connection: Connection, pks: Collection[int]) -> None:
    """Let outlooks be fitted anew, and days compared one by one: some of them were changed."""
    connection.execute(
        update(organization)
        .where(organization.c.pk.in_(pks))
        .values(days_digest=None, outlook=None)
    )
