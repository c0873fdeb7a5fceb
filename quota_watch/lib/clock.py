"""The clock that decides; waits of sockets and threads read `time.monotonic` themselves."""

import re
import time
from datetime import UTC, datetime
from typing import Protocol

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LONGEST_SECONDS = 999_999_999.0


class Clock(Protocol):
    """Tells what time it is and how much has gone by."""

    def now(self) -> datetime:
        """Return the wall clock in UTC, to the millisecond. It may jump either way."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow, for waiting and deadlines."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the machine's time, cut to the millisecond: what both databases keep."""
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Return the machine's monotonic clock."""
        return time.monotonic()


def http_date(text: str) -> datetime | None:
    """Return the moment that a header's date names, or None where it is none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  with sockets, random and more

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def seconds_until(retry_after: str, now: datetime) -> float | None:
    """Read a `Retry-After`: seconds, perhaps a fraction too, or a date; None if neither."""
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_SECONDS)
    at = http_date(text)
    return None if at is None else max((at - now).total_seconds(), 0.0)
