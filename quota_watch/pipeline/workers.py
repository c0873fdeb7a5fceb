"""A few threads over an iterator of claims; answers come back in batches worth a transaction."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TypeVar

BATCH_SIZE = 100
LINGER_SECONDS = 0.2
"""How long a batch stays open after its first answer."""

_Work = TypeVar("_Work")
_Answer = TypeVar("_Answer")


def in_batches(
    work: Iterator[_Work],
    do: Callable[[_Work], _Answer],
    *,
    threads: int,
    linger: float = LINGER_SECONDS,
) -> Iterator[list[_Answer]]:
    """Do all `work` on a few threads and yield the answers in batches.

    A batch closes at 100 answers, `linger` seconds after its first, or when nothing is under way.
    `do` must not raise; what `work` raises is raised here once the threads have ended. When the
    caller stops early, no further work is begun.
    """
    answers: SimpleQueue[_Answer | _Ended] = SimpleQueue()
    shared = _Shared(work)
    for _ in range(threads):
        threading.Thread(target=_work_off, args=(shared, do, answers), daemon=True).start()
    try:
        yield from _batches(answers, shared, threads, linger)
    finally:
        shared.close()
    if shared.error is not None:
        raise shared.error


class _Ended:
    """Put on the queue by each thread when there is nothing left for it."""


class _Shared(Iterator[_Work]):
    """An iterator that many threads may advance and anyone may close."""

    def __init__(self, work: Iterator[_Work]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._closed = False
        self.begun = 0
        self.error: BaseException | None = None

    def __next__(self) -> _Work:
        with self._lock:
            if self._closed:
                raise StopIteration
            try:
                work = next(self._work)
            except StopIteration:
                self._closed = True
                raise
            except BaseException as error:
                self._closed, self.error = True, error
                raise StopIteration from error
            self.begun += 1
            return work

    def close(self) -> None:
        self._closed = True


def _work_off(
    shared: Iterator[_Work],
    do: Callable[[_Work], _Answer],
    answers: "SimpleQueue[_Answer | _Ended]",
) -> None:
    try:
        for work in shared:
            answers.put(do(work))
    finally:
        answers.put(_Ended())


def _batches(
    answers: "SimpleQueue[_Answer | _Ended]", shared: _Shared[_Work], threads: int, linger: float
) -> Iterator[list[_Answer]]:
    batch: list[_Answer] = []
    answered, closes_at = 0, 0.0
    while threads:
        try:
            wait = max(0.0, closes_at - time.monotonic()) if batch else None
            answer = answers.get(timeout=wait)
        except Empty:
            yield batch
            batch = []
            continue
        if isinstance(answer, _Ended):
            threads -= 1
            continue
        if not batch:
            closes_at = time.monotonic() + linger
        batch.append(answer)
        answered += 1
        if len(batch) == BATCH_SIZE or answered == shared.begun:
            yield batch
            batch = []
    if batch:
        yield batch
