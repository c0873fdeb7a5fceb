"""The organization table: what is known of an organization, as it stands in its row.

What upstream reported of plan, limit and sites, how its last polls went, and the columns that a
poll writes.
"""

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, or_, select, update

from quota_watch.lib.text import iso
from quota_watch.model.limit import KnownLimit
from quota_watch.model.period import Usage
from quota_watch.model.source import (
    ErrorKind,
    KnownSite,
    Mismatch,
    Reported,
    SiteUsage,
    Trouble,
    UpstreamError,
    reread,
)
from quota_watch.model.watch import Watch
from quota_watch.storage.schema import among, organization

StoredSites = Mapping[str, Any] | None
_NOTICE_ON = "told_on"
"""The key, in an organization's last error, of the day on which a notice of it was sent."""


def kept_limit(row: Row[Any]) -> KnownLimit:
    """Read the limit as the last poll left it; `limit_in_force` says whether it still holds."""
    account = row.account or {}
    since = account.get("limit_since")
    return KnownLimit(
        events=row.limit,
        source=row.limit_source,
        plan=row.plan,
        status=row.status,
        as_of=row.limit_as_of,
        lower=row.lower_limit,
        lower_since=row.lower_since,
        since=since and datetime.fromisoformat(since),
        paid=account.get("paid"),
    )


def reported_of(row: Row[Any]) -> Reported | None:
    """Read what upstream reported last and since when; None where it never did."""
    stored: Mapping[str, Any] | None = row.account
    if stored is None:
        return None
    sites = [{"id": id_, **site} for id_, site in (row.sites or {}).items()]
    account = {**stored, "enforced_over": stored.get("over"), "sites": sites}
    return msgspec.convert({**stored, "account": account}, Reported)


def limit_columns(known: KnownLimit) -> dict[str, Any]:
    """Return the columns of a limit that upstream decides."""
    return {
        "plan": known.plan,
        "limit": known.events,
        "limit_source": known.source,
        "limit_as_of": known.as_of,
        "status": known.status,
        "lower_limit": known.lower,
        "lower_since": known.lower_since,
    }


def account_columns(row: Row[Any], reported: Reported, limit: KnownLimit) -> dict[str, Any]:
    """Return the columns of an answer of upstream, with the past of the limit.

    Sites are those that it lists now, with what was counted of them before.
    """
    account = reported.account
    columns = {
        "name": account.name or (row.account or {}).get("name"),
        "limit": account.limit,
        "plan": account.plan,
        "status": account.status,
        "counted": account.counted,
        "over": account.enforced_over,
        "as_of": iso(reported.as_of),
        "over_since": iso(reported.over_since),
        "clear_since": iso(reported.clear_since),
        "raised_at": iso(reported.raised_at),
        "limit_since": iso(limit.since),
        "paid": limit.paid,
    }
    before = row.sites or {}
    sites = {
        site.id: {
            **before.get(site.id, {}),
            "name": site.name,
            "requires_plan": site.requires_plan,
        }
        for site in account.sites
    }
    return {"account": columns, **({"sites": sites} if sites else {})}


def mismatch_of(row: Row[Any]) -> Mismatch | None:
    """Read how our count and upstream's own differ."""
    stored: Mapping[str, Any] | None = row.mismatch
    if stored is None:
        return None
    return msgspec.convert({**stored, "comparison": stored["verdict"]}, Mismatch)


def mismatch_json(mismatch: Mismatch | None) -> dict[str, Any] | None:
    """Return a mismatch as `mismatch_of` reads it."""
    if mismatch is None:
        return None
    return {
        "verdict": mismatch.comparison,
        "since": iso(mismatch.since),
        "confirmed": mismatch.confirmed,
        "ours": mismatch.ours,
        "theirs": mismatch.theirs,
    }


def known_sites(stored: StoredSites) -> dict[str, KnownSite]:
    """Read the sites, by id."""
    return {id_: msgspec.convert(site, KnownSite) for id_, site in (stored or {}).items()}


