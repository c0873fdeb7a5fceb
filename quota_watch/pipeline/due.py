"""Which organizations to poll next, in small handfuls, and the few threads that do it.

Answers come back in batches worth a transaction.
"""

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from quota_watch.lib.machine import Clock
from quota_watch.storage import claims
from quota_watch.storage.claims import LEASE, Claim
from quota_watch.storage.database import Database

_WAIT_SECONDS = 0.2
_LEAST_SECONDS = 0.001


class DueOrganizations:
    """Claims organizations as threads ask for them, never more than end inside their lease.

    A process holds two claims per polling thread at first and when upstream is slow, and two
    batches where it is fast: as many as end in half a lease at the pace of the last ones.
    `interval` returns the longest at which any is polled now.
    """

    def __init__(
        self,
        *,
        database: Database,
        ours: Collection[int],
        clock: Clock,
        interval: Callable[[], timedelta],
        concurrency: int,
    ) -> None:
        self._database = database
        self._ours = ours
        self._clock = clock
        self._interval = interval
        self._least = self._most = 2 * concurrency
        self._since = clock.monotonic()
        self._held: dict[int, Claim] = {}
        self._stopping = threading.Event()
        self._changed = threading.Event()

    def due(self) -> Iterator[Claim]:
        """Yield claims as organizations fall due; end when none is due and none under way.

        While one slow organization is under way, others that fall due are still claimed.
        Raises `StorageError`.
        """
        held = self._begin()
        while self._goes_on(held):
            found = self._find_due(held)
            claimed = self._claim(found, held) if found else []
            yield from self._unless_stopped(claimed)
            if not claimed:
                if not found and not held:
                    return
                self._wait()  # for one under way, or because another worker was quicker

    def named(self, pks: Sequence[int]) -> Iterator[Claim]:
        """Yield a claim for each of the organizations, due or not, taking over other claims."""
        held = self._begin()
        waiting = list(pks)
        while waiting and self._goes_on(held):
            free = self._most - len(held)
            if free <= 0:
                self._wait()
                continue
            now, waiting = waiting[:free], waiting[free:]
            with self._database.write() as connection:
                claimed = claims.claim_now(connection, now, now=self._clock.now())
            held |= {claim.pk: claim for claim in claimed}
            yield from self._unless_stopped(claimed)

    def finished(self, ended: Sequence[Claim]) -> None:
        """Note that these claims were used or lost."""
        for claim in ended:
            self._held.pop(claim.pk, None)
        self._keep_pace(len(ended))
        self._changed.set()

    def _keep_pace(self, ended: int) -> None:
        """Hold as many claims from now on as end in half a lease, if all go on like these."""
        now = self._clock.monotonic()
        taken, self._since = max(now - self._since, _LEAST_SECONDS), now
        pace = ended / taken
        in_time = int(pace * LEASE.total_seconds() / 2)
        self._most = max(self._least, min(in_time, 2 * BATCH_SIZE, 2 * self._most))

    def finish_all(self) -> None:
        """Note that nothing is under way any more, however the last cycle ended."""
        self._held = {}
        self._changed.set()

    def stop(self) -> None:
        """Hand out no further claims."""
        self._stopping.set()
        self._changed.set()

    def give_back(self) -> None:
        """Let go of all that is still held, so that it is due for whoever comes next."""
        held, self._held = self._held, {}
        self._let_go(list(held.values()))

    def _begin(self) -> dict[int, Claim]:
        # A cycle that failed may leave a thread behind: what that claims is not of the next one.
        held = self._held = {}
        self._since = self._clock.monotonic()
        return held

    def _goes_on(self, held: dict[int, Claim]) -> bool:
        return held is self._held and not self._stopping.is_set()

    def _wait(self) -> None:
        self._changed.wait(_WAIT_SECONDS)
        self._changed.clear()

    def _find_due(self, held: dict[int, Claim]) -> list[int]:
        free = self._most - len(held)
        if free <= 0:
            return []
        with self._database.read() as connection:
            return claims.find_due(
                connection,
                ours=self._ours,
                busy=held,
                most=free,
                interval=self._interval(),
                now=self._clock.now(),
            )

    def _claim(self, found: Sequence[int], held: dict[int, Claim]) -> list[Claim]:
        with self._database.write() as connection:
            now = self._clock.now()
            claimed = claims.claim_due(connection, found, interval=self._interval(), now=now)
        held |= {claim.pk: claim for claim in claimed}
        return claimed

    def _unless_stopped(self, claimed: Sequence[Claim]) -> Iterator[Claim]:
        for place, claim in enumerate(claimed):
            if self._stopping.is_set():
                self._let_go(claimed[place:])
                return
            yield claim

    def _let_go(self, claimed: Sequence[Claim]) -> None:
        if claimed:
            with self._database.write() as connection:
                claims.give_back(connection, claimed)


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
    size: Callable[[_Answer], int] = lambda _: 1,
) -> Iterator[list[_Answer]]:
    """Do all `work` on a few threads and yield the answers in batches.

    A batch closes at 100 answers, fewer where their `size` is more than 1, `linger` seconds after
    its first, or when nothing is under way. No work is begun while as much waits to be taken.
    `do` must not raise; what `work` raises is raised here once the threads have ended. When the
    caller stops early, no further work is begun.
    """
    shared = _Shared(work)
    answers = _Answers(size)
    for _ in range(threads):
        threading.Thread(target=_work_off, args=(shared, do, answers), daemon=True).start()
    try:
        yield from _batches(answers, shared, threads, linger)
    finally:
        shared.close()
        answers.close()
    if shared.error is not None:
        raise shared.error


