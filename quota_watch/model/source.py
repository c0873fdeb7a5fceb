"""What the watch asks of an upstream: its days, or an error of a known kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol, Self

from quota_watch.lib import QuotaWatchError
from quota_watch.model.account import Account, Organization, SiteUsage
from quota_watch.model.period import DayCounts


class ErrorKind(StrEnum):
    """Why an answer was not had (UPSTREAM.md § 3)."""

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
    """An unbroken run of failed polls: when it began, how many, and the last one's error."""

    since: datetime
    polls: int
    kind: ErrorKind
    message: str
    status: int | None = None


class UpstreamError(QuotaWatchError):
    """A poll that brought no answer to be believed.

    `str()` is a sentence to act on and holds no secret. `may_pass` tells whether waiting can
    help; `retry_after` is in seconds; `scope` is the rate limit's (`burst`, `daily`).
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

    def without_trace(self) -> Self:
        """Return it without the frames it came through: kept, it would keep all that they hold."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class NotYet(QuotaWatchError):  # noqa: N818 - reads as what it is: no error
    """Nothing was asked, so as not to go past upstream's rate limit.

    It is neither a failure nor a success, and tells nothing of upstream. `seconds` is how long to
    wait before asking again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the rate limit leaves no request for the next {seconds:.1f} s")
        self.seconds = seconds


class Source(Protocol):
    """An upstream that counts events; all that another provider would need."""

    def days(self, organization: Organization, start: date, end: date) -> Sequence[DayCounts]:
        """Return the counts of every day from `start` to `end`, both included.

        The day that is today upstream may be missing, no other. Raises `UpstreamError`, or
        `NotYet` where nothing was asked.
        """

    def account(self, organization: Organization, *, spare: bool = False) -> Account:
        """Return what upstream says of the organization's plan and limit; raises as `days` does.

        With `spare` it is asked only where nothing else needs the request.
        """

    def site_usage(self, organization: Organization, site: str) -> SiteUsage:
        """Return what one of the organization's sites has had so far; raises as `days` does.

        It is asked only where nothing else needs the request.
        """
