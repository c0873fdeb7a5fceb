"""Closed days: what came late is kept beside what was known, and what was dropped is marked.

A poll brings those of the last period, a backfill older ones, a month at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from quota_watch.forecast.capped import capped_days, lost
from quota_watch.lib.text import Estimate
from quota_watch.model.period import ONE_DAY, DayCounts, Period, is_over, month_of, previous
from quota_watch.model.watch import Watch
from quota_watch.rules.known import ClosedPeriod
from quota_watch.storage import days as record
from quota_watch.storage.claims import Changes
from quota_watch.storage.days import counted_days, record_days
from quota_watch.storage.schema import day_usage, organization, snapshot

BASELINE = timedelta(weeks=10)
"""How far before a period its usual days are looked for."""

_NOTABLE_PERCENT = 1


@dataclass(frozen=True, slots=True)
class LateChange:
    """A closed period that came to something else after its end, by more than one percent."""

    period: Period
    before: int
    after: int


def record_closed(
    connection: Connection,
    row: Row[Any],
    *,
    watch: Watch,
    days: Sequence[DayCounts],
    kept: record.KeptRows,
    changes: Changes,
    now: datetime,
) -> list[LateChange]:
    """Keep closed days from the first with events on, and mark those on which were dropped.

    `kept` are the rows of those days as they are; what differs is added to `changes`, and written
    at once where days are to be marked. Returns which periods changed notably since they were over.
    """
    first = next((n for n, counts in enumerate(days) if any(counts.by_type.values())), len(days))
    if first == len(days):
        return []
    days = days[first:]
    rows = record.changed_rows(row.pk, days, kept, watch=watch, now=now, last_ok=row.last_ok)
    changes.days += rows
    before = {day: each.used for day, each in kept.items() if day >= days[0].day}
    after = before | {each["date"]: each["used"] for each in rows}
    late = []
    for period in _periods(days[0].day, days[-1].day):
        was, is_ = _sum(before, period), _sum(after, period)
        if watch.drops and is_over(is_, watch.limit):
            changes.write_counts(connection)
            mark_dropped(connection, row.pk, watch=watch, period=period, today=now.date())
        if _is_notable(was, is_) and _was_whole(row, period):
            late.append(LateChange(period, was, is_))
    return late


def mark_dropped(
    connection: Connection, pk: int, *, watch: Watch, period: Period, today: date
) -> Estimate | None:
    """Mark the period's days on which events were dropped, and estimate how many were."""
    if not watch.drops or watch.limit is None:
        return None
    counted, known = record.counted_days(connection, pk, period.start - BASELINE, period.last_day)
    if not is_over(_sum(counted, period), watch.limit):
        return None
    capped = capped_days(
        counted,
        period=period,
        limit=watch.limit,
        today=today,
        known=known,
        since=watch.limit_since,
    )
    record.mark_capped(connection, pk, capped - known)
    ours = {day for day in capped | known if day in period}
    return lost(counted, capped=ours, before_today=today, known=known)


def closed_period(
    connection: Connection, pk: int, *, watch: Watch, period: Period
) -> ClosedPeriod | None:
    """Return what the period came to, if it was watched, under the limit it had at its end."""
    opened = datetime.combine(period.start, time.min, UTC)
    query = (
        select(snapshot.c.limit)
        .where(
            snapshot.c.organization_pk == pk,
            snapshot.c.at >= opened,
            snapshot.c.at < period.resets_at,
        )
        .order_by(snapshot.c.at.desc())
        .limit(1)
    )
    last = connection.execute(query).one_or_none()
    if last is None:
        return None
    counted, capped = record.counted_days(connection, pk, period.start - BASELINE, period.last_day)
    ours = {day for day in capped if day in period}
    return ClosedPeriod(
        period=period,
        used=_sum(counted, period),
        limit=last.limit,
        lost=lost(counted, capped=ours, before_today=period.end, known=capped)
        if watch.drops
        else None,
    )


def _periods(first: date, last: date) -> list[Period]:
    periods = [month_of(last)]
    while periods[-1].start > first:
        periods.append(previous(periods[-1]))
    return periods[::-1]


def _sum(counted: Mapping[date, int], period: Period) -> int:
    return sum(n for day, n in counted.items() if day in period)


def _is_notable(before: int, after: int) -> bool:
    return abs(after - before) * 100 > before * _NOTABLE_PERCENT


def _was_whole(row: Row[Any], period: Period) -> bool:
    """Tell whether the whole period had been fetched after its end before."""
    reread = row.reread_on is not None and row.reread_on >= period.end
    return reread and row.history_from is not None and row.history_from <= period.start


@dataclass(frozen=True, slots=True)
class KeptPeriod:
    """How a period is kept: whether all its days are final, and whether all were seen at once."""

    is_complete: bool
    at_once: bool


def kept_period(connection: Connection, pk: int, period: Period) -> KeptPeriod:
    """Return how a period is kept; a day is final if it was seen after its end."""
    seen = _seen(connection, pk, period.start, period.last_day)
    final = sum(at >= datetime.combine(day + ONE_DAY, time.min, UTC) for day, at in seen.items())
    whole = final == period.days
    return KeptPeriod(is_complete=whole, at_once=whole and len(set(seen.values())) == 1)


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
