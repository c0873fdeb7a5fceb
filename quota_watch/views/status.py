"""How organizations stand: what `status`, page and API show, from what is known of each."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.lib.figures import Estimate
from quota_watch.lib.plain import iso, plain
from quota_watch.model.account import Mismatch
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import Period, period_json
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.usage import is_over, percent
from quota_watch.model.watch import Watch
from quota_watch.rules.known import KeptForecast, Known
from quota_watch.storage import stories
from quota_watch.views.alerts import Alert, SilenceRecord, silences_shown, with_deliveries
from quota_watch.views.forecast import losses_so_far
from quota_watch.views.known import known_of

Json = dict[str, Any]

STATES = ("critical", "unknown", "warning", "info", "ok")
"""The states of an organization, the most urgent first."""

_TRUSTED_INTERVALS, _LEAST_TRUSTED = 2, timedelta(minutes=1)
_FORECAST = ("as_of", "p10", "p50", "p90", "probability_over", "crosses_on")


@dataclass(frozen=True, slots=True, kw_only=True)
class PollError:
    """Why a poll failed, as every JSON tells it."""

    kind: str
    message: str
    status: int | None


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
    as_of: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitPending:
    """A lower limit that upstream says, and that awaits its second read."""

    limit: int | None
    plan: str | None
    status: str | None
    since: datetime
    confirmed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """A site as upstream lists it."""

    id: str
    domain: str
    requires_plan: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An organization as `status` shows it: what is `known`, and what is held of it.

    `silences` are those that hold now. `lost` estimates what was dropped of this period.
    """

    known: Known
    stale: bool
    interval: Interval | None
    silences: Sequence[SilenceRecord]
    open_alerts: Sequence[Alert]
    lost: Estimate | None = None

    @property
    def id(self) -> str:
        """The organization's id, which alone it is asked for by."""
        return self.known.watch.organization.id

    @property
    def name(self) -> str:
        """The config's name for it, else upstream's, else the id."""
        return self.known.watch.name

    @property
    def server(self) -> str:
        """Where it lives."""
        return self.known.watch.organization.server

    @property
    def group(self) -> str | None:
        """The group that the config puts it in."""
        return self.known.watch.group

    @property
    def plan(self) -> str | None:
        """Its plan."""
        return self.known.watch.plan

    @property
    def limit(self) -> int | None:
        """The limit in force."""
        return self.known.watch.limit

    @property
    def limit_source(self) -> str:
        """Where that is from."""
        return self.known.watch.limit_source

    @property
    def limit_as_of(self) -> datetime | None:
        """When it was last in use, or said."""
        return self.known.limit_as_of

    @property
    def drops(self) -> bool:
        """Whether events past it are lost."""
        return self.known.watch.drops

    @property
    def period(self) -> Period:
        """The present period."""
        return self.known.period

    @property
    def used(self) -> int | None:
        """What was counted of it; None before its first good poll."""
        return None if self.known.usage is None else self.known.usage.used

    @property
    def percent(self) -> float | None:
        """That, of the limit."""
        return None if self.used is None else percent(self.used, self.limit)

    @property
    def over(self) -> bool | None:
        """Whether that is past the limit."""
        return None if self.used is None else is_over(self.used, self.limit)

    @property
    def by_type(self) -> Mapping[str, int] | None:
        """The counted events by type."""
        return None if self.known.usage is None else self.known.usage.by_type

    @property
    def not_counted(self) -> Mapping[str, int] | None:
        """The events outside the bill by type."""
        return None if self.known.usage is None else self.known.usage.not_counted

    @property
    def used_today(self) -> int | None:
        """What today has had; None where no good poll of today was: unknown is not zero."""
        usage = self.known.usage
        return usage.used_today if usage and usage.today >= self.known.at.date() else None

    @property
    def crossed_on(self) -> date | None:
        """The day on which the limit was passed."""
        return None if self.known.usage is None else self.known.usage.crossed_on

    @property
    def forecast(self) -> KeptForecast | None:
        """What the period was last forecast to come to."""
        return self.known.kept_forecast

    @property
    def crosses_on(self) -> date | None:
        """The day on which the limit will likely be passed."""
        crossing = self.forecast.crosses_on if self.forecast else None
        return None if crossing is None else crossing.likely

    @property
    def last_poll(self) -> datetime | None:
        """When it was last polled, with or without success."""
        return self.known.last_poll

    @property
    def last_ok(self) -> datetime | None:
        """When a poll last worked."""
        return self.known.last_ok

    @property
    def next_poll(self) -> datetime | None:
        """When the next one is due."""
        return self.known.next_poll

    @property
    def failing_since(self) -> datetime | None:
        """When polls began to fail without a good one since."""
        return None if self.known.trouble is None else self.known.trouble.since

    @property
    def last_error(self) -> PollError | None:
        """Why the last of them failed."""
        trouble = self.known.trouble
        if trouble is None:
            return None
        return PollError(kind=trouble.kind, message=trouble.message, status=trouble.status)

    @property
    def enforced(self) -> bool:
        """Whether upstream says that it drops events."""
        reported = self.known.reported
        return reported is not None and reported.account.enforced_over is True

    @property
    def sites(self) -> Sequence[SiteStatus]:
        """The sites that upstream lists."""
        return [
            SiteStatus(id=id_, domain=site.name, requires_plan=site.requires_plan)
            for id_, site in self.known.sites.items()
        ]

    @property
    def limit_pending(self) -> LimitPending | None:
        """A lower limit that is not believed yet."""
        limit, reported = self.known.limit, self.known.reported
        if not self.known.watch.auto or limit.lower_since is None:
            return None
        return LimitPending(
            limit=limit.lower,
            plan=None if reported is None else reported.account.plan,
            status=None if reported is None else reported.account.status,
            since=limit.lower_since,
            confirmed_at=limit.lower_since + ENFORCED_EVERY,
        )

    @property
    def limit_differs(self) -> LimitDiffers | None:
        """Both limits, where the config's decides and upstream has another."""
        watch, reported = self.known.watch, self.known.reported
        if watch.auto or watch.limit is None or reported is None:
            return None
        account = reported.account
        if account.limit is None or account.limit == watch.limit:
            return None
        return LimitDiffers(
            config=watch.limit,
            upstream=account.limit,
            plan=account.plan,
            as_of=reported.as_of,
        )

    @property
    def mismatch(self) -> Mismatch | None:
        """What is held of our count and upstream's own."""
        return self.known.mismatch

    @property
    def blind(self) -> bool:
        """Whether its polls have failed for too long."""
        return any(each.rule == Rule.BLIND for each in self.open_alerts)

    @property
    def state(self) -> str:
        """How bad it is, in one of `STATES`."""
        worst = max((Severity.of(each.severity) for each in self.open_alerts), default=None)
        is_judged = self.limit is not None or worst is Severity.CRITICAL
        if self.stale or self.used is None or not is_judged:
            return "unknown"
        return worst.label if worst else "ok"

    def to_json(self) -> Json:
        """Write it as `status --json` and the API have it."""
        is_counted = self.known.usage is not None
        return {
            "id": self.id,
            "name": self.name,
            "server": self.server,
            "plan": self.plan,
            "limit": self.limit,
            "limit_source": self.limit_source,
            "limit_as_of": iso(self.limit_as_of),
            "drops": self.drops,
            "group": self.group,
            "used": self.used,
            "percent": self.percent,
            "over": self.over,
            "by_type": plain(self.by_type),
            "not_counted": plain(self.not_counted),
            "today": {"date": self.known.at.date().isoformat(), "used": self.used_today}
            if is_counted
            else None,
            "crossed_on": plain(self.crossed_on),
            "last_poll": iso(self.last_poll),
            "last_ok": iso(self.last_ok),
            "next_poll": iso(self.next_poll),
            "failing_since": iso(self.failing_since),
            "last_error": plain(self.last_error),
            "forecast": None
            if self.forecast is None
            else {name: plain(getattr(self.forecast, name)) for name in _FORECAST},
            "lost": plain(self.lost),
            "stale": self.stale,
            "enforced": self.enforced,
            "interval": plain(self.interval),
            "sites": plain(self.sites),
            "limit_pending": plain(self.limit_pending),
            "limit_differs": plain(self.limit_differs),
            "mismatch": plain(self.mismatch),
            "silences": plain(self.silences),
            "period": period_json(self.period),
            "blind": self.blind,
            "state": self.state,
            "open_alerts": [each.to_json() for each in self.open_alerts],
        }


