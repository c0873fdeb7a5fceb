"""Which organizations to poll next, in small handfuls, and the few threads that do it.

Answers come back in batches worth a transaction.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from queue import Empty, SimpleQueue
from typing import TypeVar

from quota_watch.lib.machine import Clock
from quota_watch.storage import claims
from quota_watch.storage.claims import LEASE, Claim
from quota_watch.storage.database import Database

BATCH_SIZE = 100
LINGER_SECONDS = 0.2
"""How long a batch stays open after its first answer."""

_WAIT_SECONDS = 0.2
_LEAST_SECONDS = 0.001

_Work = TypeVar("_Work")
_Answer = TypeVar("_Answer")


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
        leases = self._begin()
        while self._goes_on(leases):
            pks = self._find_due(leases)
            claimed = self._claim(pks, leases) if pks else []
            yield from self._unless_stopped(claimed)
            if not claimed:
                if not pks and not leases:
                    return
                self._wait()  # for one under way, or because another worker was quicker

    def named(self, pks: Sequence[int]) -> Iterator[Claim]:
        """Yield a claim for each of the organizations, due or not, taking over other claims."""
        leases = self._begin()
        waiting = list(pks)
        while waiting and self._goes_on(leases):
            free = self._most - len(leases)
            if free <= 0:
                self._wait()
                continue
            now, waiting = waiting[:free], waiting[free:]
            with self._database.write() as connection:
                claimed = claims.claim_now(connection, now, now=self._clock.now())
            leases |= {claim.pk: claim for claim in claimed}
            yield from self._unless_stopped(claimed)

    def finished(self, ended: Sequence[Claim]) -> None:
        """Note that these claims were used or lost."""
        for claim in ended:
            self._held.pop(claim.pk, None)
        now = self._clock.monotonic()
        pace = len(ended) / max(now - self._since, _LEAST_SECONDS)
        self._since = now
        # As many from now on as end in half a lease, if all go on like these.
        in_time = int(pace * LEASE.total_seconds() / 2)
        self._most = max(self._least, min(in_time, 2 * BATCH_SIZE, 2 * self._most))
        self._changed.set()

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
        leases, self._held = self._held, {}
        self._let_go(list(leases.values()))

    def _begin(self) -> dict[int, Claim]:
        # A cycle that failed may leave a thread behind: what that claims is not of the next one.
        leases = self._held = {}
        self._since = self._clock.monotonic()
        return leases

    def _goes_on(self, leases: dict[int, Claim]) -> bool:
        return leases is self._held and not self._stopping.is_set()

    def _wait(self) -> None:
        self._changed.wait(_WAIT_SECONDS)
        self._changed.clear()

    def _find_due(self, leases: dict[int, Claim]) -> list[int]:
        free = self._most - len(leases)
        if free <= 0:
            return []
        with self._database.read() as connection:
            return claims.find_due(
                connection,
                ours=self._ours,
                busy=leases,
                most=free,
                interval=self._interval(),
                now=self._clock.now(),
            )

    def _claim(self, pks: Sequence[int], leases: dict[int, Claim]) -> list[Claim]:
        with self._database.write() as connection:
            claimed = claims.claim_due(
                connection, pks, interval=self._interval(), now=self._clock.now()
            )
        leases |= {claim.pk: claim for claim in claimed}
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


def in_batches(
    work: Iterator[_Work],
    do: Callable[[_Work], _Answer],
    *,
    threads: int,
    room: int = 2 * BATCH_SIZE,
    linger: float = LINGER_SECONDS,
    size: Callable[[_Answer], int] = lambda _: 1,
) -> Iterator[list[_Answer]]:
    """Do all `work` on a few threads and yield the answers in batches.

    A batch closes at 100 answers, fewer where their `size` is more than 1, `linger` seconds after
    its first, or when nothing is under way. No work is begun while `room` of it is under way or
    answered in a batch that the caller is not done with: by default one batch is collected while
    the last one is dealt with. `do` must not raise; what `work` raises is raised here once the
    threads have ended. When the caller stops early, no further work is begun.
    """
    shared = _Shared(work, room)
    answers: SimpleQueue[_Answer | _Ended] = SimpleQueue()
    for _ in range(threads):
        threading.Thread(target=_work_off, args=(shared, do, size, answers), daemon=True).start()
    try:
        yield from _batches(answers, shared, threads, linger, size)
    finally:
        shared.close()
    if shared.error is not None:
        raise shared.error


class _Ended:
    """Put on the queue by each thread when there is nothing left for it."""


class _Shared(Iterator[_Work]):
    """Work that many threads take up while there is `room`, and that anyone may close.

    Each piece takes 1 of the room, from its answer on as much as that is worth.
    """

    def __init__(self, work: Iterator[_Work], room: int) -> None:
        self._work = work
        self._room = room
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._closed = False
        self.begun = 0
        self.error: BaseException | None = None

    def __next__(self) -> _Work:
        with self._turn:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._room > 0)
                if self._closed:
                    raise StopIteration
            try:
                work = next(self._work)
            except BaseException as error:
                self._closed = True
                self.error = None if isinstance(error, StopIteration) else error
                raise StopIteration from error
            self.take(1)
            self.begun += 1
            return work

    def take(self, room: int) -> None:
        """Take so much room, or give it back where it is negative."""
        with self._changed:
            self._room -= room
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _work_off(
    shared: _Shared[_Work],
    do: Callable[[_Work], _Answer],
    size: Callable[[_Answer], int],
    answers: SimpleQueue[_Answer | _Ended],
) -> None:
    try:
        for work in shared:
            answer = do(work)
            if more := size(answer) - 1:
                shared.take(more)
            answers.put(answer)
    finally:
        answers.put(_Ended())


def _batches(
    answers: SimpleQueue[_Answer | _Ended],
    shared: _Shared[_Work],
    threads: int,
    linger: float,
    size: Callable[[_Answer], int],
) -> Iterator[list[_Answer]]:
    batch: list[_Answer] = []
    answered, filled, closes_at = 0, 0, 0.0
    while threads or batch:
        try:
            answer = answers.get(timeout=max(0.0, closes_at - time.monotonic()) if batch else None)
        except Empty:
            is_over = True
        else:
            if isinstance(answer, _Ended):
                threads -= 1
            else:
                closes_at = closes_at if batch else time.monotonic() + linger
                batch.append(answer)
                filled += size(answer)
                answered += 1
            is_over = filled >= BATCH_SIZE or answered == shared.begun or not threads
        if batch and is_over:
            yield batch
            shared.take(-filled)
            batch, filled = [], 0
