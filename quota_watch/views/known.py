"""All that is known of organizations, read at once: what all that is shown and told starts from."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from quota_watch.forecast.forecast import Crossing
from quota_watch.forecast.outlook import foresee
from quota_watch.model.period import Period, each_day, month_of, previous
from quota_watch.model.usage import OTHER, DayCounts, Usage, count
from quota_watch.model.watch import Watch
from quota_watch.rules.known import KeptForecast, Known
from quota_watch.rules.limit import limit_in_force
from quota_watch.rules.story import Silence, Story
from quota_watch.storage import claims, silences, stories
from quota_watch.storage import days as record
from quota_watch.storage.forecasts import kept_forecasts, past_of
from quota_watch.storage.limits import kept_limit, known_sites, mismatch_of, reported_of
from quota_watch.storage.schema import among, organization


def known(
    connection: Connection,
    watches: Mapping[int, Watch],
    *,
    now: datetime,
    rows: Mapping[int, Row[Any]] | None = None,
    counted: Collection[int] | None = None,
    told: bool = True,
    types: bool = True,
) -> dict[int, Known]:
    """Read what is known of organizations by key, in a handful of statements however many.

    `watches` are the config's. `rows` are theirs where they have been read, and locked, already.
    `counted` are the keys whose kept days and forecast are wanted too, all where it is None: a
    poll that worked brings its own. Without `told` stories and silences are left out, without
    `types` all that was counted is of the type `other`.
    """
    period = month_of(now.date())
    rows = _rows(connection, watches) if rows is None else rows
    wanted = [pk for pk in rows if counted is None or pk in counted]
    read = record.days_of if types else _untyped_days
    days = read(connection, wanted, period.start, now.date())
    forecasts = kept_forecasts(connection, wanted, period, now.date())
    organizations = {pk: watches[pk].organization for pk in rows}
    since = previous(period).start
    found = stories.stories_of(connection, organizations, since) if told else {}
    silenced = silences.silences_of(connection, rows, now=now) if told else {}
    return {
        pk: _known(
            row,
            watches[pk],
            days=days.get(pk, ()),
            forecast=forecasts.get(pk),
            stories=tuple(found.get(pk, ())),
            silences=tuple(silenced.get(pk, ())),
            period=period,
            now=now,
        )
        for pk, row in rows.items()
    }


def known_of(
    connection: Connection,
    watches: Sequence[Watch],
    *,
    now: datetime,
    told: bool = True,
    types: bool = True,
) -> list[Known]:
    """Read what is known of watched organizations, in their order, never polled ones too."""
    keys = claims.keys_of(connection, [watch.organization for watch in watches])
    kept = [watch for watch in watches if watch.organization in keys]
    by_key = {keys[watch.organization]: watch for watch in kept}
    found = known(connection, by_key, now=now, told=told, types=types)
    return [
        found[keys[watch.organization]] if watch.organization in keys else _never_polled(watch, now)
        for watch in watches
    ]


def look_ahead(connection: Connection, known: Known) -> Known:
    """Add what follows for the days to come, as of the last good poll, with what would help."""
    usage, at = known.usage, known.measured_at
    if known.pk is None or usage is None or at is None:
        return known
    past = past_of(connection, known.pk, watch=known.watch, usage=usage, now=at)
    ahead = foresee(past, watch=known.watch, usage=usage, now=at, always=True)
    return replace(known, foresight=ahead, today_by_type=_types_of_today(known, usage))


def _rows(connection: Connection, pks: Iterable[int]) -> dict[int, Row[Any]]:
    columns = [column for column in organization.c if column is not organization.c.outlook]
    query = select(*columns).where(among(organization.c.pk, pks))
    return {row.pk: row for row in connection.execute(query)}


def _untyped_days(
    connection: Connection, pks: Collection[int], first: date, last: date
) -> dict[int, list[DayCounts]]:
    days = list(each_day(first, last))
    return {
        pk: [
            DayCounts(day, {OTHER: used})
            for day, used in zip(days, totals, strict=True)
            if used is not None
        ]
        for pk, totals in record.totals_of(connection, pks, first, last).items()
    }


def _never_polled(watch: Watch, now: datetime) -> Known:
    in_force = limit_in_force(watch, now=now)
    period = month_of(now.date())
    return Known(watch=in_force.watch, limit=in_force.limit, period=period, at=now, polled=False)


def _known(
    row: Row[Any],
    watch: Watch,
    *,
    days: Sequence[DayCounts],
    forecast: Row[Any] | None,
    stories: tuple[Story, ...],
    silences: tuple[Silence, ...],
    period: Period,
    now: datetime,
) -> Known:
    reported = reported_of(row)
    account = None if reported is None else reported.account
    in_force = limit_in_force(watch, kept_limit(row), account, now=now)
    kept = None if forecast is None else kept_forecast_of(forecast)
    known = Known(
        watch=in_force.watch,
        limit=in_force.limit,
        period=period,
        at=now,
        pk=row.pk,
        reported=reported,
        sites=known_sites(row.sites),
        limit_as_of=row.limit_as_of,
        stories=stories,
        silences=silences,
        polled=row.last_poll is not None,
        last_poll=row.last_poll,
        last_ok=row.last_ok,
        next_poll=row.next_at,
        interval=None if row.interval_seconds is None else timedelta(seconds=row.interval_seconds),
        trouble=record.trouble_of(row),
        compared=account is not None and account.counted is not None,
        mismatch=mismatch_of(row),
    )
    if row.last_ok is None or row.period_start != period.start:
        return known
    at = min(now, row.last_ok)  # of what came after it nothing is known
    usage = count(
        days,
        period=period,
        today=at.date(),
        not_counted=watch.not_counted,
        limit=in_force.watch.limit,
        since=in_force.watch.limit_since,
    )
    return replace(
        known,
        days=days,
        usage=usage,
        measured_at=at,
        kept_forecast=kept,
    )


def _types_of_today(known: Known, usage: Usage) -> dict[str, int]:
    return {
        name: n
        for day in known.days
        if day.day == usage.today
        for name, n in day.by_type.items()
        if name not in known.watch.not_counted
    }


def kept_forecast_of(row: Row[Any]) -> KeptForecast:
    """Read a row of `kept_forecasts`."""
    crossing = row.crosses_on
    return KeptForecast(
        as_of=row.as_of,
        used=row.used,
        p10=row.p10,
        p50=row.p50,
        p90=row.p90,
        probability_over=row.probability_over,
        crosses_on=None
        if crossing is None
        else Crossing(**{name: _day(crossing[name]) for name in ("early", "likely", "late")}),
    )


def _day(text: str | None) -> date | None:
    return None if text is None else date.fromisoformat(text)
