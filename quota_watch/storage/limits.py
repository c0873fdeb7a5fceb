"""What upstream said of an organization's plan and limit, as it stands in its row."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from quota_watch.lib.plain import iso
from quota_watch.model.account import Account, Comparison, Mismatch
from quota_watch.model.limit import KnownLimit, LimitSource
from quota_watch.model.watch import Watch
from quota_watch.storage.sites import renamed


def known_limit(row: Row[Any], watch: Watch) -> KnownLimit:
    """Return the limit believed so far: upstream's where it said one, else the config's."""
    known = KnownLimit(
        events=watch.limit,
        source=_source(watch.limit_source),
        plan=watch.plan,
        lower=row.lower_limit,
        lower_since=row.lower_since,
    )
    if not watch.auto:
        return known
    if row.limit_source == "upstream":
        known = replace(known, events=row.limit, source="upstream", plan=row.plan)
    return replace(known, status=row.status, as_of=_as_of(row))


def agreed(
    watch: Watch, known: KnownLimit, reported: int | None, *, name: str | None = None
) -> Watch:
    """Return the watch with the limit that is believed.

    `reported` is the limit upstream said last: where it has one, it drops what is past it. `name`
    is upstream's own, which counts where the config has none.
    """
    if name and watch.name == watch.organization.id:
        watch = replace(watch, name=name)
    drops = watch.drops if watch.drops_agreed else watch.drops or reported is not None
    return replace(
        watch, limit=known.events, plan=known.plan, limit_source=known.source, drops=drops
    )


def reported_limit(row: Row[Any]) -> int | None:
    """Return the limit that upstream said last, whether it is believed or not."""
    limit: int | None = (row.account or {}).get("limit")
    return limit


def reported_name(row: Row[Any]) -> str | None:
    """Return the name that upstream has for the organization."""
    name: str | None = (row.account or {}).get("name")
    return name


def limit_columns(known: KnownLimit) -> dict[str, Any]:
    """Return how a limit that upstream decides is kept."""
    return {
        "plan": known.plan,
        "limit": known.events,
        "limit_source": known.source,
        "limit_as_of": known.as_of,
        "status": known.status,
        "lower_limit": known.lower,
        "lower_since": known.lower_since,
    }


def account_columns(row: Row[Any], account: Account, *, now: datetime) -> dict[str, Any]:
    """Return how an answer is kept, for showing and for comparing."""
    said = {
        "name": account.name,
        "limit": account.limit,
        "plan": account.plan,
        "status": account.status,
        "counted": account.counted,
        "over": account.enforced_over,
        "as_of": iso(now),
    }
    sites = {"sites": renamed(row.sites, account.sites)} if account.sites else {}
    return {"account": said, **sites}


def mismatch_of(row: Row[Any]) -> Mismatch | None:
    """Return what is held of our count and upstream's own."""
    kept: Mapping[str, Any] | None = row.mismatch
    if kept is None:
        return None
    return Mismatch(
        verdict=Comparison(kept["verdict"]),
        since=datetime.fromisoformat(kept["since"]),
        confirmed=kept["confirmed"],
        ours=kept["ours"],
        theirs=kept["theirs"],
    )


def mismatch_json(mismatch: Mismatch | None) -> dict[str, Any] | None:
    """Return how that is kept."""
    if mismatch is None:
        return None
    return {
        "verdict": mismatch.verdict,
        "since": iso(mismatch.since),
        "confirmed": mismatch.confirmed,
        "ours": mismatch.ours,
        "theirs": mismatch.theirs,
    }


def _as_of(row: Row[Any]) -> datetime | None:
    # Of a limit that is the config's, the time tells when it was last in use; that upstream has
    # none is its word too.
    said = row.limit_source in {"upstream", "none"}
    as_of: datetime | None = row.limit_as_of if said else None
    return as_of


def _source(name: str) -> LimitSource:
    sources: dict[str, LimitSource] = {
        "config": "config",
        "plan": "plan",
        "upstream": "upstream",
    }
    return sources.get(name, "none")