def statuses(
    connection: Connection,
    watches: Sequence[Watch],
    *,
    now: datetime,
    interval: timedelta | None = None,
) -> list[Status]:
    """Read how each watched organization stands, in the order of the config.

    `interval` is the configured one.
    """
    found = known_of(connection, watches, now=now, told=False)
    lost = losses_so_far(connection, found)
    silences = silences_shown(connection, now=now)
    alerts = _open_alerts(connection, found)
    return [
        Status(
            known=known,
            stale=_is_stale(known, interval),
            interval=_interval(known, interval),
            silences=[each for each in silences if each.is_of(known.watch.organization.id)],
            open_alerts=alerts[known.watch.organization.id],
            lost=None if known.pk is None else lost.get(known.pk),
        )
        for known in found
    ]


def by_urgency(found: Iterable[Status]) -> list[Status]:
    """Sort by state, then by the day of crossing, then by percent."""

    def urgency(status: Status) -> tuple[int, date, float]:
        day = status.crossed_on or status.crosses_on or date.max
        return STATES.index(status.state), day, -(status.percent or 0)

    return sorted(found, key=urgency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over organizations; `limit` of those that are known, `unknown` counts unknown usages."""

    organizations: int
    states: Mapping[str, int]
    used: int
    limit: int
    unknown: int
    open_alerts: int


def totals(found: Collection[Status]) -> Totals:
    """Sum how organizations stand; `states` come the most urgent first."""
    states = Counter(each.state for each in found)
    return Totals(
        organizations=len(found),
        states={state: states[state] for state in STATES if states[state]},
        used=sum(each.used or 0 for each in found),
        limit=sum(each.limit or 0 for each in found),
        unknown=sum(each.used is None for each in found),
        open_alerts=sum(len(each.open_alerts) for each in found),
    )


def _open_alerts(connection: Connection, found: Sequence[Known]) -> dict[str, list[Alert]]:
    """Read by organization's id its open alerts, then those of its server or key that meet it."""
    ids = {known.pk: known.watch.organization.id for known in found if known.pk is not None}
    own = stories.rows_of(connection, list(ids), only_open=True)
    servers = sorted({known.watch.organization.server for known in found})
    shared = {each: stories.rows_of_server(connection, each, only_open=True) for each in servers}
    rows = [*own, *chain.from_iterable(shared.values())]
    alerts = {alert.id: alert for alert in with_deliveries(connection, rows, ids)}
    by_id: dict[str, list[Alert]] = {known.watch.organization.id: [] for known in found}
    for row in own:
        by_id[ids[row.organization_pk]].append(alerts[row.id])
    for known in found:
        met = _met_by(known, shared[known.watch.organization.server])
        by_id[known.watch.organization.id] += [alerts[row.id] for row in met]
    return by_id


def _met_by(known: Known, shared: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Pick the alerts about a whole server or key that tell just how the polls of one fail."""
    trouble = known.trouble
    if trouble is None:
        return []
    return [row for row in shared if (row.detail or {}).get("kind") == trouble.kind]


def _is_stale(known: Known, configured: timedelta | None) -> bool:
    """Tell whether its numbers are older than two intervals: nobody knows then how it stands."""
    every = max(configured or timedelta(), known.interval or timedelta())
    trusted = max(_TRUSTED_INTERVALS * every, _LEAST_TRUSTED)
    return bool(every and known.last_ok and known.at - known.last_ok > trusted)


def _interval(known: Known, configured: timedelta | None) -> Interval | None:
    wanted = None if configured is None else round(configured.total_seconds())
    current = None if known.interval is None else round(known.interval.total_seconds())
    if wanted is None and current is None:
        return None
    stretched = None if wanted is None or current is None else current > wanted
    return Interval(configured=wanted, current=current, stretched=stretched)
