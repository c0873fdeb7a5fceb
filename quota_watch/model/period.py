"""Billing periods: half-open ranges of UTC dates."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from quota_watch.lib.text import iso

ONE_DAY = timedelta(days=1)


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
    def resets_at(self) -> datetime:
        """The moment the count starts again from zero."""
        return datetime.combine(self.end, time.min, UTC)

    @property
    def days(self) -> int:
        """How many days the period has."""
        return (self.end - self.start).days

    def to_json(self) -> dict[str, Any]:
        """Write it with its last day inclusive and the moment it resets."""
        return {
            "start": self.start.isoformat(),
            "end": self.last_day.isoformat(),
            "resets_at": iso(self.resets_at),
        }


def month_of(day: date) -> Period:
    """Cut out the calendar month of `day` in UTC: so Rybbit bills, whatever a subscription's day.

    UPSTREAM.md § 5.
    """
    start = day.replace(day=1)
    return Period(start, (start + timedelta(days=31)).replace(day=1))


def previous(period: Period) -> Period:
    """Step back to the period that ended where `period` starts."""
    return month_of(period.start - ONE_DAY)


def each_day(first: date, last: date) -> Iterator[date]:
    """Yield every date from `first` to `last`, both included."""
    day = first
    while day <= last:
        yield day
        day += ONE_DAY
