"""Step two: record what a poll brought, and say what is known with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import dropwhile
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.forecast.forecast import KeptForecast
from quota_watch.lib.logs import get_logger
from quota_watch.lib.text import Estimate
from quota_watch.model.period import DayCounts, Period, Usage, is_over, month_of, previous, types_of
from quota_watch.model.schedule import next_slot
from quota_watch.model.source import ErrorKind, Organization, UpstreamError
from quota_watch.model.watch import Watch
from quota_watch.pipeline.extras import Agreement, awaits_past, weigh
from quota_watch.pipeline.poll import Poll
from quota_watch.rules.known import ClosedPeriod, Known, PastChange
from quota_watch.rules.limit import limit_in_force
from quota_watch.rules.moved import has_moved_in, past_change
from quota_watch.rules.story import Silence, Story
from quota_watch.storage import organizations
from quota_watch.storage.claims import Changes
from quota_watch.storage.days import (
    DayRows,
    are_ahead,
    changed_rows,
    closed_period,
    mark_dropped,
    snapshot_row,
    total_of,
)
from quota_watch.storage.forecasts import forecast_row, outlook_text
from quota_watch.storage.organizations import kept_limit, known_sites, reported_of, with_usage

log = get_logger(__name__)

_LONGEST_WAIT_SECONDS = 3600.0
_MOMENT, _SHORT_WAIT = timedelta(seconds=1), timedelta(minutes=1)  # of a bucket that fills again
_NOTABLE_PERCENT = 1  # of a period that was over
_FALL_SHARE, _FALL_LEAST = 0.05, 100  # of what was used, and events; less is late correction

_NOT_ASKED: Mapping[str, Any] = {"history_from": None, "reread_on": None}
"""As if closed days had never been asked for: the next poll reads them all."""


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of an organization before its poll is recorded.

    `days` are stored days by date: those that may differ from what the poll brought, or all of the
    period where the poll failed. `forecast` is the last one of the period, read for a failed poll.
    """

    row: Row[Any]
    days: DayRows = field(default_factory=dict)
    forecast: KeptForecast | None = None
    stories: tuple[Story, ...] = ()
    silences: tuple[Silence, ...] = ()


class Recorder:
    """Records polls; `pace` returns how often an organization is polled."""

    def __init__(self, *, pace: Callable[[Organization], timedelta]) -> None:
        self._pace = pace

    def record(
        self, transaction: Connection, poll: Poll, before: Before, changes: Changes
    ) -> Known:
        """Add a poll to `changes` and return what is known with it.

        What has to be read again right away is written at once.
        """
        if poll.error is not None:
            return self._record_failure(poll, poll.error, before, changes)
        row = before.row
        agreement = weigh(
            transaction,
            row,
            poll.watch,
            poll.account,
            days=poll.days,
            period=poll.period,
            now=poll.at,
        )
        watch, usage = agreement.watch, poll.count(agreement.watch)
        change = _past_change(poll, before, watch)
        moved_in = change is not None and has_moved_in(change)
        if moved_in:  # what is usual is learned anew once the days before are read again
            poll = replace(poll, analysis=None)
        columns = self._columns(poll, row, agreement, usage)
        columns |= _NOT_ASKED if moved_in else _history_columns(poll, row)
        changes.organizations[row.pk] = columns
        _add_rows(changes, poll, before, watch, usage)
        _record_closed(transaction, poll, before, watch, changes)
        drops, was_watched = watch.drops and is_over(usage.used, watch.limit), bool(row.last_ok)
        if drops or (poll.closed is not None and was_watched):
            changes.write_counts(transaction)
        return Known(
            pk=row.pk,
            watch=watch,
            period=poll.period,
            at=poll.at,
            usage=usage,
            measured_at=poll.at,
            today_by_type=types_of(poll.days, poll.at.date(), not_counted=watch.not_counted),
            analysis=poll.analysis,
            reported=agreement.reported,
            sites=known_sites(columns.get("sites", row.sites)) if watch.budgets else {},
            limit_change=agreement.change,
            compared=agreement.compared,
            mismatch=agreement.mismatch,
            fell_from=_fell_from(transaction, row, usage),
            past_change=change,
            closed=_closed_period(transaction, poll, watch, row)
            if was_watched and row.history_from is not None and not moved_in
            else None,
            lost=_lost(transaction, row.pk, watch, usage) if drops else None,
            stories=before.stories,
            silences=before.silences,
        )

    def _columns(
        self, poll: Poll, row: Row[Any], agreement: Agreement, usage: Usage
    ) -> dict[str, Any]:
        """Return what a good poll changes in the organization's row."""
        watch = agreement.watch
        interval = self._pace(watch.organization)
        next_at = next_slot(watch.organization, after=poll.at, interval=interval)
        return (
            organizations.good_poll_columns(
                watch, usage, now=poll.at, next_at=next_at, interval=interval
            )
            | agreement.columns
            | _site_columns(poll, row, agreement)
            | _outlook_columns(poll, row, watch, usage)
        )

    def _record_failure(
        self, poll: Poll, error: UpstreamError, before: Before, changes: Changes
    ) -> Known:
        row = before.row
        watch = limit_in_force(poll.watch, kept_limit(row), reported_of(row), now=poll.at).watch
        usage = _last_usage(poll, before, watch)
        trouble = organizations.goes_on_failing(row, error, poll.at)
        interval = self._pace(watch.organization)
        next_at = _after_failure(poll, error, interval)
        changes.organizations[row.pk] = organizations.failed_poll_columns(
            row, trouble, watch, now=poll.at, next_at=next_at, interval=interval
        )
        return Known(
            pk=row.pk,
            watch=watch,
            period=poll.period,
            at=poll.at,
            usage=usage,
            measured_at=row.last_ok if usage else None,
            trouble=trouble,
            kept_forecast=before.forecast,
            stories=before.stories,
            silences=before.silences,
        )


