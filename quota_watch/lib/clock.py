"""The clock that decides; waits of sockets and threads read `time.monotonic` themselves."""

import time
from datetime import UTC, datetime
from typing import Protocol


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
