"""Billing periods, half-open ranges of UTC dates, and what is counted in them by event type."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from operator import attrgetter
from typing import Any

from quota_watch.lib.text import iso

ONE_DAY = timedelta(days=1)

OTHER = "other"
"""The type of the events by which a day's total exceeds the sum of its named types."""


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """The days from `start` up to, not including, `end`."""

    start: date
    end: date

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end

    @property
    def last_day(self) -> date:
        """The last day that belongs to the period."""
        return self.end - ONE_DAY

    @property
    def starts_at(self) -> datetime:
        """The moment it begins."""
        return datetime.combine(self.start, time.min, UTC)

    @property
    def resets_at(self) -> datetime:
        """The moment the count starts again from zero."""
        return datetime.combine(self.end, time.min, UTC)

    @property
    def days(self) -> int:
        """Its length."""
        return (self.end - self.start).days

    def to_json(self) -> dict[str, Any]:
        """Write it with an inclusive last day and the moment of the reset."""
        return {
            "start": self.start.isoformat(),
            "end": self.last_day.isoformat(),
            "resets_at": iso(self.resets_at),
        }


def month_of(day: date) -> Period:
    """Find the calendar month of `day` in UTC, which is what Rybbit bills (UPSTREAM.md § 5)."""
    start = day.replace(day=1)
    return Period(start, (start + timedelta(days=31)).replace(day=1))


def previous(period: Period) -> Period:
    """Step back to the period that ended where `period` starts."""
    return month_of(period.start - ONE_DAY)


def each_day(first: date, last: date) -> Iterator[date]:
    """Yield every date from `first` to `last`, both included."""
    return (first + n * ONE_DAY for n in range((last - first).days + 1))


@dataclass(frozen=True, slots=True)
class DayCounts:
    """All events of one UTC day by type, whether they count toward the bill or not.

    `by_type` sums to what upstream calls `event_count`; `error` is in it (UPSTREAM.md § 5).
    """

    day: date
    by_type: Mapping[str, int]

    def counted(self, not_counted: Collection[str]) -> int:
        """Sum up the day's events that count toward the bill."""
        total = sum(self.by_type.values())
        for type_ in not_counted:
            total -= self.by_type.get(type_, 0)
        return total


def types_of(
    days: Iterable[DayCounts], day: date, *, not_counted: Collection[str]
) -> dict[str, int]:
    """Return the counted events of one of the days by type; nothing where it is not among them."""
    return {
        name: n
        for counts in days
        if counts.day == day
        for name, n in counts.by_type.items()
        if name not in not_counted
    }


def sum_types(days: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Sum up the events of days by type."""
    sums = Counter[str]()
    for by_type in days:
        sums.update(by_type)
    return dict(sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one organization used of one period so far.

    `used` is the sum of `by_type`; `not_counted` holds the types outside the bill.
    """

    period: Period
    used: int
    by_type: Mapping[str, int]
    not_counted: Mapping[str, int]
    today: date
    used_today: int
    crossed_on: date | None = None


def count(
    days: Iterable[DayCounts],
    *,
    period: Period,
    today: date,
    not_counted: Collection[str],
    limit: int | None,
    since: date | None = None,
) -> Usage:
    """Count the days that lie in `period`, and ignore all others.

    `crossed_on` becomes the first day whose running total went over `limit`, but no day before
    `since`, when that limit came into force.
    """
    start, end = period.start, period.end
    inside = [counts for counts in days if start <= counts.day < end]
    totals: defaultdict[str, int] = defaultdict(int)
    for counts in inside:
        for type_, n in counts.by_type.items():
            totals[type_] += n
    by_type = {type_: n for type_, n in totals.items() if type_ not in not_counted}
    usage = Usage(
        period=period,
        used=sum(by_type.values()),
        by_type=by_type,
        not_counted={type_: n for type_, n in totals.items() if type_ in not_counted},
        today=today,
        used_today=sum(each.counted(not_counted) for each in inside if each.day == today),
    )
    return crossing(usage, inside, limit=limit, not_counted=not_counted, since=since)


def crossing(
    usage: Usage,
    days: Iterable[DayCounts],
    *,
    limit: int | None,
    not_counted: Collection[str],
    since: date | None = None,
) -> Usage:
    """Add the first day whose running total went over `limit`; `days` are the counted ones."""
    if not is_over(usage.used, limit):
        return usage
    used = 0
    for counts in sorted(days, key=attrgetter("day")):
        used += counts.counted(not_counted) if counts.day in usage.period else 0
        if is_over(used, limit):
            return replace(usage, crossed_on=max(counts.day, since or counts.day))
    return usage


def percent(used: int, limit: int | None) -> float | None:
    """Compute `used` in percent of `limit`, cut to one decimal: 100.0 never means less than all."""
    return used * 1000 // limit / 10 if limit else None


def is_over(used: int, limit: int | None) -> bool:
    """Check whether `used` is past the limit; exactly at it is not over (UPSTREAM.md § 7)."""
    return limit is not None and used > limit


def highest_level(used: int, limit: int, levels: Collection[int]) -> int | None:
    """Find the highest of `levels` (percent) that `used` has reached, if any."""
    return max((level for level in levels if has_reached(used, limit, level)), default=None)


def has_reached(used: int, limit: int | None, level: int) -> bool:
    """Check whether `used` is at least `level` percent of the limit."""
    return limit is not None and used * 100 >= level * limit
