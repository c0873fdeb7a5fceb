"""What an attempt fails with, and the words for why."""

import re
import ssl

from quota_watch.lib.errors import QuotaWatchError
from quota_watch.lib.text import one_line

_ERRNO = re.compile(r"\[Errno -?\d+\] ")


class DeliveryError(QuotaWatchError):
    """An attempt that the receiver did not accept.

    `message` is a sentence without secrets. `permanent`: trying again is of no use. `status` is
    the receiver's code (HTTP or SMTP). `retry_after`: seconds it asked to wait. `start_late`:
    the receiver answered as if it were being rebuilt, so the quick first retries are left out.
    `by_us`: quota-watch itself failed, before or after the receiver was asked.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
        start_late: bool = False,
        by_us: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.permanent = permanent
        self.status = status
        self.retry_after = retry_after
        self.start_late = start_late
        self.by_us = by_us


def too_late(place: str, seconds: float) -> str:
    """Say that no answer came in time."""
    return f"{place} did not answer within {seconds:g} seconds"


def no_connection(place: str, error: BaseException) -> str:
    """Say why a connection to `place` failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {place} is refused: {one_line(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {place}: {one_line(error.reason or 'the connection ended')}"
    # The system's own words, without its number for them.
    return f"no connection to {place}: {one_line(_ERRNO.sub('', str(error)))}"
