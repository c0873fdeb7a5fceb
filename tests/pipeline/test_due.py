import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from queue import SimpleQueue

import pytest
from sqlalchemy import event, select, update

from quota_watch.model.watch import Watch
from quota_watch.pipeline.due import DueOrganizations
from quota_watch.storage import claims
from quota_watch.storage.claims import Claim
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization
from support.clock import FakeClock
from support.watching import watches

INTERVAL = timedelta(minutes=15)
CONCURRENCY = 2
MOST = 2 * CONCURRENCY

Open = Callable[[], Database]


def register(database: Database, watched: list[Watch], clock: FakeClock) -> list[int]:
    with database.write() as connection:
        return list(claims.register(connection, watched, now=clock.now()).values())


def organizations(database: Database, pks: list[int], clock: FakeClock) -> DueOrganizations:
    return DueOrganizations(
        database=database, ours=pks, clock=clock, interval=lambda: INTERVAL, concurrency=CONCURRENCY
    )


def polled(database: Database, claim: Claim, clock: FakeClock) -> Claim:
    """Record that the organization was polled."""
    with database.write() as connection:
        values = {"next_at": clock.now() + INTERVAL, "claimed_by": None, "claimed_until": None}
        connection.execute(update(organization).where(organization.c.pk == claim.pk).values(values))
    return claim


def overdue(database: Database, pk: int, since: datetime) -> None:
    with database.write() as connection:
        query = update(organization).where(organization.c.pk == pk)
        connection.execute(query.values(next_at=since))


class Taker:
    """Takes claims in a thread of its own, so that a test can see it wait."""

    def __init__(self, due: DueOrganizations, claimed: Iterator[Claim]) -> None:
        self.taken: SimpleQueue[Claim | None] = SimpleQueue()
        self._due = due
        self._claimed = claimed
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._due.stop()
        self._thread.join()

    def _take(self) -> None:
        for claim in self._claimed:
            self.taken.put(claim)
        self.taken.put(None)

    def next(self) -> Claim | None:
        return self.taken.get(timeout=10)

    def is_waiting(self) -> bool:
        self._thread.join(0.05)
        return self.taken.empty() and self._thread.is_alive()


Take = Callable[[DueOrganizations, Iterator[Claim]], Taker]


@pytest.fixture
def take(database: Database) -> Iterator[Take]:
    takers: list[Taker] = []

    def take(due: DueOrganizations, claimed: Iterator[Claim]) -> Taker:
        takers.append(Taker(due, claimed))
        return takers[-1]

    yield take
    for taker in takers:
        taker.end()


@pytest.fixture
def pks(database: Database, clock: FakeClock) -> list[int]:
    return register(database, watches(6), clock)


@pytest.fixture
def due(database: Database, pks: list[int], clock: FakeClock) -> DueOrganizations:
    return organizations(database, pks, clock)


def test_every_organization_is_handed_out_once(
    database: Database,
    pks: list[int],
    due: DueOrganizations,
    clock: FakeClock,
) -> None:
    handed_out = []
    for claim in due.due():
        handed_out.append(claim.pk)
        due.finished([polled(database, claim, clock)])
    assert sorted(handed_out) == sorted(pks)


def test_no_more_are_held_than_end_inside_their_lease(
    database: Database,
    due: DueOrganizations,
    clock: FakeClock,
    take: Take,
) -> None:
    taker = take(due, due.due())
    held = [taker.next() for _ in range(MOST)]
    assert taker.is_waiting()
    clock.advance(timedelta(seconds=20))
    due.finished([polled(database, held[0], clock)])
    assert taker.next() not in held
    assert taker.is_waiting()


def test_the_supply_ends_when_none_is_due_and_none_under_way(
    database: Database,
    clock: FakeClock,
    take: Take,
) -> None:
    due = organizations(database, register(database, watches(1), clock), clock)
    taker = take(due, due.due())
    last = taker.next()
    assert taker.is_waiting()
    due.finished([polled(database, last, clock)])
    assert taker.next() is None


def test_what_falls_due_beside_a_slow_one_is_handed_out(
    database: Database,
    clock: FakeClock,
    take: Take,
) -> None:
    first, second = register(database, watches(2), clock)
    due = organizations(database, [first, second], clock)
    polled(database, Claim(second, "earlier", clock.now(), None), clock)
    taker = take(due, due.due())
    assert taker.next().pk == first
    assert taker.is_waiting()
    clock.advance(INTERVAL)
    assert taker.next().pk == second
    due.stop()