class _Ended:
    """Put on the queue by each thread when there is nothing left for it."""


class _Answers(Generic[_Answer]):
    """The answers that wait to be taken, up to about a batch of them."""

    def __init__(self, size: Callable[[_Answer], int]) -> None:
        self._queue: SimpleQueue[_Answer | _Ended] = SimpleQueue()
        self._size = size
        self._waiting = 0
        self._changed = threading.Condition()

    def put(self, answer: _Answer | _Ended) -> None:
        """Add an answer for who takes them."""
        self._queue.put(answer)
        self._count(answer, 1)

    def take(self, timeout: float | None) -> tuple[_Answer | _Ended, int]:
        """Return the next one with its size; raises `Empty` after `timeout` seconds."""
        answer = self._queue.get(timeout=timeout)
        return answer, self._count(answer, -1)

    def wait_for_room(self) -> None:
        """Return once less than a batch waits."""
        if self._waiting >= BATCH_SIZE:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting < BATCH_SIZE)

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._waiting = -sys.maxsize
            self._changed.notify_all()

    def _count(self, answer: _Answer | _Ended, sign: int) -> int:
        size = 0 if isinstance(answer, _Ended) else self._size(answer)
        with self._changed:
            self._waiting += sign * size
            if sign < 0:
                self._changed.notify_all()
        return size


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
    answers: _Answers[_Answer],
) -> None:
    try:
        for work in shared:
            answers.put(do(work))
            answers.wait_for_room()
    finally:
        answers.put(_Ended())


def _batches(
    answers: _Answers[_Answer], shared: _Shared[_Work], threads: int, linger: float
) -> Iterator[list[_Answer]]:
    batch: list[_Answer] = []
    answered, filled, closes_at = 0, 0, 0.0
    while threads:
        try:
            answer, size = answers.take(max(0.0, closes_at - time.monotonic()) if batch else None)
        except Empty:
            yield batch
            batch, filled = [], 0
            continue
        if isinstance(answer, _Ended):
            threads -= 1
            continue
        if not batch:
            closes_at = time.monotonic() + linger
        batch.append(answer)
        filled += size
        answered += 1
        if filled >= BATCH_SIZE or answered == shared.begun:
            yield batch
            batch, filled = [], 0
    if batch:
        yield batch
