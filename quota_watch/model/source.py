"""An upstream as the watch sees it: what it can be asked for, and how that fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol, Self

from quota_watch.lib import QuotaWatchError
from quota_watch.model.account import Account, Organization, SiteUsage
from quota_watch.model.period import DayCounts


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
