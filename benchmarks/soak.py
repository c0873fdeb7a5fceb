"""A month of polling with faults, or as much of it as fits: does anything grow?

`soak.py [ORGANIZATIONS [SECONDS]]` moves the clock a quarter of an hour per cycle for 30 days or so
many seconds. One request in fifty fails, in every way. Prints by how much memory (MB), threads,
open files and the database (bytes per organization and day) grew in the second half; exits with 1
where that is more than a few.
"""

import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.memory import resident
from benchmarks.polling import polling
from benchmarks.upstream import serving

CYCLE, MONTH = timedelta(minutes=15), timedelta(days=30)
ALLOWED = {"megabytes": 8.0, "threads": 2.0, "files": 4.0, "bytes": 20_000.0}


class Moving:
    """A clock that a cycle moves; it runs on in between as clocks do."""

    def __init__(self) -> None:
        self._ahead = datetime(2026, 3, 2, tzinfo=UTC) - datetime.now(UTC)

    def now(self) -> datetime:
        """Return the moment that is played."""
        return datetime.now(UTC) + self._ahead

    def monotonic(self) -> float:
        """Return seconds that go with it."""
        return self.now().timestamp()

    def advance(self) -> None:
        """Go on to the next cycle."""
        self._ahead += CYCLE


def state(folder: Path) -> dict[str, float]:
    """Measure what must not grow."""
    return {
        "megabytes": resident(),
        "threads": float(threading.active_count()),
        "files": float(len(list(Path("/proc/self/fd").iterdir()))),
        "bytes": float((folder / "quota-watch.db").stat().st_size),
    }


def play(
    cycle: Callable[[], object], folder: Path, clock: Moving, *, organizations: int, seconds: float
) -> bool:
    """Run cycles to the end of the month or of the time; print what grew, return whether too much.

    The first half fills caches, pools and the pages of the database.
    """
    ends, month_ends = time.monotonic() + seconds, clock.now() + MONTH
    half, half_at = state(folder), clock.now()
    in_second_half = False
    while clock.now() < month_ends and time.monotonic() < ends:
        cycle()
        clock.advance()
        left = min((month_ends - clock.now()) / MONTH, (ends - time.monotonic()) / seconds)
        if not in_second_half and left < 0.5:  # noqa: PLR2004 -- half of it
            half, half_at, in_second_half = state(folder), clock.now(), True
    grown = {name: value - half[name] for name, value in state(folder).items()}
    grown["bytes"] /= organizations * max((clock.now() - half_at) / timedelta(days=1), 0.01)
    for name, much in grown.items():
        print(f"{name}\t{much:+.0f}")
    return any(much > ALLOWED[name] for name, much in grown.items())


def main(organizations: int = 1000, seconds: float = 7200) -> int:
    """Play, and tell whether anything grew too much."""
    clock = Moving()
    with TemporaryDirectory() as name, serving(faults=20) as url:
        folder = Path(name)
        running, _, _ = polling(folder, url, organizations=organizations, clock=clock)

        def cycle() -> None:
            running.poll_due()
            running.thin_out()

        grew = play(cycle, folder, clock, organizations=organizations, seconds=seconds)
        running.close(5)
    return int(grew)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
