"""Periodic reports: what each is about, and when it is due."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from quota_watch.lib.figures import zone_of
from quota_watch.model.period import ONE_DAY, month_of, previous

_AT = time(7)
_WEEK = timedelta(days=7)
_LATE = timedelta(days=2)


class ReportKind(StrEnum):
    """How often a report comes."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpan:
    """The whole days a report is about, from `first` to `last`, and when it is due.

    `before` is the first of the days it is compared with, which end where it begins. `name` is
    that of the week or month: `2026-W12`, `2026-03`.
    """

    kind: ReportKind
    name: str
    before: date
    first: date
    last: date
    due_at: datetime

    @property
    def id(self) -> str:
        """What the report is known by, the same whoever makes it."""
        return f"report|{self.kind}|{self.name}"

    @property
    def ended_at(self) -> datetime:
        """When its last day was over."""
        return _midnight(self.last + ONE_DAY)

    @property
    def expires_at(self) -> datetime:
        """When it is too late to send it."""
        return self.due_at + _LATE


def due_report(kind: ReportKind, *, now: datetime, time_zone: str) -> ReportSpan | None:
    """Return the report that is due at `now`, or None.

    A report is due at the first 07:00 on the clocks of `time_zone` after its days have ended,
    which are UTC's; for two days, so that one is sent late rather than never, but none of old.
    """
    end = now.astimezone(UTC).date()
    for _ in range(2):  # the newest may not be due yet while the one before still is
        span = _ended_before(kind, end, time_zone)
        if span.due_at <= now < span.expires_at:
            return span
        end = span.last
    return None


def latest_report(kind: ReportKind, *, now: datetime, time_zone: str) -> ReportSpan:
    """Return the newest report whose days have ended, due or not."""
    return _ended_before(kind, now.astimezone(UTC).date(), time_zone)


def _ended_before(kind: ReportKind, day: date, time_zone: str) -> ReportSpan:
    """Return the report about the last whole week or period that was over when `day` began."""
    if kind is ReportKind.WEEKLY:
        end = day - timedelta(days=day.weekday())
        first, before = end - _WEEK, end - 2 * _WEEK
        year, week, _ = first.isocalendar()
        name = f"{year}-W{week:02}"
    else:
        period = previous(month_of(day))
        end, first, before = period.end, period.start, previous(period).start
        name = f"{first:%Y-%m}"
    return ReportSpan(
        kind=kind,
        name=name,
        before=before,
        first=first,
        last=end - ONE_DAY,
        due_at=_next_morning(_midnight(end), zone_of(time_zone)),
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _next_morning(at: datetime, zone: tzinfo) -> datetime:
    local = at.astimezone(zone)
    morning = datetime.combine(local.date(), _AT, zone)
    if morning < local:
        morning = datetime.combine(local.date() + ONE_DAY, _AT, zone)
    return morning.astimezone(UTC)