def _add_rows(changes: Changes, poll: Poll, before: Before, watch: Watch, usage: Usage) -> None:
    """Add days that changed, a snapshot and the forecast of the day."""
    row, today = before.row, poll.at.date()
    same = poll.digest != "" and poll.digest == row.days_digest
    days = [day for day in poll.days if day.day >= today] if same else poll.days
    changes.days += changed_rows(
        row.pk, days, before.days, watch=watch, now=poll.at, last_ok=row.last_ok
    )
    changes.snapshots.append(snapshot_row(row.pk, usage, limit=watch.limit, now=poll.at))
    forecast = forecast_row(row.pk, poll.analysis, usage) if poll.analysis else None
    if forecast is not None:
        changes.forecasts.append(forecast)


def _outlook_columns(poll: Poll, row: Row[Any], watch: Watch, usage: Usage) -> dict[str, Any]:
    """Return the outlook, where one was fitted or none could be.

    It does not hold where other days were written since the organization was claimed.
    """
    analysis = poll.analysis
    if analysis is not None and analysis.is_light:
        return {}
    text = None if analysis is None else outlook_text(analysis, watch, usage)
    is_stale = poll.claim.row is None or poll.claim.row.days_digest != row.days_digest
    return {"outlook": None if is_stale else text, "days_digest": poll.digest or None}


def _site_columns(poll: Poll, row: Row[Any], agreement: Agreement) -> dict[str, Any]:
    """Return the sites with what they used, by the names that upstream reported last.

    Where upstream reports another limit beside a site, the next poll reads plan and limit.
    """
    if not poll.sites:
        return {}
    sites = agreement.columns.get("sites", row.sites)
    columns: dict[str, Any] = {"sites": with_usage(sites, poll.sites, now=poll.at)}
    limits = {usage.limit for usage in poll.sites.values() if usage is not None} - {None}
    known = None if agreement.reported is None else agreement.reported.account.limit
    return columns | ({"limit_read_at": None} if limits - {known} else {})


def _history_columns(poll: Poll, row: Row[Any]) -> dict[str, Any]:
    """Return when closed days were last asked for, and how far back they go."""
    closed = poll.closed
    if closed is None or (closed.error is not None and awaits_past(row)):
        return {}  # until they are learned anew they are asked for with every poll
    reaches_back = row.history_from is None or closed.first < row.history_from
    first = {"history_from": closed.first} if closed.error is None and reaches_back else {}
    return {"reread_on": poll.at.date(), **first}


