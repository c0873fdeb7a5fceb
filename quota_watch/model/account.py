"""An organization, and what an upstream says of it: its plan, its own count, its sites."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


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
