"""Step two: record what a poll brought, and say what is known with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import dropwhile
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.forecast.forecast import KeptForecast
from quota_watch.lib.logs import get_logger
from quota_watch.model.period import (
    DayCounts,
    Period,
    Usage,
    count,
    is_over,
    month_of,
    previous,
    types_of,
)
from quota_watch.model.schedule import next_slot
from quota_watch.model.source import ErrorKind, UpstreamError
from quota_watch.pipeline.extras import awaits_past
from quota_watch.pipeline.poll import DEFECT, Agreement, Poll, weigh
from quota_watch.rules.known import Known, PastChange
from quota_watch.rules.moved import has_moved_in, past_change
from quota_watch.rules.story import Silence, Story
from quota_watch.storage import organizations, stories
from quota_watch.storage.claims import Changes
from quota_watch.storage.days import (
    DayRows,
    are_ahead,
    changed_rows,
    closed_period,
    day_rows,
    mark_dropped,
    snapshot_row,
    total_of,
)
from quota_watch.storage.forecasts import forecast_row, kept_forecasts, outlook_text
from quota_watch.storage.organizations import known_sites, with_usage

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


def read_before(
    transaction: Connection, polls: Sequence[Poll], rows: Mapping[int, Row[Any]], *, now: datetime
) -> dict[int, Before]:
    """Read what is known of all the polled organizations, a statement for each kind, by key."""
    of = {poll.claim.pk: poll.watch.organization for poll in polls}
    stories.reopen(transaction, of, now=now)
    since = min(previous(poll.period).start for poll in polls)
    its_stories = stories.stories_of(transaction, of, since)
    its_silences = stories.silences_of(transaction, of, now=now)
    days = day_rows(transaction, _days_to_compare(polls, rows))
    failed = [poll for poll in polls if poll.usage is None]
    forecasts: dict[int, KeptForecast] = {}
    for day in {poll.at.date() for poll in failed}:
        pks = [poll.claim.pk for poll in failed if poll.at.date() == day]
        forecasts |= kept_forecasts(transaction, pks, month_of(day), day)
    return {
        pk: Before(
            row=rows[pk],
            days=days.get(pk, {}),
            forecast=forecasts.get(pk),
            stories=tuple(its_stories[pk]),
            silences=tuple(its_silences[pk]),
        )
        for pk in of
    }


def _days_to_compare(
    polls: Sequence[Poll], rows: Mapping[int, Row[Any]]
) -> dict[int, Sequence[DayCounts]]:
    """Return, by key, the fetched days that may differ from the stored ones.

    Of a failed poll all of the period: what is known now is what was known before.
    """
    days: dict[int, Sequence[DayCounts]] = {}
    for poll in polls:
        pk, closed = poll.claim.pk, poll.closed or ()
        if poll.usage is None:
            days[pk] = [DayCounts(day, {}) for day in (poll.period.start, poll.at.date())]
        elif poll.digest != rows[pk].days_digest:
            days[pk] = (*closed, *poll.days)
        elif closed:
            days[pk] = closed
    return days


def record(
    transaction: Connection, poll: Poll, before: Before, changes: Changes, *, interval: timedelta
) -> Known:
    """Add a poll to `changes` and return what is known with it; the next one is in an `interval`.

    What has to be read again right away is written at once.
    """
    row, watch, usage = before.row, poll.watch, poll.usage
    if usage is None:
        return _record_failure(poll, before, changes, interval)
    agreement = weigh(transaction, poll, row)
    change = _past_change(poll, before)
    moved_in = change is not None and has_moved_in(change)
    if moved_in:  # what is usual is learned anew once the days before are read again
        poll = replace(poll, analysis=None)
    next_at = next_slot(watch.organization, after=poll.at, interval=interval)
    columns = organizations.good_poll_columns(
        watch, usage, now=poll.at, next_at=next_at, interval=interval
    )
    columns |= agreement.columns
    columns |= _site_columns(poll, row, agreement)
    columns |= _outlook_columns(poll, row, usage)
    columns |= _NOT_ASKED if moved_in else _history_columns(poll, row)
    changes.organizations[row.pk] = columns
    _add_rows(changes, poll, before, usage)
    _record_closed(transaction, poll, before, changes)
    drops = watch.drops and is_over(usage.used, watch.limit)
    was_watched = bool(row.last_ok)
    closes = bool(poll.closed) and was_watched and row.history_from is not None and not moved_in
    if drops or closes:
        changes.write_counts(transaction)
    closed = lost = None
    if closes:
        closed = closed_period(transaction, row.pk, watch=watch, period=previous(poll.period))
    if drops:
        lost = mark_dropped(transaction, row.pk, watch=watch, period=poll.period, today=usage.today)
    return Known(
        pk=row.pk,
        watch=watch,
        period=poll.period,
        at=poll.at,
        limit=poll.in_force.limit,
        usage=usage,
        measured_at=poll.at,
        today_by_type=types_of(poll.days, poll.at.date(), not_counted=watch.not_counted),
        analysis=poll.analysis,
        reported=agreement.reported,
        sites=known_sites(columns.get("sites", row.sites)) if watch.budgets else {},
        limit_change=poll.in_force.change,
        compared=agreement.compared,
        mismatch=agreement.mismatch,
        fell_from=_fell_from(transaction, row, usage),
        past_change=change,
        closed=closed,
        lost=lost,
        stories=before.stories,
        silences=before.silences,
    )


def _record_failure(poll: Poll, before: Before, changes: Changes, interval: timedelta) -> Known:
    """Record that a poll failed: what is known of its period is what was known before."""
    row, watch, error = before.row, poll.watch, poll.error or DEFECT
    usage = None
    if row.last_ok is not None and row.period_start == poll.period.start:
        today = poll.at.date()
        usage = count(
            [DayCounts(day, each.counts) for day, each in before.days.items() if day <= today],
            period=poll.period,
            today=today,
            not_counted=watch.not_counted,
            limit=watch.limit,
            since=watch.limit_since,
        )
    trouble = organizations.goes_on_failing(row, error, poll.at)
    next_at = _after_failure(poll, error, interval)
    changes.organizations[row.pk] = organizations.failed_poll_columns(
        row, trouble, watch, now=poll.at, next_at=next_at, interval=interval
    )
    return Known(
        pk=row.pk,
        watch=watch,
        period=poll.period,
        at=poll.at,
        limit=poll.in_force.limit,
        usage=usage,
        measured_at=row.last_ok if usage else None,
        trouble=trouble,
        kept_forecast=before.forecast,
        stories=before.stories,
        silences=before.silences,
    )


def _add_rows(changes: Changes, poll: Poll, before: Before, usage: Usage) -> None:
    """Add days that changed, a snapshot and the forecast of the day."""
    row, watch = before.row, poll.watch
    is_same = poll.digest == row.days_digest
    days = [day for day in poll.days if day.day >= usage.today or not is_same]
    changes.days += changed_rows(
        row.pk, days, before.days, watch=watch, now=poll.at, last_ok=row.last_ok
    )
    changes.snapshots.append(snapshot_row(row.pk, usage, limit=watch.limit, now=poll.at))
    forecast = forecast_row(row.pk, poll.analysis, usage) if poll.analysis else None
    if forecast is not None:
        changes.forecasts.append(forecast)


def _outlook_columns(poll: Poll, row: Row[Any], usage: Usage) -> dict[str, Any]:
    """Return the outlook, where one was fitted or none could be.

    It does not hold where other days were written since the organization was claimed.
    """
    analysis = poll.analysis
    if analysis is not None and analysis.is_light:
        return {}
    text = None if analysis is None else outlook_text(analysis, poll.watch, usage)
    is_stale = poll.claim.row.days_digest != row.days_digest
    return {"outlook": None if is_stale else text, "days_digest": poll.digest}


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
    if closed is None or (not closed and awaits_past(row)):
        return {}  # until they are learned anew they are asked for with every poll
    columns = {"reread_on": poll.at.date()}
    if closed and (row.history_from is None or closed[0].day < row.history_from):
        columns["history_from"] = closed[0].day
    return columns


def _past_change(poll: Poll, before: Before) -> PastChange | None:
    """Compare days that were over when last counted; none while history is being read again."""
    row, not_counted = before.row, poll.watch.not_counted
    if not before.days or row.last_ok is None or row.history_from is None:
        return None
    after = {day.day: day.counted(not_counted) for day in (*(poll.closed or ()), *poll.days)}
    over_by = row.last_ok.date()
    counted = {day: of.used for day, of in before.days.items() if day < over_by and day in after}
    return past_change(counted, after)


def _after_failure(poll: Poll, error: UpstreamError, interval: timedelta) -> datetime:
    """Return when a short wait that a rate limit asks for is over; else the next slot after it.

    An hour at most: to know that the watch is blind takes more than one poll.
    """
    wait = timedelta(seconds=min(error.retry_after or 0.0, _LONGEST_WAIT_SECONDS))
    slot = next_slot(poll.watch.organization, after=poll.at + wait, interval=interval)
    if error.kind is ErrorKind.RATE_LIMITED and _MOMENT <= wait <= _SHORT_WAIT:
        return min(poll.at + wait, slot)
    return slot


def _fell_from(connection: Connection, row: Row[Any], usage: Usage) -> int | None:
    """Return what was used before where more than a little of it is gone.

    While days ahead of the clock are stored nothing is compared with them.
    """
    before: int | None = row.used if row.period_start == usage.period.start else None
    if before is None or before - usage.used <= max(_FALL_LEAST, before * _FALL_SHARE):
        return None
    return None if are_ahead(connection, row.pk, usage.today) else before


def _record_closed(transaction: Connection, poll: Poll, before: Before, changes: Changes) -> None:
    """Record days of closed periods from the first with events on; mark where some were dropped.

    What differs from the stored days is added to `changes`, and written at once where days are to
    be marked. A period that came to something else since it was over is logged.
    """
    days = list(dropwhile(lambda day: not any(day.by_type.values()), poll.closed or ()))
    if not days:
        return
    row, watch = before.row, poll.watch
    rows = changed_rows(row.pk, days, before.days, watch=watch, now=poll.at, last_ok=row.last_ok)
    changes.days += rows
    counted = {day: each.used for day, each in before.days.items() if day >= days[0].day}
    after = counted | {each["date"]: each["used"] for each in rows}
    for period in sorted({month_of(each.day) for each in days}):
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


def _was_whole(row: Row[Any], period: Period) -> bool:
    """Whether the whole period had been fetched after its end before."""
    reread = row.reread_on is not None and row.reread_on >= period.end
    return reread and row.history_from is not None and row.history_from <= period.start
