"""Closed days: what came late is kept beside what was known, and what was dropped is marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from quota_watch.forecast.capped import capped_days, lost
from quota_watch.lib.figures import Estimate
from quota_watch.model.period import Period, month_of, previous
from quota_watch.model.usage import DayCounts, is_over
from quota_watch.model.watch import Watch
from quota_watch.rules.known import ClosedPeriod
from quota_watch.storage import days as record
from quota_watch.storage.changes import Changes
from quota_watch.storage.schema import snapshot

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


def lost_so_far(connection: Connection, pk: int, *, period: Period, today: date) -> Estimate | None:
    """Estimate what was dropped of the period, by the days that are marked."""
    counted, known = record.counted_days(connection, pk, period.start - BASELINE, period.last_day)
    ours = {day for day in known if day in period}
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
