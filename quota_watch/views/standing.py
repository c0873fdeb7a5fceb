"""How an organization stands beside its counts: its pace, what Rybbit says, what is silenced."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from quota_watch.lib.plain import iso
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.watch import Watch
from quota_watch.storage.sites import known_sites

Json = dict[str, Any]

_TRUSTED_INTERVALS, _LEAST_TRUSTED = 2, timedelta(minutes=1)


def of(
    watch: Watch,
    row: Row[Any] | None,
    silenced: Iterable[Mapping[str, Any]],
    interval: timedelta | None,
    now: datetime,
) -> Json:
    """Return that part of `status`; `silenced` are all silences in force."""
    account: Mapping[str, Any] = {} if row is None else row.account or {}
    return {
        "stale": row is not None and _is_stale(row, interval, now),
        "enforced": account.get("over") is True,
        "interval": _interval(row, interval),
        "sites": [] if row is None else _sites(row),
        "limit_pending": None if row is None else _limit_pending(watch, row),
        "limit_differs": None if row is None else _limit_differs(watch, row),
        "mismatch": None if row is None else row.mismatch,
        "silences": [
            dict(each) for each in silenced if each["organization"] in {None, watch.organization.id}
        ],
    }


def _sites(row: Row[Any]) -> list[Json]:
    """Return the sites as Rybbit lists them."""
    return [
        {"id": id_, "domain": site.name, "requires_plan": site.requires_plan}
        for id_, site in known_sites(row.sites).items()
    ]


def _limit_pending(watch: Watch, row: Row[Any]) -> Json | None:
    """Return the lower limit that Rybbit says and that awaits its second read."""
    if not watch.auto or row.lower_since is None:
        return None
    account: Mapping[str, Any] = row.account or {}
    return {
        "limit": row.lower_limit,
        "plan": account.get("plan"),
        "status": account.get("status"),
        "since": iso(row.lower_since),
        "confirmed_at": iso(row.lower_since + ENFORCED_EVERY),
    }


def _is_stale(row: Row[Any], configured: timedelta | None, now: datetime) -> bool:
    """Whether its numbers are older than two intervals: nobody knows then how it stands."""
    current = timedelta(seconds=row.interval_seconds or 0)
    every = max(configured or timedelta(), current)
    trusted = max(_TRUSTED_INTERVALS * every, _LEAST_TRUSTED)
    return bool(every and row.last_ok and now - row.last_ok > trusted)


def _interval(row: Row[Any] | None, configured: timedelta | None) -> Json | None:
    """Return seconds between polls: as configured, and as they are where a budget is too small."""
    wanted = None if configured is None else round(configured.total_seconds())
    current = row.interval_seconds if row is not None else None
    if wanted is None and current is None:
        return None
    stretched = None if wanted is None or current is None else current > wanted
    return {"configured": wanted, "current": current, "stretched": stretched}


def _limit_differs(watch: Watch, row: Row[Any]) -> Json | None:
    """Return the config's limit and Rybbit's where it is the config that decides."""
    said: Mapping[str, Any] = row.account or {}
    upstream = said.get("limit")
    if watch.auto or watch.limit is None or upstream is None or upstream == watch.limit:
        return None
    return {
        "config": watch.limit,
        "upstream": upstream,
        "plan": said.get("plan"),
        "as_of": said.get("as_of"),
    }
