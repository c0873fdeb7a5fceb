"""CPU of a steady cycle per organization, with 10,000 of them over that with 1,000.

`size.py [ORGANIZATIONS [TIMES]]` polls so many, and so many times as many, in turn in one process.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.polling import polling
from benchmarks.upstream import serving


def main(organizations: int = 1000, times: int = 10) -> None:
    """Print the ratio."""
    with TemporaryDirectory() as folder, serving() as url:
        setups = {}
        for many in (organizations, times * organizations):
            own = Path(folder, str(many))
            own.mkdir()
            running, watched, _ = polling(own, url, organizations=many)
            running.poll_named(watched)
            running.poll_named(watched)  # yesterday's forecasts are kept by now
            setups[many] = running, watched
        seconds = dict.fromkeys(setups, 0.0)
        for _ in range(2):
            for many, (running, watched) in setups.items():
                began = time.process_time()
                for _ in range(times * organizations // many):
                    running.poll_named(watched)
                seconds[many] += time.process_time() - began
        for running, _ in setups.values():
            running.close(5)
    small, large = seconds.values()
    print(f"{large / small:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
