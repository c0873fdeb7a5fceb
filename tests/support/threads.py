"""Work done at the same time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def all_at_once(*works: Callable[[], Any]) -> list[Any]:
    """Begin all works at the same moment, each in a thread of its own; return their results."""
    barrier = threading.Barrier(len(works), timeout=30)

    def after_the_others(work: Callable[[], Any]) -> Any:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(after_the_others, works))


def wait_until_polled() -> None:
    """Wait until no thread polls any more, such as those that an error left behind."""
    wait_until(lambda: not any("_work_off" in each.name for each in threading.enumerate()))


def wait_until(is_so: Callable[[], bool], *, seconds: float = 10) -> None:
    """Return as soon as it is so, where nothing tells; fail after `seconds`."""
    gives_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < gives_up_at, f"not so within {seconds} s"
        time.sleep(0.005)
