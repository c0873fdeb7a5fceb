"""All that is known of organizations, with losses and sites, read for many: every view's start."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from quota_watch.forecast.capped import Losses, crossing_day, losses
from quota_watch.forecast.forecast import KeptForecast
from quota_watch.forecast.outlook import analyse
from quota_watch.forecast.usual import DayShape, flat_shape, share_at
from quota_watch.lib.text import Estimate
from quota_watch.model.period import (
    ONE_DAY,
    OTHER,
    DayCounts,
    Period,
    Usage,
    count,
    each_day,
    is_over,
    month_of,
    percent,
    previous,
    types_of,
)
from quota_watch.model.source import Reported, SiteCount, closed_counts, comparable
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.rules.limit import LimitInForce, limit_in_force
from quota_watch.rules.story import Silence, Story
from quota_watch.storage import claims, forecasts, organizations, stories
from quota_watch.storage.days import BASELINE, days_marked, days_of, sums_of, totals_of
from quota_watch.storage.schema import among, organization

_ONLY_FOR_POLLS = {
    "claimed_by", "claimed_until", "days_digest", "drops", "history_from", "limit_read_at",
    "outlook", "reread_on", "thinned_on", "used",
}  # fmt: skip
_COLUMNS = [column for column in organization.c if column.name not in _ONLY_FOR_POLLS]


def known_of(
    connection: Connection,
    watches: Sequence[Watch],
    *,
    now: datetime,
    with_stories: bool = False,
    types: bool = True,
) -> list[Known]:
    """Read what is known of watched organizations, in their order, never polled ones too.

    It takes a handful of statements, however many they are. `watches` are the config's. Stories
    and silences are read only where asked for. Without `types` every count is of the type `other`
    and single days are left out: faster where there are many organizations.
    """
    keys = claims.keys_of(connection, [watch.organization for watch in watches])
    by_key = {keys[watch.organization]: watch for watch in watches if watch.organization in keys}
    known = _known_by_key(connection, by_key, now=now, with_stories=with_stories, types=types)
    return [
        known[keys[watch.organization]] if watch.organization in keys else _never_polled(watch, now)
        for watch in watches
    ]


def _known_by_key(
    connection: Connection,
    watches: Mapping[int, Watch],
    *,
    now: datetime,
    with_stories: bool,
    types: bool,
) -> dict[int, Known]:
    period = month_of(now.date())
    query = select(*_COLUMNS).where(among(organization.c.pk, watches))
    rows = {row.pk: row for row in connection.execute(query)}
    reports = {pk: organizations.reported_of(row) for pk, row in rows.items()}
    limits = {
        pk: limit_in_force(watches[pk], organizations.kept_limit(row), reports[pk], now=now)
        for pk, row in rows.items()
    }
    counted = {
        pk: limits[pk].watch
        for pk, row in rows.items()
        if row.last_ok and row.period_start == period.start
    }
    # Of what came after the last good poll nothing is known.
    measured = {pk: min(now, rows[pk].last_ok) for pk in counted}
    days = days_of(connection, counted, period.start, now.date()) if types else {}
    usages = (
        {pk: _count(days[pk], watch, period, measured[pk]) for pk, watch in counted.items()}
        if types
        else _sums(connection, counted, period, measured, now.date())
    )
    kept_forecasts = forecasts.kept_forecasts(connection, counted, period, now.date())
    whose = {pk: watches[pk].organization for pk in rows} if with_stories else {}
    its_stories = stories.stories_of(connection, whose, previous(period).start) if whose else {}
    its_silences = stories.silences_of(connection, whose, now=now) if whose else {}
    return {
        pk: _known(
            row,
            limits[pk],
            reports[pk],
            at=now,
            period=period,
            usage=usages.get(pk),
            measured_at=measured.get(pk),
            days=days.get(pk, ()),
            kept_forecast=kept_forecasts.get(pk),
            stories=tuple(its_stories.get(pk, ())),
            silences=tuple(its_silences.get(pk, ())),
        )
        for pk, row in rows.items()
    }


def look_ahead(connection: Connection, known: Known) -> Known:
    """Add what follows for the days to come, as of the last good poll, with what would help."""
    usage, at = known.usage, known.measured_at
    if known.pk is None or usage is None or at is None:
        return known
    past = forecasts.past_of(connection, known.pk, watch=known.watch, usage=usage, now=at)
    analysis = analyse(past, watch=known.watch, usage=usage, now=at, always=True)
    by_type = types_of(known.days, usage.today, not_counted=known.watch.not_counted)
    return replace(known, analysis=analysis, today_by_type=by_type)


def _count(days: Iterable[DayCounts], watch: Watch, period: Period, at: datetime) -> Usage:
    return count(
        days,
        period=period,
        today=at.date(),
        not_counted=watch.not_counted,
        limit=watch.limit,
        since=watch.limit_since,
    )


def _sums(
    connection: Connection,
    watches: Mapping[int, Watch],
    period: Period,
    measured: Mapping[int, datetime],
    today: date,
) -> dict[int, Usage]:
    """Let the database sum the days, and read them where a limit was passed or today not seen."""
    sums = sums_of(connection, watches, period.start, today)
    by_day = [
        pk
        for pk, watch in watches.items()
        if is_over(sums[pk][0], watch.limit) or measured[pk].date() != today
    ]
    totals = totals_of(connection, by_day, period.start, today)
    days = list(each_day(period.start, today))
    counted = {pk: {day: n or 0 for day, n in zip(days, totals[pk], strict=True)} for pk in by_day}
    usages = {}
    for pk, watch in watches.items():
        used, of_today = sums[pk]
        its, day = counted.get(pk, {today: of_today}), measured[pk].date()
        crossed_on = None
        if watch.limit is not None and is_over(used, watch.limit):
            since = watch.limit_since
            crossed_on = crossing_day(its, period=period, limit=watch.limit, since=since)
        usages[pk] = Usage(
            period=period,
            used=used,
            by_type={OTHER: used},
            not_counted={},
            today=day,
            used_today=its.get(day, 0),
            crossed_on=crossed_on,
        )
    return usages


def _never_polled(watch: Watch, now: datetime) -> Known:
    in_force = limit_in_force(watch, now=now)
    period = month_of(now.date())
    return Known(watch=in_force.watch, limit=in_force.limit, period=period, at=now, polled=False)


def _known(
    row: Row[Any],
    in_force: LimitInForce,
    reported: Reported | None,
    *,
    at: datetime,
    period: Period,
    usage: Usage | None,
    measured_at: datetime | None,
    days: Sequence[DayCounts],
    kept_forecast: KeptForecast | None,
    stories: tuple[Story, ...],
    silences: tuple[Silence, ...],
) -> Known:
    return Known(
        watch=in_force.watch,
        limit=in_force.limit,
        period=period,
        at=at,
        usage=usage,
        measured_at=measured_at,
        days=days,
        kept_forecast=kept_forecast,
        pk=row.pk,
        reported=reported,
        sites=organizations.known_sites(row.sites),
        limit_as_of=row.limit_as_of,
        stories=stories,
        silences=silences,
        polled=row.last_poll is not None,
        last_poll=row.last_poll,
        last_ok=row.last_ok,
        next_poll=row.next_at,
        interval=None if row.interval_seconds is None else timedelta(seconds=row.interval_seconds),
        trouble=organizations.trouble_of(row),
        compared=reported is not None and reported.account.counted is not None,
        mismatch=organizations.mismatch_of(row),
    )


def losses_of(connection: Connection, organizations: Iterable[Known]) -> dict[int, Losses]:
    """Estimate by key, day by day, what was dropped and will be, where events are dropped.

    Of what `look_ahead` returned losses to come follow from the forecast, as in messages.
    """
    dropping = {
        known.pk: (known, known.usage)
        for known in organizations
        if known.pk is not None and known.usage is not None and known.watch.drops
        if is_over(known.usage.used, known.watch.limit)
    }
    if not dropping:
        return {}
    first = min(usage.period.start for _, usage in dropping.values()) - BASELINE
    last = max(usage.today for _, usage in dropping.values())
    days, totals = list(each_day(first, last)), totals_of(connection, dropping, first, last)
    marked = days_marked(connection, dropping, first)
    kept_forecasts = {pk: known.kept_forecast for pk, (known, _) in dropping.items()}
    as_of = {pk: each.as_of for pk, each in kept_forecasts.items() if each is not None}
    shapes = forecasts.kept_shapes(connection, as_of)
    estimates = {
        pk: _losses(
            known,
            usage,
            {
                day: n
                for day, n in zip(days, totals[pk], strict=True)
                if n is not None and day < usage.today
            },
            {day for day in marked[pk] if day < usage.today},
            shapes.get(pk, flat_shape()),
        )
        for pk, (known, usage) in dropping.items()
    }
    return {pk: each for pk, each in estimates.items() if each is not None}


def _losses(
    known: Known, usage: Usage, counted: dict[date, int], capped: set[date], shape: DayShape
) -> Losses | None:
    """Estimate the losses from the days before that of the last good poll."""
    at, today, forecast = known.measured_at or known.at, usage.today, known.forecast
    estimate = losses(
        counted | {today: usage.used_today},
        capped=capped | forecasts.capped_now(counted, known.watch, usage, known=capped),
        period=usage.period,
        today=today,
        share=share_at(shape, at),
    )
    if estimate is None or forecast is None:
        return estimate
    days_left = max((known.period.resets_at - at) / ONE_DAY, 1.0)
    to_come = [max(0, total - usage.used) for total in (forecast.p10, forecast.p50, forecast.p90)]
    a_day = Estimate(*(round(events / days_left) for events in to_come))
    return replace(estimate, until_reset=Estimate(*to_come), a_day=a_day)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """A site as upstream lists it: its use of this period as it was last asked for.

    `share` is the percent of what all known sites used, `growth` against as much of the last
    period. `used` None: not read yet, or the key may not read it (`unreadable`).
    """

    id: str
    domain: str
    requires_plan: bool | None
    used: int | None
    share: float | None
    growth: float | None
    budget: int | None
    unreadable: bool


def sites_of(known: Known, period: Period) -> list[SiteStatus]:
    """List the sites with what they used of a period, the present or a closed one, most first."""
    if not known.sites:
        return []
    if period == known.period:
        counts = comparable(known.sites, now=known.at)
        used = {
            id_: site.used
            for id_, site in known.sites.items()
            if site.used is not None and site.as_of and site.as_of.date() in period
        }
    else:
        counts = closed_counts(known.sites, period)
        used = {id_: each.counted for id_, each in counts.items()}
    sites = [
        SiteStatus(
            id=id_,
            domain=site.name,
            requires_plan=site.requires_plan,
            used=used.get(id_),
            share=percent(used[id_], sum(used.values())) if id_ in used else None,
            growth=_growth(counts.get(id_)),
            budget=known.watch.budgets.get(id_),
            unreadable=site.as_of is None and site.asked is not None,
        )
        for id_, site in known.sites.items()
    ]
    return sorted(sites, key=lambda each: -(each.used or 0))


def _growth(site: SiteCount | None) -> float | None:
    if site is None or not site.before:
        return None
    return round(100 * (site.counted - site.before) / site.before, 1)
