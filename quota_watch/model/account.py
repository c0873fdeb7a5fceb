"""An organization, and what an upstream says of it: plan, own count, sites, when to ask those."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from quota_watch.model.period import ONE_DAY, Period, month_of, previous


@dataclass(frozen=True, slots=True, order=True)
class Organization:
    """Who is watched: a server's base URL and the organization's id there."""

    server: str
    id: str


_SEE_EVERY_SITE = frozenset({"owner", "admin"})
"""An organization's own key acts as admin."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site of an organization, as far as the key sees them.

    `requires_plan` tells that it collects nothing without a plan; None: upstream did not say.
    """

    id: str
    name: str
    requires_plan: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What upstream says of an organization's plan.

    `limit` None: the server has none (self-hosted); 0: it does not know its own plan and drops
    everything. `counted` is upstream's own count of this period, as its half-hourly job left it;
    `enforced_over` whether that job drops events. `role` is that of the key's holder there.
    Whatever upstream did not say is None.
    """

    limit: int | None
    plan: str | None = None
    status: str | None = None
    counted: int | None = None
    enforced_over: bool | None = None
    name: str | None = None
    role: str | None = None
    sites: tuple[Site, ...] = ()

    @property
    def sees_every_site(self) -> bool:
        """Whether the key's role is one that no site is hidden from (UPSTREAM.md § 2)."""
        return self.role in _SEE_EVERY_SITE

    @property
    def may_be_restricted(self) -> bool:
        """Whether the key's role is one that may see only some sites."""
        return self.role is not None and not self.sees_every_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What upstream last said of an organization's plan, and since when it has said so.

    `over_since` is when it was first read, without a break, that events are dropped; `clear_since`
    when it was first read after that that none are. `raised_at` is when a higher limit or a better
    plan was first read.
    """

    account: Account
    as_of: datetime
    over_since: datetime | None = None
    clear_since: datetime | None = None
    raised_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteUsage:
    """What upstream has counted of a site since the period's first day.

    `limit` is that of its organization and `of_all` what that has had on all its sites by now,
    as far as upstream says it beside.
    """

    since: date
    counted: int
    limit: int | None = None
    of_all: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSite:
    """A site and what is known of it.

    `used` is what it had since its period's start `as_of` some moment, `before` what it had in
    the whole period before that, as far as it was seen. `asked` is set where it could not be had.
    """

    name: str
    used: int | None = None
    before: int | None = None
    as_of: datetime | None = None
    asked: datetime | None = None
    requires_plan: bool | None = None

    @property
    def looked_at(self) -> datetime | None:
        """When it was last asked for, with or without success."""
        return max((at for at in (self.as_of, self.asked) if at is not None), default=None)


class Comparison(StrEnum):
    """What comparing our count with upstream's own came to."""

    AGREES = "agrees"
    RESTRICTED = "restricted"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Two counts that differ since `since`; `confirmed` once a second daily read said so too.

    `ours` and `theirs` are what was last compared.
    """

    verdict: Comparison
    since: datetime
    confirmed: bool = False
    ours: int | None = None
    theirs: int | None = None


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
