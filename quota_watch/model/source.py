"""An upstream: who is watched there, what it reports, how a request fails, what it can be asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, Self

from quota_watch.lib import QuotaWatchError
from quota_watch.model.period import ONE_DAY, DayCounts, Period, month_of, previous


@dataclass(frozen=True, slots=True, order=True)
class Organization:
    """Who is watched: a server's base URL and the organization's id there."""

    server: str
    id: str


_LEAST_DAYS = 1.0  # as upstream, which projects nothing on the first day (UPSTREAM.md § 9)
_ENOUGH_DAYS = 7.0  # a whole week, for weekdays differ

_SEE_EVERY_SITE = frozenset({"owner", "admin"})
"""Roles that no site is hidden from; an organization's own key acts as admin."""


@dataclass(frozen=True, slots=True)
class Site:
    """A site of an organization that the key can see.

    `requires_plan`: it collects nothing without a plan; None: upstream did not say.
    """

    id: str
    name: str
    requires_plan: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What upstream says of an organization's plan.

    `limit` None: the server has none (self-hosted); 0: it does not know its own plan and drops
    everything. `counted` is upstream's own count of this period, written by its half-hourly job;
    `enforced_over` says whether that job drops events. `role` is the key holder's. Whatever
    upstream did not say is None.
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
        """Whether no site is hidden from the key's role (UPSTREAM.md § 2)."""
        return self.role in _SEE_EVERY_SITE

    @property
    def may_be_restricted(self) -> bool:
        """Whether the key's role may see only some sites."""
        return self.role is not None and not self.sees_every_site


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What upstream last reported of an organization's plan, and since when.

    `over_since`: the first of the unbroken run of reads that report dropped events; `clear_since`:
    the first read after those that reports none. `raised_at`: the first read of a higher limit or
    a better plan.
    """

    account: Account
    as_of: datetime
    over_since: datetime | None = None
    clear_since: datetime | None = None
    raised_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteUsage:
    """What upstream has counted of a site since the period's first day.

    `limit` is its organization's, and `of_all` the count of all the organization's sites, where
    the answer includes them.
    """

    since: date
    counted: int
    limit: int | None = None
    of_all: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSite:
    """A site and what is known of its counts.

    `used` is its count of the period that `as_of` lies in, `before` that of the whole period
    before, as far as it was read. `asked` is when a read failed, if the last one did.
    """

    name: str
    used: int | None = None
    before: int | None = None
    as_of: datetime | None = None
    asked: datetime | None = None
    requires_plan: bool | None = None

    @property
    def read_at(self) -> datetime | None:
        """When it was last read, with or without success."""
        return max((at for at in (self.as_of, self.asked) if at is not None), default=None)

    def used_in(self, period: Period) -> tuple[int, float] | None:
        """Pick its count of `period`, and how many days that covers."""
        if self.used is None or self.as_of is None or self.as_of.date() not in period:
            return None
        return self.used, (self.as_of - period.starts_at) / ONE_DAY

    def whole(self, period: Period) -> int | None:
        """Project its count of `period` to the whole of that, once a week is counted."""
        used, days = self.used_in(period) or (0, 0.0)
        return round(used * period.days / days) if days >= _ENOUGH_DAYS else None


class Comparison(StrEnum):
    """The outcome of comparing our count with upstream's own."""

    AGREES = "agrees"
    RESTRICTED = "restricted"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Our count and upstream's, which differ; `confirmed` by a second daily read.

    `ours` and `theirs` are the counts that were compared last.
    """

    comparison: Comparison
    since: datetime
    confirmed: bool = False
    ours: int | None = None
    theirs: int | None = None


AT_RISK_EVERY, CALM_EVERY = ONE_DAY, timedelta(weeks=1)
"""How old a site's count may get: while the limit is in danger, and else."""

MOST_A_DAY = 25
"""So many sites of an organization are read in a UTC day, the longest unread first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCount:
    """A site's count of some days, and of as many in the period before where that is known."""

    name: str
    counted: int
    before: int | None = None


def due_sites(known: Mapping[str, KnownSite], *, every: timedelta, now: datetime) -> list[str]:
    """List the sites to read, the longest unread first."""
    reads = {id_: site.read_at for id_, site in known.items()}
    today = sum(at is not None and at.date() == now.date() for at in reads.values())
    due = [id_ for id_, at in reads.items() if at is None or at > now or now - at >= every]
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(due, key=lambda id_: reads[id_] or never)[: max(MOST_A_DAY - today, 0)]


