"""The contents of a periodic report, read from the store; every figure is computed elsewhere."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time
from typing import Any, Self

from sqlalchemy import Connection, Row, select

from quota_watch.forecast.accuracy import CheckDay
from quota_watch.forecast.capped import lost
from quota_watch.forecast.forecast import Crossing, Forecast
from quota_watch.forecast.remedies import PlanFit, smaller_plan
from quota_watch.lib.text import Estimate
from quota_watch.model.period import Period, each_day, is_over, month_of, percent, previous
from quota_watch.model.schedule import ReportKind, ReportSpan
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.storage import claims
from quota_watch.storage.days import BASELINE, closed_period, counted_days
from quota_watch.storage.schema import alert, among, delivery, organization
from quota_watch.views.known import SiteStatus, sites_of
from quota_watch.views.periods import PeriodForecast, period_forecast
from quota_watch.views.status import Status, statuses

_CLOSED_PERIODS = 3
_MOST_STORIES = 12
_MOST_SITES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodFacts:
    """The period that it is about; `end` is its last day."""

    start: date
    end: date
    resets_at: datetime

    @classmethod
    def of(cls, period: Period) -> Self:
        """Write a period as people read it."""
        return cls(start=period.start, end=period.last_day, resets_at=period.resets_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastFacts:
    """What the period is likely to end with, how sure, and when the limit is reached."""

    p10: int
    p50: int
    p90: int
    probability_over: float | None
    crosses_on: Crossing | None

    @classmethod
    def of(cls, forecast: Forecast, **more: Any) -> Self:
        """Take from a forecast what a report shows."""
        values = {each.name: getattr(forecast, each.name) for each in fields(ForecastFacts)}
        return cls(**values, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComingFacts(ForecastFacts):
    """Where the present period of a reported organization ends."""

    period: PeriodFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanFacts:
    """What the reported days had, and how much more than those before, in percent."""

    used: int | None
    growth: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryFacts:
    """A story that began within the reported time."""

    id: str
    rule: str
    level: int | None
    severity: str
    title: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFacts:
    """The part of a report on one organization; None is what is not known or does not apply.

    `sites` None: upstream lists none to this key.
    """

    id: str
    name: str
    plan: str | None
    server: str
    state: str
    blind: bool
    period: PeriodFacts | None = None
    used: int | None = None
    limit: int | None = None
    percent: float | None = None
    over: bool | None = None
    drops: bool | None = None
    measured_at: datetime | None = None
    coming: ComingFacts | None = None
    lost: Estimate | None = None
    span: SpanFacts | None = None
    days: tuple[int | None, ...] | None = None
    accuracy: CheckDay | None = None
    smaller_plan: PlanFit | None = None
    sites: tuple[SiteStatus, ...] | None = ()
    told: tuple[StoryFacts, ...] = ()


def is_ready(connection: Connection, watches: Sequence[Watch], span: ReportSpan) -> bool:
    """Check whether all organizations of the report were polled since it was due.

    For a month: that the closed month was read once more.
    """
    pks = claims.keys_of(connection, [each.organization for each in watches]).values()
    columns = organization.c
    query = select(columns.last_ok, columns.reread_on).where(among(columns.pk, pks))
    rows = connection.execute(query).all()
    fresh = [
        row.last_ok is not None
        and row.last_ok >= span.due_at
        and (span.kind is not ReportKind.MONTHLY or (row.reread_on or date.min) > span.last)
        for row in rows
    ]
    return len(rows) == len(watches) and all(fresh)


def is_known(connection: Connection, watches: Sequence[Watch], span: ReportSpan) -> bool:
    """Check whether any of the organizations was polled after the report's last day."""
    pks = claims.keys_of(connection, [each.organization for each in watches]).values()
    columns = organization.c
    query = select(columns.last_ok).where(among(columns.pk, pks))
    return any(at is not None and at >= span.ended_at for at in connection.scalars(query))


def receivers_of(connection: Connection, span: ReportSpan) -> set[tuple[str, str]]:
    """Read which channels and recipients got the report or are queued to get it."""
    columns = delivery.c
    query = select(columns.channel, columns.recipient).where(columns.transition_id == span.id)
    return {(channel, recipient) for channel, recipient in connection.execute(query)}


def organizations(
    connection: Connection,
    watches: Sequence[Watch],
    span: ReportSpan,
    *,
    now: datetime,
) -> list[EntryFacts]:
    """Read the report's part on each organization."""
    current = statuses(connection, watches, now=now)
    pks = [status.known.pk for status in current if status.known.pk is not None]
    stories: dict[int, list[StoryFacts]] = {}
    for row in _stories(connection, span, now, pks=pks):
        stories.setdefault(row.organization_pk, []).append(_story(row))
    return [
        _entry(connection, status, watch, span, stories)
        for status, watch in zip(current, watches, strict=True)
    ]


def own_affairs(connection: Connection, span: ReportSpan, *, now: datetime) -> list[StoryFacts]:
    """Read the stories about no single organization: channels, the config, a whole server."""
    return [_story(row) for row in _stories(connection, span, now, pks=None)]


