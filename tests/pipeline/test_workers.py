import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from quota_watch.pipeline.due import BATCH_SIZE, LINGER_SECONDS, in_batches
from support.threads import wait_until, wait_until_polled


class Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self._open = threading.Event()

    def __call__(self, number: int) -> int:
        self.begun.append(number)
        assert self._open.wait(10)
        return number

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()
    wait_until_polled()


def same(number: int) -> int:
    return number


def slow(numbers: set[int], gate: Gate) -> Callable[[int], int]:
    """Return work that is quick but for these numbers, which wait at the gate."""
    return lambda number: gate(number) if number in numbers else number


@pytest.mark.parametrize("threads", [1, 3, 8])
@pytest.mark.parametrize("work", [0, 1, BATCH_SIZE, 777])
def test_every_work_is_answered_once(work: int, threads: int) -> None:
    batches = list(in_batches(iter(range(work)), same, threads=threads))
    assert sorted(answer for batch in batches for answer in batch) == list(range(work))
    assert all(0 < len(batch) <= BATCH_SIZE for batch in batches)


def test_a_batch_closes_when_it_is_full(gate: Gate) -> None:
    batches = in_batches(iter(range(2 * BATCH_SIZE)), slow({0, 1}, gate), threads=3)
    assert len(next(batches)) == BATCH_SIZE
    gate.open()
    assert sum(map(len, batches)) == BATCH_SIZE


def test_a_batch_waits_a_moment_for_the_others(gate: Gate) -> None:
    batches = in_batches(iter(range(3)), slow({0}, gate), threads=2)
    began = time.monotonic()
    assert sorted(next(batches)) == [1, 2]
    assert time.monotonic() - began >= LINGER_SECONDS
    gate.open()
    assert list(batches) == [[0]]


def test_a_batch_does_not_wait_when_nothing_is_under_way() -> None:
    assert min(_seconds_until_the_only_answer() for _ in range(5)) < LINGER_SECONDS


def _seconds_until_the_only_answer() -> float:
    asked = threading.Event()

    def work() -> Iterator[int]:
        yield 1
        assert asked.wait(10)  # only once the first answer was handed over

    batches = in_batches(work(), same, threads=2)
    began = time.monotonic()
    assert next(batches) == [1]
    seconds = time.monotonic() - began
    asked.set()
    assert list(batches) == []
    return seconds


def test_as_many_are_done_at_once_as_there_are_threads(gate: Gate) -> None:
    batches = in_batches(iter(range(10)), gate, threads=4)
    waiting = threading.Thread(target=lambda: list(batches))
    waiting.start()
    wait_until(lambda: len(gate.begun) == 4)
    assert len(gate.begun) == 4
    gate.open()
    waiting.join()
    assert sorted(gate.begun) == list(range(10))


def test_one_slow_work_holds_up_no_other(gate: Gate) -> None:
    batches = in_batches(iter(range(300)), slow({0}, gate), threads=2)
    quick: list[int] = []
    while len(quick) < 299:
        quick += next(batches)
    assert 0 not in quick
    gate.open()
    assert list(batches) == [[0]]


def test_what_the_work_raises_comes_after_the_answers_there_are() -> None:
    def work() -> Iterator[int]:
        yield from range(5)
        raise OSError("no more")

    batches = in_batches(work(), same, threads=3)
    answers: list[int] = []
    while len(answers) < 5:
        answers += next(batches)
    with pytest.raises(OSError, match="no more"):
        next(batches)


def test_nothing_more_is_begun_after_the_work_raised() -> None:
    class Broken(Iterator[int]):
        asked = 0

        def __next__(self) -> int:
            self.asked += 1
            raise OSError("no more")

    work = Broken()
    with pytest.raises(OSError, match="no more"):
        list(in_batches(work, same, threads=8))
    assert work.asked == 1


def test_a_caller_that_stops_early_begins_no_further_work(gate: Gate) -> None:
    batches = in_batches(iter(range(1000)), slow(set(range(1, 1000)), gate), threads=2)
    assert next(batches) == [0]
    batches.close()
    gate.open()
    wait_until_polled()
    assert sorted(gate.begun) == [1, 2]


def test_a_caller_that_raises_begins_no_further_work(gate: Gate) -> None:
    with suppress(ZeroDivisionError):
        for _ in in_batches(iter(range(1000)), slow(set(range(1, 1000)), gate), threads=2):
            raise ZeroDivisionError
    gate.open()
    wait_until_polled()
    assert sorted(gate.begun) == [1, 2]


def test_a_batch_closes_earlier_where_answers_are_large(gate: Gate) -> None:
    batches = in_batches(
        iter(range(41)), slow({0}, gate), threads=2, size=lambda _: BATCH_SIZE // 10
    )
    assert [len(next(batches)) for _ in range(4)] == [10] * 4
    gate.open()
    assert list(batches) == [[0]]


def test_no_work_is_begun_while_a_batch_waits_to_be_taken() -> None:
    begun: list[int] = []
    batches = in_batches(
        iter(range(100)), lambda n: begun.append(n) or n, threads=2, size=lambda _: BATCH_SIZE
    )
    next(batches)
    wait_until(lambda: len(begun) >= 2)
    assert len(begun) <= 4  # the one taken, one that waits, and one more of each thread at most
    assert len(list(batches)) == 99