def reread(site: KnownSite, usage: SiteUsage | None, *, now: datetime) -> KnownSite:
    """Update a site with a new count; None: the read failed.

    The last count of a period that has ended is carried on to its end.
    """
    period = month_of(now.date())
    if usage is None or usage.since != period.start:
        return replace(site, asked=now)
    before = site.before if site.used_in(period) else site.whole(previous(period))
    return replace(site, used=usage.counted, before=before, as_of=now, asked=None)


def comparable(known: Mapping[str, KnownSite], *, now: datetime) -> dict[str, SiteCount]:
    """Bring the sites' counts of this period to `now`, beside as many days of the last, by id.

    Counts of some days ago are carried on; in the first week of a period nothing is compared.
    Sites that were not read since the period's second day are left out.
    """
    period = month_of(now.date())
    passed, whole = (now - period.starts_at) / ONE_DAY, previous(period).days
    counts = {}
    for id_, site in known.items():
        used, days = site.used_in(period) or (0, 0.0)
        if days < _LEAST_DAYS:
            continue
        before = None
        if site.before is not None and days >= _ENOUGH_DAYS:
            before = round(site.before * passed / whole)
        counted = round(used * max(passed / days, 1.0))
        counts[id_] = SiteCount(name=site.name, counted=counted, before=before)
    return counts


def closed_counts(known: Mapping[str, KnownSite], period: Period) -> dict[str, SiteCount]:
    """Estimate the sites' counts of a period that is over, and of the one before, by id.

    For a site that was read since, its count was carried on to the period's end.
    """
    counts = {}
    for id_, site in known.items():
        counted, before = site.whole(period), site.before
        if site.used_in(month_of(period.end)):
            counted, before = site.before, None
        if counted is not None:
            counts[id_] = SiteCount(name=site.name, counted=counted, before=before)
    return counts


class ErrorKind(StrEnum):
    """Why a request failed (UPSTREAM.md § 3)."""

    FORBIDDEN = "forbidden"
    NO_ACCESS = "no_access"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    BAD_ANSWER = "bad_answer"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An unbroken run of failed polls: its beginning, its length, and the last error."""

    since: datetime
    polls: int
    kind: ErrorKind
    message: str
    status: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Write why the last poll failed, as an `UpstreamError` is written."""
        return {"kind": self.kind.value, "message": self.message, "status": self.status}


class UpstreamError(QuotaWatchError):
    """A request that brought no usable answer.

    `str()` is a sentence to act on, without any secret. `may_pass`: waiting can help. `retry_after`
    is in seconds; `scope` is that of the rate limit (`burst`, `daily`).
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        may_pass: bool,
        status: int | None = None,
        retry_after: float | None = None,
        scope: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.may_pass = may_pass
        self.status = status
        self.retry_after = retry_after
        self.scope = scope

    def to_json(self) -> dict[str, Any]:
        """Write why a request failed, as it appears in all JSON."""
        return {"kind": self.kind.value, "message": self.message, "status": self.status}

    def without_trace(self) -> Self:
        """Drop its frames: an error that is stored would keep everything they hold in memory."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class NotYet(QuotaWatchError):  # noqa: N818 - it is no error
    """Nothing was requested, so as to stay within upstream's rate limit.

    That is neither a failure nor a success. `seconds` is how long to wait before the next attempt.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the rate limit leaves no request for the next {seconds:.1f} s")
        self.seconds = seconds


class Source(Protocol):
    """An upstream that counts events: all that another provider has to implement."""

    def days(self, organization: Organization, start: date, end: date) -> Sequence[DayCounts]:
        """Fetch the counts of every day from `start` to `end`, both included.

        Only the day that is today upstream may be missing. Raises `UpstreamError`, or `NotYet`
        where nothing was requested.
        """

    def account(self, organization: Organization, *, spare: bool = False) -> Account:
        """Fetch the organization's plan and limit; raises as `days` does.

        With `spare`, only where no other job needs the request.
        """

    def site_usage(self, organization: Organization, site: str) -> SiteUsage:
        """Fetch the count of one site so far, where no other job needs the request.

        Raises as `days` does.
        """
