"""When to poll, evenly and without drift; when reports are due; when to be quiet."""

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache

from quota_watch.lib.text import span, zone_of
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import ONE_DAY, month_of, previous
from quota_watch.model.source import Organization

PERCENT_FOR_US = 80
"""The part of a key's daily requests that we use; the rest is for its other users."""

EXTRA_PER_DAY = 2.0
"""Daily requests of an organization beside its polls: for its limit and the closed period."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MINUTE = timedelta(minutes=1)
_AT = time(7)
_WEEK = timedelta(days=7)
_LATE = timedelta(days=2)


def phase_of(organization: Organization, interval: timedelta) -> timedelta:
    """Derive the organization's fixed place within every interval, in whole milliseconds."""
    digest = hashlib.sha256(f"{organization.server}|{organization.id}".encode()).digest()
    return int.from_bytes(digest[:6]) % (interval // _MILLISECOND) * _MILLISECOND


def next_slot(organization: Organization, *, after: datetime, interval: timedelta) -> datetime:
    """Find the organization's first slot later than `after`."""
    phase = phase_of(organization, interval)
    whole = (after - _EPOCH - phase) // interval
    return _EPOCH + phase + interval * (whole + 1)


def needed_interval(
    organizations_on_credential: int, daily_limit: int, *, extra_per_day: float = EXTRA_PER_DAY
) -> timedelta:
    """Compute the shortest interval, in whole seconds, that stays within our daily requests.

    `extra_per_day` counts the other requests of each organization; at least half of our part is
    left to the polls.
    """
    ours = daily_limit * PERCENT_FOR_US / 100
    polls = max(ours - organizations_on_credential * extra_per_day, ours / 2)
    seconds = organizations_on_credential * ONE_DAY.total_seconds() / polls
    return timedelta(seconds=math.ceil(round(seconds, 6)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the organizations of one key are polled, and why not more often.

    `daily_limit` None: upstream reported none. `rests` is how long nothing is requested, because
    our part of the day's requests is used up or upstream asked for it.
    """

    organizations: int
    configured: timedelta
    interval: timedelta
    daily_limit: int | None = None
    used_by_others: int = 0
    rests: timedelta | None = None

    @property
    def stretched(self) -> bool:
        """Whether polls are further apart than configured."""
        return self.interval > self.configured

    @property
    def ours(self) -> int | None:
        """Our part of a day's requests."""
        return None if self.daily_limit is None else self.daily_limit * PERCENT_FOR_US // 100

    @property
    def reads_every(self) -> timedelta:
        """How often plan and limit are read: as often as upstream enforces, if the budget allows.

        Otherwise as often as the polls leave requests for it, and at least once a day.
        """
        if self.ours is None:
            return ENFORCED_EVERY
        spare = self.ours / self.organizations - ONE_DAY / self.interval - EXTRA_PER_DAY
        return max(ENFORCED_EVERY, ONE_DAY / max(spare, 1.0))

    def describe(self) -> str:
        """Explain the interval in a sentence, with the figures."""
        one = self.organizations == 1
        needed = self.organizations * (ONE_DAY / self.configured + EXTRA_PER_DAY)
        who = "1 organization" if one else f"{self.organizations} organizations"
        needs = (
            f"{who} every {span(self.configured)} {'needs' if one else 'need'}"
            f" {math.ceil(needed):,} requests a day"
        )
        if self.daily_limit is None:
            says = f"{needs}; the server reports no rate limit"
        else:
            says = (
                f"{needs}, the key's budget is {self.daily_limit:,} and {PERCENT_FOR_US} % of it"
                f" is {self.ours:,}"
            )
        if self.daily_limit and self.used_by_others > self.daily_limit // 100:
            says += f"; other programs used {self.used_by_others:,} today"
        if self.stretched:
            says += f"; so {span(self.configured)} is stretched to {span(self.interval)}"
        if self.reads_every > ENFORCED_EVERY:
            says += (
                f"; plan and limit are read every {span(self.reads_every)}, not every"
                f" {span(ENFORCED_EVERY)}"
            )
        if self.rests is not None:
            says += f"; no requests for the next {span(self.rests)}"
        return says


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """From `start` until `end`, whole minutes of local time in `time_zone`, every day.

    Where `end` is the earlier one, it is on the next day; where both are the same, it is never
    quiet.
    """

    start: time
    end: time
    time_zone: str

    def hold(self, now: datetime) -> bool:
        """Check whether it is quiet at `now`."""
        local = now.astimezone(zone_of(self.time_zone)).time()
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end


def until_quiet_ends(quiet: QuietHours | None, now: datetime) -> datetime | None:
    """Find the end of the quiet time that `now` lies in, in UTC; None: it is not quiet.

    Where clocks jump over the end, quiet ends with the jump; where they show it twice, at the
    first time.
    """
    if quiet is None or not quiet.hold(now):
        return None
    return _first_loud_minute(quiet, now.astimezone(UTC).replace(second=0, microsecond=0))


@lru_cache(maxsize=64)  # many messages of one minute wait for the same end
def _first_loud_minute(quiet: QuietHours, minute: datetime) -> datetime:
    while quiet.hold(minute):
        minute += _MINUTE
    return minute


class ReportKind(StrEnum):
    """How often a report is sent."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpan:
    """The whole days of a report, from `first` to `last`, and when it is due.

    `before` is the first of the days it is compared with, which end where it begins. `name` is the
    week or month: `2026-W12`, `2026-03`.
    """

    kind: ReportKind
    name: str
    before: date
    first: date
    last: date
    due_at: datetime

    @property
    def id(self) -> str:
        """Its identity, the same in every process."""
        return f"report|{self.kind}|{self.name}"

    @property
    def ended_at(self) -> datetime:
        """The end of its last day."""
        return datetime.combine(self.last + ONE_DAY, time.min, UTC)

    @property
    def expires_at(self) -> datetime:
        """When it is too late to send it."""
        return self.due_at + _LATE


def due_report(kind: ReportKind, *, now: datetime, time_zone: str) -> ReportSpan | None:
    """Find the report that is due at `now`, if any.

    A report is due at the first 07:00 in `time_zone` after the end of its days, which are UTC
    days, and stays due for two days: late is better than never, but older ones are not sent.
    """
    end = now.astimezone(UTC).date()
    for _ in range(2):  # the newest may not be due yet while the one before still is
        span = _ended_before(kind, end, time_zone)
        if span.due_at <= now < span.expires_at:
            return span
        end = span.last
    return None


def latest_report(kind: ReportKind, *, now: datetime, time_zone: str) -> ReportSpan:
    """Find the newest report whose days have ended, due or not."""
    return _ended_before(kind, now.astimezone(UTC).date(), time_zone)


def _ended_before(kind: ReportKind, day: date, time_zone: str) -> ReportSpan:
    """Build the report of the last whole week or month that was over when `day` began."""
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
        due_at=_first_morning(end, zone_of(time_zone)),
    )


def _first_morning(day: date, zone: tzinfo) -> datetime:
    """Find the first 07:00 in a time zone after a UTC day began."""
    local = datetime.combine(day, time.min, UTC).astimezone(zone)
    morning = datetime.combine(local.date(), _AT, zone)
    if morning < local:
        morning = datetime.combine(local.date() + ONE_DAY, _AT, zone)
    return morning.astimezone(UTC)
