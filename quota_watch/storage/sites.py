"""The sites of an organization as they stand in its row."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from quota_watch.forecast.remedies import seen_anew
from quota_watch.lib.plain import iso
from quota_watch.model.account import KnownSite, Site, SiteUsage

Kept = Mapping[str, Any] | None


def known_sites(kept: Kept) -> dict[str, KnownSite]:
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


def renamed(kept: Kept, sites: Iterable[Site]) -> dict[str, Any]:
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
    kept: Kept, found: Mapping[str, SiteUsage | None], *, now: datetime
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
