"""The contents of a periodic report, read from the store; every figure is computed elsewhere."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Self

from sqlalchemy import Connection, select

from quota_watch.forecast.accuracy import CheckDay
from quota_watch.forecast.capped import lost
from quota_watch.forecast.forecast import ForecastFacts
from quota_watch.forecast.remedies import HARDLY_USED_PERIODS, PlanFit, smaller_plan
from quota_watch.lib.text import Estimate
from quota_watch.model.period import ONE_DAY, Period, each_day, is_over, month_of, percent
from quota_watch.model.schedule import ReportKind, ReportSpan
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.storage import claims, stories
from quota_watch.storage.days import BASELINE, closed_period, counted_days
from quota_watch.storage.schema import among, organization
from quota_watch.views.known import SiteStatus, sites_of
from quota_watch.views.periods import period_forecast, periods_until
from quota_watch.views.status import Status, statuses

_MOST_STORIES, _MOST_SITES = 12, 25
_JUDGED_ON = 10
"""The day of making whose forecasts, or those of the day nearest to it, are judged."""


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


def is_ready(
    connection: Connection, watches: Sequence[Watch], span: ReportSpan, *, is_late: bool
) -> bool:
    """Check whether all organizations of the report were polled since it was due.

    For a month: that the closed month was read once more. Where it `is_late`, it is enough that
    one of them was polled after its last day.
    """
    pks = claims.keys_of(connection, [each.organization for each in watches]).values()
    columns = organization.c
    query = select(columns.last_ok, columns.reread_on).where(among(columns.pk, pks))
    polls = [(at, day or date.min) for at, day in connection.execute(query) if at is not None]
    if is_late and any(at >= span.ended_at for at, _ in polls):
        return True
    fresh = [
        at >= span.due_at and (span.kind is ReportKind.WEEKLY or reread_on > span.last)
        for at, reread_on in polls
    ]
    return len(fresh) == len(watches) and all(fresh)


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
    facts = _stories(connection, span, now, pks=pks)
    return [
        _entry(connection, status, watch, span, facts[status.known.pk])
        for status, watch in zip(current, watches, strict=True)
    ]


def own_affairs(connection: Connection, span: ReportSpan, *, now: datetime) -> list[StoryFacts]:
    """Read the stories about no single organization: channels, the config, a whole server."""
    return _stories(connection, span, now, pks=None)[None]


def _entry(
    connection: Connection,
    status: Status,
    watch: Watch,
    span: ReportSpan,
    facts: Sequence[StoryFacts],
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
    forecast, period = present.known.forecast, PeriodFacts.of(known.period)
    *closed, _ = periods_until(known.period, HARDLY_USED_PERIODS + 1)
    counted, _ = counted_days(connection, pk, closed[0].start, known.at.date())
    entry = replace(
        entry,
        period=period,
        used=status.used,
        limit=status.limit,
        percent=status.percent,
        over=status.over,
        drops=status.drops,
        measured_at=known.measured_at or known.last_ok,
        coming=None if forecast is None else ComingFacts.of(forecast, period=period),
        lost=status.lost,
        span=_span(counted, span),
        days=tuple(counted.get(day) for day in each_day(span.first, span.last)),
        accuracy=min(present.accuracy, key=lambda each: abs(each.day - _JUDGED_ON), default=None),
        smaller_plan=_smaller_plan(known.watch, [_sum_of(counted, each) for each in closed]),
        sites=_sites(known, span),
        told=tuple(facts),
    )
    is_closed = span.kind is ReportKind.MONTHLY
    return _closed(connection, pk, known.watch, month_of(span.first), entry) if is_closed else entry


def _span(counted: Mapping[date, int], span: ReportSpan) -> SpanFacts:
    """Sum the reported days, and compare their mean with that of the days before."""
    days = Period(span.first, span.last + ONE_DAY)
    earlier = Period(span.before, span.first)
    used, before = _sum_of(counted, days), _sum_of(counted, earlier)
    growth = None
    if used is not None and before:
        growth = round(100 * ((used / days.days) / (before / earlier.days) - 1), 1)
    return SpanFacts(used=used, growth=growth)


def _sum_of(counted: Mapping[date, int], period: Period) -> int | None:
    """Sum the days of a period; None where one is not known."""
    known = [n for day, n in counted.items() if day in period]
    return sum(known) if len(known) == period.days else None


def _smaller_plan(watch: Watch, totals: Iterable[int | None]) -> PlanFit | None:
    if watch.plan is None or watch.limit is None:
        return None
    known = [total for total in totals if total is not None]
    return smaller_plan(known, plan=watch.plan, limit=watch.limit, prices=watch.prices)


def _sites(known: Known, span: ReportSpan) -> tuple[SiteStatus, ...] | None:
    """List who used the plan: in the present period or, of a month, in the one that ended."""
    if not known.sites:
        return None if known.reported is None else ()
    period = known.period if span.kind is ReportKind.WEEKLY else month_of(span.first)
    return tuple(sites_of(known, period)[:_MOST_SITES])


def _closed(
    connection: Connection, pk: int, watch: Watch, period: Period, entry: EntryFacts
) -> EntryFacts:
    """Put the period that has closed in the place of the present one."""
    closed = closed_period(connection, pk, watch=watch, period=period)
    if closed is None:
        counted, capped = counted_days(connection, pk, period.start - BASELINE, period.last_day)
        used, limit = _sum_of(counted, period), watch.limit
        dropped = lost(counted, capped=capped, period=period, today=period.end)
    else:
        used, limit, dropped = closed.used, closed.limit, closed.lost
    return replace(
        entry,
        period=PeriodFacts.of(period),
        used=used,
        limit=limit,
        percent=None if used is None else percent(used, limit),
        over=None if used is None else is_over(used, limit),
        lost=dropped if watch.drops else None,
    )


def _stories(
    connection: Connection, span: ReportSpan, now: datetime, *, pks: Collection[int] | None
) -> Mapping[int | None, list[StoryFacts]]:
    """Read by organization the stories sent since the span began, the newest first.

    Each is under the title it was first sent with. Without keys: those of no organization.
    """
    since = datetime.combine(span.first, time.min, UTC)
    facts: dict[int | None, list[StoryFacts]] = defaultdict(list)
    for row in stories.rows_begun(connection, pks, since=since, until=now):
        its = facts[row.organization_pk]
        if len(its) < _MOST_STORIES and any(step["told"] for step in row.transitions):
            its.append(
                StoryFacts(
                    id=row.id,
                    rule=row.rule,
                    level=row.level,
                    severity=row.severity,
                    title=row.transitions[0].get("title", row.title),
                    started_at=row.started_at,
                    ended_at=row.ended_at,
                )
            )
    return facts
