"""A steady cycle against a slow upstream: its time over the least that it could take.

That is organizations x latency / threads. Prints that ratio and the statements per organization.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cycle import statements
from benchmarks.polling import polling
from benchmarks.upstream import serving

LATENCY = 0.05


def main(organizations: int = 1000, threads: int = 8) -> None:
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
    print(f"time ratio\t{taken / (organizations * LATENCY / threads):.2f}")
    print(f"statements per organization\t{len(executed) / organizations:.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
