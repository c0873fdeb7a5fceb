"""A steady cycle against a slow upstream: its time over the least that it could take.

That is organizations x latency / threads. `latency.py [time|statements [ORGANIZATIONS [THREADS]]]`
prints that ratio, or the SQL statements per organization; with `-v` both.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cycle import statements
from benchmarks.polling import arguments, polling, show
from benchmarks.upstream import serving

LATENCY = 0.05


def main(row: str = "time", organizations: int = 1000, threads: int = 8) -> None:
    """Print the figures of one cycle."""
    with TemporaryDirectory() as folder, serving(latency=LATENCY) as url:
        running, watched, _ = polling(
            Path(folder), url, organizations=organizations, threads=threads
        )
        running.poll_named(watched)
        with statements() as executed:
            began = time.monotonic()
            running.poll_named(watched)
            taken = time.monotonic() - began
        running.close(5)
    figures = {
        "time": f"{taken / (organizations * LATENCY / threads):.2f}",
        "statements": f"{len(executed) / organizations:.3f}",
    }
    show(figures, row)


if __name__ == "__main__":
    words, numbers = arguments()
    main(*(words or ["time"]), *numbers)