def test_nothing_is_handed_out_after_a_stop(due: DueOrganizations) -> None:
    handed_out = due.due()
    next(handed_out)
    due.stop()
    assert list(handed_out) == []
    assert list(due.due()) == []


def test_a_stop_ends_the_wait_for_slow_ones(due: DueOrganizations, take: Take) -> None:
    taker = take(due, due.due())
    for _ in range(MOST):
        taker.next()
    due.stop()
    assert taker.next() is None


def test_what_was_claimed_and_not_handed_out_is_due_for_others_after_a_stop(
    open_database: Open,
    database: Database,
    pks: list[int],
    due: DueOrganizations,
    clock: FakeClock,
) -> None:
    handed_out = due.due()
    first = next(handed_out)
    due.stop()
    assert list(handed_out) == []
    due.finish_all()
    due.give_back()
    other = organizations(open_database(), pks, clock)
    claimed = {claim.pk for claim in (next(supply) for supply in [other.due()] * MOST)}
    assert claimed < set(pks) - {first.pk}


def test_what_is_under_way_is_given_back_when_there_is_no_time_left(
    database: Database, pks: list[int], due: DueOrganizations
) -> None:
    handed_out = due.due()
    for _ in range(3):
        next(handed_out)
    due.stop()
    due.give_back()
    with database.read() as connection:
        assert connection.scalars(select(organization.c.claimed_by)).all() == [None] * len(pks)


def test_what_a_failed_cycle_left_behind_does_not_hold_up_the_next(
    database: Database,
    due: DueOrganizations,
    clock: FakeClock,
) -> None:
    """A thread may still be claiming when the cycle it belongs to is over."""
    left_behind = due.due()
    next(left_behind)
    due.finish_all()
    clock.advance(claims.LEASE)
    handed_out = []
    for claim in due.due():
        handed_out.append(claim.pk)
        next(left_behind, None)
        due.finished([polled(database, claim, clock)])
    assert len(handed_out) == len(set(handed_out)) == 6


def test_a_thread_left_behind_ends(due: DueOrganizations, take: Take) -> None:
    taker = take(due, due.due())
    for _ in range(MOST):
        taker.next()
    due.finish_all()
    assert taker.next() is None


def test_the_named_are_handed_out_whether_due_or_not(
    database: Database,
    pks: list[int],
    due: DueOrganizations,
    clock: FakeClock,
) -> None:
    polled(database, Claim(pks[2], "earlier", clock.now(), None), clock)
    assert [claim.pk for claim in due.named([pks[2], pks[0]])] == sorted([pks[2], pks[0]])


def test_the_named_are_taken_over_from_another_process(
    open_database: Open,
    database: Database,
    pks: list[int],
    due: DueOrganizations,
    clock: FakeClock,
) -> None:
    old = next(organizations(open_database(), pks, clock).due())
    (new,) = due.named([old.pk])
    with database.read() as connection:
        query = select(organization.c.claimed_by).where(organization.c.pk == old.pk)
        assert connection.scalar(query) == new.token


def test_of_the_named_no_more_are_held_than_end_inside_their_lease(
    database: Database,
    pks: list[int],
    due: DueOrganizations,
    clock: FakeClock,
    take: Take,
) -> None:
    taker = take(due, due.named(pks))
    held = [taker.next() for _ in range(MOST)]
    assert taker.is_waiting()
    due.finished([polled(database, claim, clock) for claim in held])
    rest = [taker.next() for _ in range(len(pks) - MOST + 1)]
    assert rest.pop() is None
    assert sorted(claim.pk for claim in held + rest) == sorted(pks)


def test_a_quicker_worker_leaves_the_rest_to_the_slower(
    open_database: Open, database: Database, pks: list[int], due: DueOrganizations, clock: FakeClock
) -> None:
    quicker = organizations(open_database(), pks, clock)
    for place, pk in enumerate(reversed(pks)):
        overdue(database, pk, clock.now() - timedelta(minutes=place))

    @event.listens_for(database._reader, "commit", once=True)  # between the search and the claim
    def be_quicker(_: object) -> None:
        next(quicker.due())

    handed_out = due.due()
    assert {next(handed_out).pk, next(handed_out).pk} == set(pks[MOST:])
