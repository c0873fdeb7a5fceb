"""What upstream said of an organization's plan and limit, as it stands in its row."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from quota_watch.lib.plain import iso
from quota_watch.model.account import Account, Comparison, Mismatch, Reported, Site
from quota_watch.model.limit import KnownLimit
from quota_watch.storage.sites import known_sites, moment_of, renamed

_SINCE = ("over_since", "clear_since", "raised_at")


def kept_limit(row: Row[Any]) -> KnownLimit:
    """Read the limit as the last poll left it; `limit_in_force` says whether it still holds."""
    return KnownLimit(
        events=row.limit,
        source=row.limit_source,
        plan=row.plan,
        status=row.status,
        as_of=row.limit_as_of,
        lower=row.lower_limit,
        lower_since=row.lower_since,
        since=moment_of((row.account or {}).get("limit_since")),
        paid=(row.account or {}).get("paid"),
    )


def reported_of(row: Row[Any]) -> Reported | None:
    """Read what upstream said last and since when; None: it was never heard."""
    kept: Mapping[str, Any] | None = row.account
    if kept is None:
        return None
    account = Account(
        limit=kept.get("limit"),
        plan=kept.get("plan"),
        status=kept.get("status"),
        counted=kept.get("counted"),
        enforced_over=kept.get("over"),
        name=kept.get("name"),
        sites=tuple(
            Site(id_, site.name, site.requires_plan) for id_, site in known_sites(row.sites).items()
        ),
    )
    moments = {name: moment_of(kept.get(name)) for name in _SINCE}
    return Reported(account=account, as_of=datetime.fromisoformat(kept["as_of"]), **moments)


def kept_account(row: Row[Any]) -> Account | None:
    """Read what upstream said last, whether it is believed or not."""
    reported = reported_of(row)
    return None if reported is None else reported.account


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


def account_columns(row: Row[Any], reported: Reported, limit: KnownLimit) -> dict[str, Any]:
    """Return how an answer is kept, for showing and comparing, with the past of the limit."""
    account = reported.account
    said = {
        "name": account.name or (row.account or {}).get("name"),
        "limit": account.limit,
        "plan": account.plan,
        "status": account.status,
        "counted": account.counted,
        "over": account.enforced_over,
        "as_of": iso(reported.as_of),
        **{name: iso(getattr(reported, name)) for name in _SINCE},
        "limit_since": iso(limit.since),
        "paid": limit.paid,
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