def with_usage(
    stored: StoredSites, usages: Mapping[str, SiteUsage | None], *, now: datetime
) -> dict[str, Any]:
    """Return the sites with the usage `usages` of some; None where upstream refused it."""
    known = known_sites(stored)
    anew = {
        id_: msgspec.to_builtins(reread(known[id_], usage, now=now))
        for id_, usage in usages.items()
        if id_ in known
    }
    return {**(stored or {}), **anew}


def good_poll_columns(
    watch: Watch, usage: Usage, *, now: datetime, next_at: datetime, interval: timedelta
) -> dict[str, Any]:
    """Return the columns of a successful poll."""
    return {
        **_config_columns(watch, now),
        "period_start": usage.period.start,
        "used": usage.used,
        "next_at": next_at,
        "last_poll": now,
        "last_ok": now,
        "failing_since": None,
        "failed_polls": 0,
        "last_error": None,
        "interval_seconds": _whole_seconds(interval),
    }


def _whole_seconds(interval: timedelta) -> int:
    return max(1, round(interval.total_seconds()))


def failed_poll_columns(
    row: Row[Any],
    trouble: Trouble,
    watch: Watch,
    *,
    now: datetime,
    next_at: datetime,
    interval: timedelta,
) -> dict[str, Any]:
    """Return the columns of a failed poll; counts stay as they are: unknown is never zero."""
    before = row.last_error or {}
    return {
        **({"name": watch.name} if watch.auto else _config_columns(watch, now)),
        "next_at": next_at,
        "last_poll": now,
        "failing_since": trouble.since,
        "failed_polls": trouble.polls,
        "interval_seconds": _whole_seconds(interval),
        "last_error": {
            "kind": trouble.kind,
            "message": trouble.message,
            "status": trouble.status,
            **({_NOTICE_ON: before[_NOTICE_ON]} if _NOTICE_ON in before else {}),
        },
    }


def goes_on_failing(row: Row[Any], error: UpstreamError, now: datetime) -> Trouble:
    """Return the unbroken run of failures that a failed poll belongs to."""
    # The run can't have begun later than now: then the clock has gone back since.
    since = min(row.failing_since or now, now)
    return Trouble(
        since=since,
        polls=row.failed_polls + 1,
        kind=error.kind,
        message=error.message,
        status=error.status,
    )


def begin_day_of_notice(connection: Connection, pk: int, day: date) -> bool:
    """Record that a notice of an organization's failure is sent on `day`; False if it was already.

    False too where no failure is recorded: there is then nothing to remember it by.
    """
    query = select(organization.c.last_error).where(organization.c.pk == pk).with_for_update()
    error: dict[str, Any] | None = connection.scalar(query)
    if error is None or error.get(_NOTICE_ON) == day.isoformat():
        return False
    error = error | {_NOTICE_ON: day.isoformat()}
    connection.execute(update(organization).where(organization.c.pk == pk).values(last_error=error))
    return True


def trouble_of(row: Row[Any]) -> Trouble | None:
    """Return the run of failed polls an organization is in, or None."""
    if row.failing_since is None or row.last_error is None:
        return None
    return Trouble(
        since=row.failing_since,
        polls=row.failed_polls,
        kind=ErrorKind(row.last_error["kind"]),
        message=row.last_error["message"],
        status=row.last_error["status"],
    )


def failing_alike(connection: Connection, pks: Collection[int], *, kind: str) -> bool:
    """Check whether the last polls of all these organizations failed with this kind of error."""
    is_other = organization.c.last_error["kind"].as_string().is_distinct_from(kind)
    other = select(organization.c.pk).where(
        among(organization.c.pk, pks), or_(organization.c.failing_since.is_(None), is_other)
    )
    return connection.execute(other.limit(1)).first() is None


def _config_columns(watch: Watch, now: datetime) -> dict[str, Any]:
    return {
        "name": watch.name,
        "plan": watch.plan,
        "limit": watch.limit,
        "limit_source": watch.limit_source,
        "limit_as_of": now if watch.limit is not None else None,
        "drops": watch.drops,
    }
