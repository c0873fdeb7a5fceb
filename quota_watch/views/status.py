"""The status of organizations: what `status`, page and API show, from what is known of each."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from quota_watch.forecast.forecast import KeptForecast
from quota_watch.lib.text import Estimate, by_field
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import Period, is_over, percent
from quota_watch.model.source import Mismatch, Trouble
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.rules.known import Known
from quota_watch.storage import stories
from quota_watch.views.alerts import Alert, SilenceRecord, silences_shown, with_deliveries
from quota_watch.views.known import SiteStatus, known_of, losses_of, sites_of

STATES = ("critical", "unknown", "warning", "info", "ok")
"""The states of an organization, the most urgent first."""

_TRUSTED_INTERVALS, _LEAST_TRUSTED, _NO_TIME = 2, timedelta(minutes=1), timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Seconds between polls: as configured, and as they are where a rate budget is too small."""

    configured: int | None
    current: int | None
    stretched: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitDiffers:
    """The config's limit and upstream's where it is the config that decides."""

    config: int
    upstream: int
    plan: str | None
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitPending:
    """A lower limit that upstream reported, and that awaits its second read."""

    limit: int | None
    plan: str | None
    status: str | None
    since: datetime
    confirmed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TodayCount:
    """What today has had; None where no good poll of today was: unknown is not zero."""

    date: date
    used: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An organization as `status` shows it: what is `known`, and what follows from it.

    All that is of counts is None before the period's first good poll. `state` is one of `STATES`,
    `lost` estimates what was dropped, `forecast` is what the last poll left; `silences` are those
    that hold now.
    """

    known: Known
    id: str
    name: str
    server: str
    plan: str | None
    limit: int | None
    limit_source: str
    limit_as_of: datetime | None
    drops: bool
    group: str | None
    used: int | None
    percent: float | None
    over: bool | None
    by_type: Mapping[str, int] | None
    not_counted: Mapping[str, int] | None
    today: TodayCount | None
    crossed_on: date | None
    last_poll: datetime | None
    last_ok: datetime | None
    next_poll: datetime | None
    failing_since: datetime | None
    last_error: Trouble | None
    forecast: KeptForecast | None
    lost: Estimate | None
    stale: bool
    enforced: bool
    interval: Interval | None
    sites: Sequence[SiteStatus]
    limit_pending: LimitPending | None
    limit_differs: LimitDiffers | None
    mismatch: Mismatch | None
    silences: Sequence[SilenceRecord]
    period: Period
    blind: bool
    state: str
    open_alerts: Sequence[Alert]

    @property
    def crosses_on(self) -> date | None:
        """The day on which the limit will likely be passed."""
        forecast = self.forecast
        return forecast.crosses_on.likely if forecast and forecast.crosses_on else None

    @property
    def reached_on(self) -> date | None:
        """The day on which the limit was passed, else will likely be."""
        return self.crossed_on or self.crosses_on

    def to_json(self) -> dict[str, Any]:
        """Write it as `status --json` and the API have it."""
        return by_field(self, without={"known"})


def statuses(
    connection: Connection,
    watches: Sequence[Watch],
    *,
    now: datetime,
    interval: timedelta | None = None,
    with_stories: bool = False,
    brief: bool = False,
) -> list[Status]:
    """Read the status of each watched organization, in the order of the config.

    `interval` is the configured one. Stories and silences are read only where asked for. What
    is `brief` has no event types and no losses: `with_losses` adds those.
    """
    organizations = known_of(
        connection, watches, now=now, with_stories=with_stories, types=not brief
    )
    silences = silences_shown(connection, now=now)
    alerts = _open_alerts(connection, organizations)
    items = [
        status_of(
            known,
            interval,
            silences=[each for each in silences if each.is_of(known.watch.organization.id)],
            open_alerts=alerts[known.watch.organization.id],
        )
        for known in organizations
    ]
    return items if brief else with_losses(connection, items)


def with_losses(connection: Connection, items: Sequence[Status]) -> list[Status]:
    """Add what each lost by events that were dropped."""
    losses = losses_of(connection, [each.known for each in items])
    return [
        replace(each, lost=losses[each.known.pk].total) if each.known.pk in losses else each
        for each in items
    ]


def status_of(
    known: Known,
    interval: timedelta | None = None,
    *,
    silences: Sequence[SilenceRecord] = (),
    open_alerts: Sequence[Alert] = (),
) -> Status:
    """Make the status of one organization from what is known of it and its open alerts."""
    watch, usage, trouble, today = known.watch, known.usage, known.trouble, known.at.date()
    used = None if usage is None else usage.used
    used_today = usage.used_today if usage and usage.today >= today else None
    stale = is_stale(known, interval)
    return Status(
        known=known,
        id=watch.organization.id,
        name=watch.name,
        server=watch.organization.server,
        plan=watch.plan,
        limit=watch.limit,
        limit_source=watch.limit_source,
        limit_as_of=known.limit_as_of,
        drops=watch.drops,
        group=watch.group,
        used=used,
        percent=None if used is None else percent(used, watch.limit),
        over=None if used is None else is_over(used, watch.limit),
        by_type=usage.by_type if usage else None,
        not_counted=usage.not_counted if usage else None,
        today=TodayCount(date=today, used=used_today) if usage else None,
        crossed_on=usage.crossed_on if usage else None,
        last_poll=known.last_poll,
        last_ok=known.last_ok,
        next_poll=known.next_poll,
        failing_since=trouble.since if trouble else None,
        last_error=trouble,
        forecast=known.kept_forecast,
        lost=None,
        stale=stale,
        enforced=_is_enforced(known),
        interval=_interval(known, interval),
        sites=sites_of(known, known.period),
        limit_pending=_limit_pending(known),
        limit_differs=_limit_differs(known),
        mismatch=known.mismatch,
        silences=silences,
        period=known.period,
        blind=any(each.rule == Rule.BLIND for each in open_alerts),
        state="unknown" if stale or used is None else _state(watch.limit, open_alerts),
        open_alerts=open_alerts,
    )


def _is_enforced(known: Known) -> bool:
    """Check whether upstream reported in this period that it drops events: each starts anew."""
    reported = known.reported
    return (
        reported is not None
        and reported.as_of.date() in known.period
        and reported.account.enforced_over is True
    )


def _limit_pending(known: Known) -> LimitPending | None:
    limit, reported = known.limit, known.reported
    if not known.watch.auto or limit.lower_since is None:
        return None
    return LimitPending(
        limit=limit.lower,
        plan=reported.account.plan if reported else None,
        status=reported.account.status if reported else None,
        since=limit.lower_since,
        confirmed_at=limit.lower_since + ENFORCED_EVERY,
    )


def _limit_differs(known: Known) -> LimitDiffers | None:
    limit, reported = known.watch.limit, known.reported
    if known.watch.auto or limit is None or reported is None:
        return None
    theirs, plan = reported.account.limit, reported.account.plan
    if theirs in {None, limit}:
        return None
    return LimitDiffers(config=limit, upstream=theirs, plan=plan, as_of=reported.as_of)


def _state(limit: int | None, open_alerts: Iterable[Alert]) -> str:
    worst = max((Severity.of(each.severity) for each in open_alerts), default=None)
    if limit is None and worst is not Severity.CRITICAL:
        return "unknown"
    return worst.label if worst else "ok"


def by_urgency(items: Iterable[Status]) -> list[Status]:
    """Sort by state, then by the day of crossing, then by percent."""
    return sorted(
        items,
        key=lambda each: (
            STATES.index(each.state),
            each.reached_on or date.max,
            -(each.percent or 0),
        ),
    )


def _open_alerts(
    connection: Connection, organizations: Sequence[Known]
) -> Mapping[str | None, list[Alert]]:
    """Read by organization's id its open alerts, then those of its server or key that meet it.

    Such an alert meets it that is about the kind of failure it has.
    """
    by_id: dict[str | None, list[Alert]] = defaultdict(list)
    pks = [known.pk for known in organizations if known.pk is not None]
    for alert in with_deliveries(connection, stories.rows_of(connection, pks, only_open=True)):
        by_id[alert.organization].append(alert)
    for server in {known.watch.organization.server for known in organizations}:
        rows = stories.rows_of_server(connection, server, only_open=True)
        for row, alert in zip(rows, with_deliveries(connection, rows), strict=True):
            kind = (row.detail or {}).get("kind")
            for known in organizations:
                whose, trouble = known.watch.organization, known.trouble
                if whose.server == server and trouble and trouble.kind == kind:
                    by_id[whose.id].append(alert)
    return by_id


def is_stale(known: Known, configured: timedelta | None) -> bool:
    """Check whether its numbers are older than two intervals: then the state is unknown."""
    every = max(configured or _NO_TIME, known.interval or _NO_TIME)
    if not every or known.last_ok is None:
        return False
    return known.at - known.last_ok > max(_TRUSTED_INTERVALS * every, _LEAST_TRUSTED)


def _interval(known: Known, configured: timedelta | None) -> Interval | None:
    seconds = None if configured is None else round(configured.total_seconds())
    current = None if known.interval is None else round(known.interval.total_seconds())
    if seconds is None and current is None:
        return None
    stretched = None if seconds is None or current is None else current > seconds
    return Interval(configured=seconds, current=current, stretched=stretched)
