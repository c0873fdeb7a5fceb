"""What is known now, as JSON shapes: read from the store, computed by the domain alone."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, select

from quota_watch.lib.plain import iso
from quota_watch.model.period import month_of, period_json
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.usage import Usage, count, is_over, percent
from quota_watch.model.watch import Watch
from quota_watch.storage import claims, silences, stories
from quota_watch.storage import days as record
from quota_watch.storage.among import among
from quota_watch.storage.closed import lost_so_far
from quota_watch.storage.deliveries import DeliveryState, delivery_json
from quota_watch.storage.deliveries import rows as delivery_rows
from quota_watch.storage.forecasts import kept_forecasts
from quota_watch.storage.schema import alert, day_usage, delivery, organization
from quota_watch.views import standing

Json = dict[str, Any]


def organizations(
    connection: Connection,
    watches: Sequence[Watch],
    *,
    now: datetime,
    interval: timedelta | None = None,
) -> list[Json]:
    """Return what `status` shows of each watched organization, in the order of the config.

    `interval` is the configured one.
    """
    period = month_of(now.date())
    keys = claims.keys_of(connection, [watch.organization for watch in watches])
    rows = _rows_by_key(connection, keys.values())
    days = record.days_of(connection, list(rows), period.start, now.date())
    open_rows = stories.rows_of(connection, list(rows), only_open=True)
    servers = {watch.organization.server for watch in watches}
    shared = {each: stories.rows_of_server(connection, each, only_open=True) for each in servers}
    everything = [*open_rows, *chain.from_iterable(shared.values())]
    alerts, found = _by_organization(open_rows), _deliveries_by_alert(connection, everything)
    foretold = kept_forecasts(connection, list(rows), period, now.date())
    silenced = silences.shown(connection, now=now)
    views, shown_period = [], period_json(period)
    for watch in watches:
        row = rows.get(keys.get(watch.organization, -1))
        usage = None
        if row is not None and row.period_start == period.start:
            usage = count(
                days[row.pk],
                period=period,
                today=now.date(),
                not_counted=watch.not_counted,
                limit=row.limit,
            )
        view = _identity(watch, row) | _usage(usage, row) | _health(row)
        if usage is not None and row is not None:
            view["forecast"] = _forecast(foretold.get(row.pk))
            view["lost"] = _lost(connection, row, usage)
        own = alerts.get(row.pk, []) if row is not None else []
        open_alerts = [*own, *_met_by(row, shared[watch.organization.server])]
        view |= standing.of(watch, row, silenced, interval, now)
        view["period"] = shown_period.copy()
        view["blind"] = any(each.rule == Rule.BLIND for each in open_alerts)
        view["state"] = "unknown" if view["stale"] else _state(usage, row, open_alerts)
        view["open_alerts"] = [
            story_json(
                each,
                None if each.organization_pk is None else watch.organization.id,
                found.get(each.pk, []),
            )
            for each in open_alerts
        ]
        views.append(view)
    return views


def alerts(
    connection: Connection,
    watches: Iterable[Watch] | None,
    *,
    only_open: bool,
    most: int | None = None,
) -> list[Json]:
    """Return stories with their deliveries, newest first; of all organizations if not named.

    `most` of them at most.
    """
    pks = None
    if watches is not None:
        pks = list(claims.keys_of(connection, [w.organization for w in watches]).values())
    rows = stories.rows_of(connection, pks, only_open=only_open, most=most)
    query = select(organization.c.pk, organization.c.id)
    names = {row.pk: row.id for row in connection.execute(query)}
    found = _deliveries_by_alert(connection, rows)
    return [story_json(row, names.get(row.organization_pk), found.get(row.pk, [])) for row in rows]


def alerts_of_server(connection: Connection, server: str) -> list[Json]:
    """Return stories about a whole server or one of its keys with their deliveries."""
    rows = stories.rows_of_server(connection, server)
    found = _deliveries_by_alert(connection, rows)
    return [story_json(row, None, found.get(row.pk, [])) for row in rows]


def deliveries(
    connection: Connection,
    *,
    only_failed: bool,
    state: DeliveryState | None = None,
    most: int | None = None,
) -> list[Json]:
    """Return the outbox, newest first; `most` of it at most, and only `state` if one is given."""
    rows = list(delivery_rows(connection, only_failed=only_failed, state=state, most=most))
    its = among(alert.c.pk, {row.alert_pk for row in rows if row.alert_pk is not None})
    query = (
        select(alert.c.pk, alert.c.id, alert.c.transitions, organization.c.id.label("organization"))
        .outerjoin_from(alert, organization)
        .where(its)
    )
    about: dict[int, Any] = {row.pk: row for row in connection.execute(query)}
    return [delivery_json(row) | _about(row, about.get(row.alert_pk)) for row in rows]


def _about(row: Row[Any], story: Any) -> Json:
    """Return what a delivery told of: its story, and the title of the step."""
    if story is None:
        return {"alert_id": None, "organization": None, "title": None}
    titles = {step["id"]: step.get("title") for step in story.transitions}
    return {
        "alert_id": story.id,
        "organization": story.organization,
        "title": titles.get(row.transition_id),
    }


def history(connection: Connection, watch: Watch, first: date, last: date) -> list[Json]:
    """Return the kept days from `first` to `last`, oldest first."""
    keys = claims.keys_of(connection, [watch.organization])
    query = (
        select(day_usage)
        .where(
            day_usage.c.organization_pk.in_(keys.values()), day_usage.c.date.between(first, last)
        )
        .order_by(day_usage.c.date)
    )
    return [
        {
            "date": row.date.isoformat(),
            **_by_type(row.counts, watch.not_counted),
            "capped": row.capped,
            "changed_from": row.changed_from,
        }
        for row in connection.execute(query)
    ]


def by_month(days: Iterable[Json]) -> list[Json]:
    """Sum the days of `history` by calendar month; `date` is then the month's first day."""
    months: dict[str, Json] = {}
    for day in days:
        first = f"{day['date'][:7]}-01"
        month = months.setdefault(
            first,
            {
                "date": first,
                "used": 0,
                "by_type": {},
                "not_counted": {},
                "capped": False,
                "changed_from": None,
            },
        )
        _add_changed(month, day)
        month["used"] += day["used"]
        month["capped"] |= day["capped"]
        for part in ("by_type", "not_counted"):
            for type_, n in day[part].items():
                month[part][type_] = month[part].get(type_, 0) + n
    return list(months.values())


