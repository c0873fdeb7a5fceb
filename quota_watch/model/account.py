"""What an upstream says of an organization: its plan, its own count, its sites."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Site:
    """A site of an organization, as far as the key sees them."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What upstream says of an organization's plan.

    `limit` None: the server has none (self-hosted). `counted` is upstream's own count of this
    period, at most half an hour old; `enforced_over` whether it drops events since it counted
    that. Whatever upstream did not say is None.
    """

    limit: int | None
    plan: str | None = None
    status: str | None = None
    counted: int | None = None
    enforced_over: bool | None = None
    name: str | None = None
    sites: tuple[Site, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteUsage:
    """What upstream has counted of a site since the period's first day."""

    since: date
    counted: int


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
