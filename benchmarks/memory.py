"""What the daemon holds: 100 organizations with 400 days, after 50 cycles.

`memory.py [plain|page [ORGANIZATIONS [CYCLES]]]` prints megabytes without or with the status page,
with `-v` both, each measured in a process of its own.
"""

import subprocess
import sys
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.polling import arguments, configure, polling
from benchmarks.upstream import serving


def resident() -> float:
    """Return the megabytes that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1_000_000


def measure(url: str, organizations: int, cycles: int, *, page: bool) -> None:
    """Poll so many cycles, as the daemon does, and print what is held then."""
    from apscheduler.schedulers.background import BackgroundScheduler  # noqa: F401, PLC0415

    from quota_watch.cli.run import share_one_heap  # noqa: PLC0415
    from quota_watch.lib.machine import Clock  # noqa: PLC0415
    from quota_watch.service.service import Page  # noqa: PLC0415

    share_one_heap()
    with TemporaryDirectory() as name:
        settings = {"organizations": organizations, "history": "400d"}
        running, watched, database = polling(Path(name), url, **settings)
        shown = Page(database=database, clock=Clock())
        if page:
            shown.take_up(configure(Path(name), url, **settings))
        for _ in range(cycles):
            running.poll_named(watched)
            if shown.url:
                urllib.request.urlopen(shown.url).read()  # noqa: S310 -- our own
        print(f"{resident():.0f}", flush=True)
        shown.close()
        running.close(5)


def main(row: str = "plain", organizations: int = 100, cycles: int = 50) -> None:
    """Measure in processes of their own."""
    rows = ("plain", "page") if "-v" in sys.argv else (row,)
    with serving() as url:
        for each in rows:
            if len(rows) > 1:
                print(each, end="\t", flush=True)
            command = [sys.executable, "-m", "benchmarks.memory", url, each]
            subprocess.run([*command, str(organizations), str(cycles)], check=True)


if __name__ == "__main__":
    words, numbers = arguments()
    if words[0:1] and words[0].startswith("http"):
        measure(words[0], *numbers, page=words[1] == "page")
    else:
        main(*(words or ["plain"]), *numbers)