def _add_changed(month: Json, day: Json) -> None:
    """Sum what the days had come to when they were over, once one of them differs."""
    if day["changed_from"] is not None or month["changed_from"] is not None:
        before = month["used"] if month["changed_from"] is None else month["changed_from"]
        came = day["used"] if day["changed_from"] is None else day["changed_from"]
        month["changed_from"] = before + came


def _rows_by_key(connection: Connection, pks: Iterable[int]) -> dict[int, Row[Any]]:
    query = select(organization).where(among(organization.c.pk, pks))
    return {row.pk: row for row in connection.execute(query)}


def _by_organization(rows: Iterable[Row[Any]]) -> dict[int, list[Row[Any]]]:
    grouped: dict[int, list[Row[Any]]] = {}
    for row in rows:
        grouped.setdefault(row.organization_pk, []).append(row)
    return grouped


def _met_by(row: Row[Any] | None, shared: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Return those alerts about a whole server or key that an organization is among.

    Its polls fail in just the way that the alert tells.
    """
    if row is None or row.failing_since is None or row.last_error is None:
        return []
    kind = row.last_error["kind"]
    return [each for each in shared if each.detail is not None and each.detail.get("kind") == kind]


def _identity(watch: Watch, row: Row[Any] | None) -> Json:
    agreed = row if row is not None else watch
    return {
        "id": watch.organization.id,
        "name": row.name if row is not None and watch.name == watch.organization.id else watch.name,
        "server": watch.organization.server,
        "plan": agreed.plan,
        "limit": agreed.limit,
        "limit_source": agreed.limit_source,
        "limit_as_of": iso(row.limit_as_of) if row is not None else None,
        "drops": agreed.drops,
        "group": watch.group,
    }


def _usage(usage: Usage | None, row: Row[Any] | None) -> Json:
    if usage is None or row is None:
        unknown = ("used", "percent", "over", "by_type", "not_counted", "today")
        return dict.fromkeys((*unknown, "forecast", "crossed_on", "lost"))
    return {
        "used": usage.used,
        "percent": percent(usage.used, row.limit),
        "over": is_over(usage.used, row.limit),
        "by_type": dict(usage.by_type),
        "not_counted": dict(usage.not_counted),
        "today": {"date": usage.today.isoformat(), "used": _used_today(usage, row)},
        "crossed_on": usage.crossed_on.isoformat() if usage.crossed_on else None,
    }


def _used_today(usage: Usage, row: Row[Any]) -> int | None:
    """Return what today has had, None where no good poll of today was: unknown is not zero."""
    seen = row.last_ok is not None and row.last_ok.date() >= usage.today
    return usage.used_today if seen else None


def _forecast(row: Row[Any] | None) -> Json | None:
    if row is None:
        return None
    return {
        "as_of": row.as_of.isoformat(),
        "p10": row.p10,
        "p50": row.p50,
        "p90": row.p90,
        "probability_over": row.probability_over,
        "crosses_on": row.crosses_on,
    }


def _lost(connection: Connection, row: Row[Any], usage: Usage) -> Json | None:
    if not row.drops or not is_over(usage.used, row.limit):
        return None
    lost = lost_so_far(connection, row.pk, period=usage.period, today=usage.today)
    return None if lost is None else {"low": lost.low, "likely": lost.likely, "high": lost.high}


def _health(row: Row[Any] | None) -> Json:
    if row is None:
        return dict.fromkeys(("last_poll", "last_ok", "next_poll", "failing_since", "last_error"))
    return {
        "last_poll": iso(row.last_poll),
        "last_ok": iso(row.last_ok),
        "next_poll": iso(row.next_at),
        "failing_since": iso(row.failing_since),
        "last_error": row.last_error
        and {name: row.last_error[name] for name in ("kind", "message", "status")},
    }


def _state(usage: Usage | None, row: Row[Any] | None, open_alerts: Collection[Row[Any]]) -> str:
    worst = max((Severity.of(row.severity) for row in open_alerts), default=None)
    if usage is None or row is None or (row.limit is None and worst is not Severity.CRITICAL):
        return "unknown"
    return worst.label if worst else "ok"


def story_json(row: Row[Any], organization_id: str | None, found: list[Json]) -> Json:
    """Return a row of the alert table as JSON shows it."""
    return {
        "id": row.id,
        "organization": organization_id,
        "rule": row.rule,
        "level": row.level,
        "tier": row.tier,
        "severity": row.severity,
        "state": "open" if row.ended_at is None else "resolved",
        "held": row.held,
        "reason": row.reason,
        "title": row.title,
        "summary": row.summary,
        "started_at": iso(row.started_at),
        "ended_at": iso(row.ended_at),
        "transitions": row.transitions,
        "deliveries": found,
    }


def _deliveries_by_alert(
    connection: Connection, alerts: Iterable[Row[Any]]
) -> dict[int, list[Json]]:
    found: dict[int, list[Json]] = {}
    its = among(delivery.c.alert_pk, [row.pk for row in alerts])
    for row in connection.execute(select(delivery).where(its).order_by(delivery.c.pk)):
        found.setdefault(row.alert_pk, []).append(delivery_json(row))
    return found


def _by_type(counts: Mapping[str, int], not_counted: Collection[str]) -> Json:
    counted = {type_: n for type_, n in counts.items() if type_ not in not_counted}
    rest = {type_: n for type_, n in counts.items() if type_ in not_counted}
    return {"used": sum(counted.values()), "by_type": counted, "not_counted": rest}
