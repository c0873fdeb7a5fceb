"""What upstream said of an organization's plan, limit and sites, as it stands in its row."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from quota_watch.lib.text import iso
from quota_watch.model.account import (
    Account,
    Comparison,
    KnownSite,
    Mismatch,
    Reported,
    Site,
    SiteUsage,
    seen_anew,
)
from quota_watch.model.limit import KnownLimit

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
            Site(id_, site["name"], site.get("requires_plan"))
            for id_, site in (row.sites or {}).items()
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


KeptSites = Mapping[str, Any] | None


def known_sites(kept: KeptSites) -> dict[str, KnownSite]:
    """Return the sites by id, as they were kept."""
    return {
        id_: KnownSite(
            name=site["name"],
            used=site.get("used"),
            before=site.get("before"),
            as_of=moment_of(site.get("as_of")),
            asked=moment_of(site.get("asked")),
            requires_plan=site.get("requires_plan"),
        )
        for id_, site in (kept or {}).items()
    }


def renamed(kept: KeptSites, sites: Iterable[Site]) -> dict[str, Any]:
    """Return how the sites upstream lists are kept: what was counted of them stays."""
    before = kept or {}
    return {
        site.id: {
            **before.get(site.id, {}),
            "name": site.name,
            "requires_plan": site.requires_plan,
        }
        for site in sites
    }


def with_usage(
    kept: KeptSites, found: Mapping[str, SiteUsage | None], *, now: datetime
) -> dict[str, Any]:
    """Return how the sites are kept once some were asked for; None is what was not to be had."""
    known = known_sites(kept)
    anew = {
        id_: _json(seen_anew(known[id_], usage, now=now))
        for id_, usage in found.items()
        if id_ in known
    }
    return {**(kept or {}), **anew}


def _json(site: KnownSite) -> dict[str, Any]:
    kept = {"name": site.name, "used": site.used, "before": site.before, "as_of": iso(site.as_of)}
    kept |= {"requires_plan": site.requires_plan}
    return kept | ({"asked": iso(site.asked)} if site.asked is not None else {})


def moment_of(text: str | None) -> datetime | None:
    """Return a moment as it stands in JSON."""
    return None if text is None else datetime.fromisoformat(text)