def _entry(
    connection: Connection,
    status: Status,
    watch: Watch,
    span: ReportSpan,
    stories: Mapping[int, Sequence[StoryFacts]],
) -> EntryFacts:
    known, pk = status.known, status.known.pk
    entry = EntryFacts(
        id=status.id,
        name=status.name,
        plan=status.plan,
        server=status.server,
        state=status.state,
        blind=status.blind,
    )
    if pk is None:
        return entry
    present = period_forecast(connection, watch, now=known.at)
    had, days = _span(connection, pk, span)
    entry = replace(
        entry,
        period=PeriodFacts.of(known.period),
        used=status.used,
        limit=status.limit,
        percent=status.percent,
        over=status.over,
        drops=status.drops,
        measured_at=known.measured_at or known.last_ok,
        coming=_coming(present),
        lost=status.lost,
        span=had,
        days=days,
        accuracy=_accuracy(present),
        smaller_plan=_smaller_plan(connection, pk, known),
        sites=_sites(known, span),
        told=tuple(stories.get(pk, ())),
    )
    is_closed = span.kind is ReportKind.MONTHLY
    return _closed(connection, pk, known.watch, span, entry) if is_closed else entry


def _sites(known: Known, span: ReportSpan) -> tuple[SiteStatus, ...] | None:
    """List who used the plan: in the present period or, of a month, in the one that ended."""
    if not known.sites:
        return None if known.reported is None else ()
    period = known.period if span.kind is ReportKind.WEEKLY else month_of(span.first)
    return tuple(sites_of(known, period)[:_MOST_SITES])


def _coming(present: PeriodForecast) -> ComingFacts | None:
    forecast = present.known.forecast
    if forecast is None:
        return None
    return ComingFacts.of(forecast, period=PeriodFacts.of(present.known.period))


def _closed(
    connection: Connection, pk: int, watch: Watch, span: ReportSpan, entry: EntryFacts
) -> EntryFacts:
    """Put the period that has closed in the place of the present one."""
    period = month_of(span.first)
    closed = closed_period(connection, pk, watch=watch, period=period)
    if closed is None:
        used, limit = _sum(connection, pk, period), watch.limit
        lost = _lost(connection, pk, watch, period)
    else:
        used, limit, lost = closed.used, closed.limit, closed.lost
    return replace(
        entry,
        period=PeriodFacts.of(period),
        used=used,
        limit=limit,
        percent=None if used is None else percent(used, limit),
        over=None if used is None else is_over(used, limit),
        lost=lost,
    )


def _lost(connection: Connection, pk: int, watch: Watch, period: Period) -> Estimate | None:
    if not watch.drops:
        return None
    counted, capped = counted_days(connection, pk, period.start - BASELINE, period.last_day)
    return lost(counted, capped=capped, period=period, today=period.end)


def _sum(connection: Connection, pk: int, period: Period) -> int | None:
    """Sum the counted events of a period; None where a day of it is not known."""
    counted, _ = counted_days(connection, pk, period.start, period.last_day)
    return sum(counted.values()) if len(counted) == period.days else None


def _span(
    connection: Connection, pk: int, span: ReportSpan
) -> tuple[SpanFacts, tuple[int | None, ...]]:
    """Read the reported days: their sum, its growth against those before, and each day."""
    counted, _ = counted_days(connection, pk, span.before, span.last)
    days = list(each_day(span.first, span.last))
    now = _mean(counted, days)
    before = _mean(counted, [day for day in each_day(span.before, span.last) if day < span.first])
    growth = round(100 * (now / before - 1), 1) if now is not None and before else None
    used = sum(counted[day] for day in days) if now is not None else None
    return SpanFacts(used=used, growth=growth), tuple(counted.get(day) for day in days)


def _mean(counted: Mapping[date, int], days: Collection[date]) -> float | None:
    """Average some days; None where one is not known."""
    known = [counted[day] for day in days if day in counted]
    return sum(known) / len(known) if known and len(known) == len(days) else None


def _accuracy(present: PeriodForecast) -> CheckDay | None:
    """Pick how accurate forecasts made on the tenth day were, or on the day nearest to it."""
    checks = sorted(present.accuracy, key=lambda each: abs(each.day - 10))
    return checks[0] if checks else None


def _smaller_plan(connection: Connection, pk: int, known: Known) -> PlanFit | None:
    if known.watch.plan is None or known.watch.limit is None:
        return None
    periods = [previous(known.period)]
    while len(periods) < _CLOSED_PERIODS:
        periods.append(previous(periods[-1]))
    totals = [_sum(connection, pk, period) for period in reversed(periods)]
    whole = [total for total in totals if total is not None]
    if len(whole) < len(totals):
        return None
    return smaller_plan(
        whole, plan=known.watch.plan, limit=known.watch.limit, prices=known.watch.prices
    )


def _stories(
    connection: Connection, span: ReportSpan, now: datetime, *, pks: Collection[int] | None
) -> list[Row[Any]]:
    """Read stories sent since the span began, newest first; without keys: of no organization."""
    columns = alert.c
    since = datetime.combine(span.first, time.min, UTC)
    owner = columns.organization_pk
    whose = owner.is_(None) if pks is None else among(owner, pks)
    query = (
        select(alert)
        .where(whose, columns.started_at >= since, columns.started_at <= now)
        .order_by(columns.started_at.desc(), columns.pk.desc())
    )
    counts: dict[int | None, int] = {}
    rows = []
    for row in connection.execute(query):
        n = counts.get(row.organization_pk, 0)
        if n < _MOST_STORIES and any(step["told"] for step in row.transitions):
            counts[row.organization_pk] = n + 1
            rows.append(row)
    return rows


def _story(row: Row[Any]) -> StoryFacts:
    """Read a story under the title it was first sent with."""
    return StoryFacts(
        id=row.id,
        rule=row.rule,
        level=row.level,
        severity=row.severity,
        title=row.transitions[0].get("title", row.title),
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
