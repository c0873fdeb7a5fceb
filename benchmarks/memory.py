"""What the daemon holds: 100 organizations with 400 days, after 50 cycles, without and with page.

`memory.py [ORGANIZATIONS [CYCLES]]` prints megabytes, each measured in a process of its own.
"""

import subprocess
import sys
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.polling import configure, polling
from benchmarks.upstream import serving


def resident() -> float:
    """Return the megabytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1_000_000


def measure(url: str, organizations: int, cycles: int, *, page: bool) -> None:
    """Poll so many cycles, as the daemon does, and print what is held then."""
    from apscheduler.schedulers.background import BackgroundScheduler  # noqa: F401, PLC0415

    from quota_watch.cli.run import share_one_heap  # noqa: PLC0415
    from quota_watch.lib.machine import SystemClock  # noqa: PLC0415
    from quota_watch.service.service import Page  # noqa: PLC0415

    share_one_heap()
    with TemporaryDirectory() as name:
        settings = {"organizations": organizations, "history": "400d"}
        running, watched, database = polling(Path(name), url, **settings)
        shown = Page(database=database, clock=SystemClock())
        if page:
            shown.take_up(configure(Path(name), url, **settings))
        for _ in range(cycles):
            running.poll_named(watched)
            if shown.url:
                urllib.request.urlopen(shown.url).read()  # noqa: S310 -- our own
        print(f"{'with' if page else 'without'} page\t{resident():.0f}", flush=True)
        shown.close()
        running.close(5)


def main(organizations: int = 100, cycles: int = 50) -> None:
    """Measure in two processes."""
    with serving() as url:
        for page in ("", "page"):
            arguments = [url, str(organizations), str(cycles), page]
            subprocess.run([sys.executable, "-m", "benchmarks.memory", *arguments], check=True)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("http"):
        measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), page=bool(sys.argv[4]))
    else:
        main(*map(int, sys.argv[1:]))