def _past_change(poll: Poll, before: Before, watch: Watch) -> PastChange | None:
    """Compare days that were over when last counted; none while history is being read again."""
    row = before.row
    if not before.days or row.last_ok is None or row.history_from is None:
        return None
    closed = poll.closed.days if poll.closed is not None else ()
    after = {day.day: day.counted(watch.not_counted) for day in (*closed, *poll.days)}
    over_by = row.last_ok.date()
    counted = {day: of.used for day, of in before.days.items() if day < over_by and day in after}
    return past_change(counted, after)


def _closed_period(
    connection: Connection, poll: Poll, watch: Watch, row: Row[Any]
) -> ClosedPeriod | None:
    """Return what the last period came to, where it was fetched once more just now."""
    if poll.closed is None or poll.closed.error is not None:
        return None
    return closed_period(connection, row.pk, watch=watch, period=previous(poll.period))


def _after_failure(poll: Poll, error: UpstreamError, interval: timedelta) -> datetime:
    """Return when a short wait that a rate limit asks for is over; else the next slot after it.

    An hour at most: to know that the watch is blind takes more than one poll.
    """
    wait = timedelta(seconds=min(error.retry_after or 0.0, _LONGEST_WAIT_SECONDS))
    slot = next_slot(poll.watch.organization, after=poll.at + wait, interval=interval)
    if error.kind is ErrorKind.RATE_LIMITED and _MOMENT <= wait <= _SHORT_WAIT:
        return min(poll.at + wait, slot)
    return slot


def _last_usage(poll: Poll, before: Before, watch: Watch) -> Usage | None:
    """Count the stored days of the period up to today, if a poll of it succeeded."""
    if before.row.last_ok is None or before.row.period_start != poll.period.start:
        return None
    stored = sorted(day for day in before.days if day <= poll.at.date())
    days = tuple(DayCounts(day, before.days[day].counts) for day in stored)
    return replace(poll, days=days, usage=None).count(watch)


def _fell_from(connection: Connection, row: Row[Any], usage: Usage) -> int | None:
    """Return what was used before where more than a little of it is gone.

    While days ahead of the clock are stored nothing is compared with them.
    """
    before: int | None = row.used if row.period_start == usage.period.start else None
    if before is None or before - usage.used <= max(_FALL_LEAST, before * _FALL_SHARE):
        return None
    return None if are_ahead(connection, row.pk, usage.today) else before


def _lost(transaction: Connection, pk: int, watch: Watch, usage: Usage) -> Estimate | None:
    return mark_dropped(transaction, pk, watch=watch, period=usage.period, today=usage.today)


def _record_closed(
    transaction: Connection, poll: Poll, before: Before, watch: Watch, changes: Changes
) -> None:
    """Record days of closed periods from the first with events on; mark where some were dropped.

    What differs from the stored days is added to `changes`, and written at once where days are to
    be marked. A period that came to something else since it was over is logged.
    """
    if poll.closed is None or poll.closed.error is not None:
        return
    days = list(dropwhile(lambda day: not any(day.by_type.values()), poll.closed.days))
    if not days:
        return
    row = before.row
    rows = changed_rows(row.pk, days, before.days, watch=watch, now=poll.at, last_ok=row.last_ok)
    changes.days += rows
    counted = {day: each.used for day, each in before.days.items() if day >= days[0].day}
    after = counted | {each["date"]: each["used"] for each in rows}
    for period in _periods(days[0].day, days[-1].day):
        was, is_ = total_of(counted, period), total_of(after, period)
        if watch.drops and is_over(is_, watch.limit):
            changes.write_counts(transaction)
            mark_dropped(transaction, row.pk, watch=watch, period=period, today=poll.at.date())
        if abs(is_ - was) * 100 > was * _NOTABLE_PERCENT and _was_whole(row, period):
            log.warning(
                "closed period changed",
                organization=watch.organization.id,
                period=period.start,
                before=was,
                after=is_,
            )


def _periods(first: date, last: date) -> list[Period]:
    periods = [month_of(last)]
    while periods[-1].start > first:
        periods.append(previous(periods[-1]))
    return periods[::-1]


def _was_whole(row: Row[Any], period: Period) -> bool:
    """Whether the whole period had been fetched after its end before."""
    reread = row.reread_on is not None and row.reread_on >= period.end
    return reread and row.history_from is not None and row.history_from <= period.start
