"""Sites: of which to ask what they have, and what of the answers can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from quota_watch.model.account import KnownSite, SiteUsage
from quota_watch.model.period import ONE_DAY, Period, month_of, previous

AT_RISK_EVERY, CALM_EVERY = ONE_DAY, timedelta(weeks=1)
"""How old a site's count may get: while the limit is in danger, and else."""

MOST_A_DAY = 25
"""So many sites of an organization are asked about in a UTC day, the longest unknown first."""

_LEAST_DAYS = 1.0  # as upstream, which projects nothing on the first day (UPSTREAM.md § 9)
_ENOUGH_DAYS = 7.0  # a whole week, for weekdays differ


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCount:
    """What a site had in a span, and in the one before where that is known."""

    name: str
    counted: int
    before: int | None = None


def due_sites(known: Mapping[str, KnownSite], *, every: timedelta, now: datetime) -> list[str]:
    """Return the sites to ask about, the longest unknown first."""
    looks = {id_: site.looked_at for id_, site in known.items()}
    today = sum(at is not None and at.date() == now.date() for at in looks.values())
    due = [id_ for id_, at in looks.items() if at is None or at > now or now - at >= every]
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(due, key=lambda id_: looks[id_] or never)[: max(MOST_A_DAY - today, 0)]


def seen_anew(site: KnownSite, usage: SiteUsage | None, *, now: datetime) -> KnownSite:
    """Return what is known once a site was asked for: its count, or None where it was not had.

    Of a period that is over, the last count is carried on to its end.
    """
    period = month_of(now.date())
    if usage is None or usage.since != period.start:
        return replace(site, asked=now)
    before = site.before
    if site.as_of is None or site.as_of.date() not in period:
        before = _whole(site, previous(period))
    return replace(site, used=usage.counted, before=before, as_of=now, asked=None)


def comparable(known: Mapping[str, KnownSite], *, now: datetime) -> dict[str, SiteCount]:
    """Return what sites have had of this period by now, and by as much of the last one, by id.

    Counts of some days ago are carried on; where the period is younger than a week nothing is
    compared. Sites not asked for since the period's second day are left out.
    """
    period = month_of(now.date())
    gone, whole = _days(period, now), previous(period).days
    found = {}
    for id_, site in known.items():
        if site.used is None or site.as_of is None or site.as_of.date() not in period:
            continue
        then = _days(period, site.as_of)
        if then < _LEAST_DAYS:
            continue
        before = None
        if site.before is not None and then >= _ENOUGH_DAYS:
            before = round(site.before * gone / whole)
        counted = round(site.used * max(gone / then, 1.0))
        found[id_] = SiteCount(name=site.name, counted=counted, before=before)
    return found


def closed_counts(known: Mapping[str, KnownSite], period: Period) -> dict[str, SiteCount]:
    """Return what sites came to in a period that is over, and in the one before, by their ids.

    A site that was asked for since is known by what was carried on to the period's end.
    """
    after = month_of(period.end)
    found = {}
    for id_, site in known.items():
        seen = None if site.as_of is None else site.as_of.date()
        if seen is not None and seen in period:
            counted, before = _whole(site, period), site.before
        else:
            counted, before = site.before if seen is not None and seen in after else None, None
        if counted is not None:
            found[id_] = SiteCount(name=site.name, counted=counted, before=before)
    return found


def _whole(site: KnownSite, period: Period) -> int | None:
    """Return what the site came to in `period`, from a count after its first week."""
    if site.used is None or site.as_of is None or site.as_of.date() not in period:
        return None
    then = _days(period, site.as_of)
    return round(site.used * period.days / then) if then >= _ENOUGH_DAYS else None


def _days(period: Period, at: datetime) -> float:
    return (at - datetime.combine(period.start, time.min, UTC)) / ONE_DAY
