"""What pages and tables show beyond `views`: order, series, sums and counts, in few queries."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta

from sqlalchemy import Connection, Text, cast, func, select

from quota_watch.model.period import Period, month_of, previous
from quota_watch.model.rule import Severity
from quota_watch.model.watch import Watch
from quota_watch.storage import claims
from quota_watch.storage.among import among
from quota_watch.storage.forecasts import kept_forecasts, kept_path
from quota_watch.storage.schema import day_usage, delivery, organization
from quota_watch.views import organizations as views
from quota_watch.views.organizations import Json

STATES = ("critical", "unknown", "warning", "info", "ok")
"""The states of an organization, the most urgent first."""

_NEVER = "9999-12-31"


def by_urgency(organizations: Iterable[Json]) -> list[Json]:
    """Sort what `views.organizations` returns: state, then the day of crossing, then percent."""

    def urgency(shown: Json) -> tuple[int, str, float]:
        crossing = (shown["forecast"] or {}).get("crosses_on") or {}
        day = shown["crossed_on"] or crossing.get("likely") or _NEVER
        return STATES.index(shown["state"]), day, -(shown["percent"] or 0)

    return sorted(organizations, key=urgency)


def by_severity(stories: Iterable[Json]) -> list[Json]:
    """Sort stories: the open ones first, by severity, then the newest."""
    newest = sorted(stories, key=lambda story: story["started_at"], reverse=True)
    return sorted(
        newest,
        key=lambda story: (story["state"] != "open", -Severity.of(story["severity"])),
    )


def grouped(stories: Iterable[Json]) -> dict[str | None, list[Json]]:
    """Group stories by organization id, the one with the most severe first; None is for all."""
    groups: dict[str | None, list[Json]] = {}
    for story in by_severity(stories):
        groups.setdefault(story["organization"], []).append(story)
    return groups


def totals(organizations: Collection[Json]) -> Json:
    """Sum what `views.organizations` returns.

    `limit` sums those that are known; `unknown` counts organizations whose usage is not.
    """
    states = Counter(shown["state"] for shown in organizations)
    return {
        "organizations": len(organizations),
        "states": {state: states[state] for state in STATES if states[state]},
        "used": sum(shown["used"] or 0 for shown in organizations),
        "limit": sum(shown["limit"] or 0 for shown in organizations),
        "unknown": sum(shown["used"] is None for shown in organizations),
        "open_alerts": sum(len(shown["open_alerts"]) for shown in organizations),
    }


def daily_totals(
    connection: Connection, watches: Sequence[Watch], first: date, last: date
) -> dict[str, list[int | None]]:
    """Return counted events of each day from `first` to `last`, by organization id.

    None stands for a day that is not kept.
    """
    keys = claims.keys_of(connection, [watch.organization for watch in watches])
    columns = day_usage.c
    entry = '"' + cast(columns.date, Text) + '":' + cast(columns.used, Text)
    query = (
        select(columns.organization_pk, func.aggregate_strings(entry, ","))
        .where(among(columns.organization_pk, keys.values()), columns.date.between(first, last))
        .group_by(columns.organization_pk)
    )
    found = {pk: json.loads(f"{{{entries}}}") for pk, entries in connection.execute(query)}
    days = [(first + timedelta(n)).isoformat() for n in range((last - first).days + 1)]
    return {
        each.id: [known.get(day) for day in days]
        for each, pk in keys.items()
        for known in [found.get(pk, {})]
    }


def last_periods(
    connection: Connection,
    watch: Watch,
    *,
    today: date,
    periods: int = 12,
) -> list[Json]:
    """Return the sums of the last periods, oldest first, the current one at the end.

    `used` is None where no day is kept.
    """
    wanted = [month_of(today)]
    while len(wanted) < periods:
        wanted.append(previous(wanted[-1]))
    days = views.history(connection, watch, wanted[-1].start, wanted[0].last_day)
    return [_sum_of(period, days) for period in reversed(wanted)]


def _sum_of(period: Period, days: Iterable[Json]) -> Json:
    own = [day for day in days if date.fromisoformat(day["date"]) in period]
    return {
        "start": period.start.isoformat(),
        "end": period.last_day.isoformat(),
        "used": sum(day["used"] for day in own) if own else None,
        "days": len(own),
        "capped": any(day["capped"] for day in own),
    }


def newest_forecast(
    connection: Connection, watch: Watch, period: Period, today: date
) -> Json | None:
    """Return the newest forecast of a period with the path it expects, or None."""
    keys = claims.keys_of(connection, [watch.organization])
    kept = kept_forecasts(connection, list(keys.values()), period, today)
    for pk, row in kept.items():
        path = kept_path(connection, pk, row.as_of)
        values = {"as_of": row.as_of, "used": row.used, "path": path}
        return values | {name: getattr(row, name) for name in ("p10", "p50", "p90")}
    return None


def outbox_counts(connection: Connection) -> dict[tuple[str, str], int]:
    """Return how many deliveries there are by channel and state."""
    query = select(delivery.c.channel, delivery.c.state, func.count()).group_by(
        delivery.c.channel, delivery.c.state
    )
    return {(channel, state): n for channel, state, n in connection.execute(query)}


def failed_polls(connection: Connection, watches: Sequence[Watch]) -> Mapping[str, int]:
    """Return by organization id how many polls have failed since the last good one."""
    keys = claims.keys_of(connection, [watch.organization for watch in watches])
    query = select(organization.c.pk, organization.c.failed_polls)
    rows = connection.execute(query.where(among(organization.c.pk, keys.values())))
    failed: dict[int, int] = {row.pk: row.failed_polls for row in rows}
    return {each.id: failed[pk] for each, pk in keys.items()}
