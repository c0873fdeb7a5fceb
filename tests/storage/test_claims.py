import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Row, select, text, update

from quota_watch.model.source import Organization
from quota_watch.model.watch import Watch
from quota_watch.storage import claims
from quota_watch.storage.claims import LEASE, Claim
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization
from support.clock import START
from support.threads import all_at_once, wait_until
from support.watching import SERVER, watch, watches

Open = Callable[[], Database]
INTERVAL = timedelta(minutes=15)
MILLISECOND = timedelta(milliseconds=1)
ON_POSTGRESQL = pytest.mark.parametrize("open_database", ["postgresql"], indirect=True)


def register(database: Database, watched: list[Watch], now=START) -> list[int]:
    with database.write() as connection:
        return list(claims.register(connection, watched, now=now).values())


def find(database: Database, ours, *, now=START, most=100, busy=(), interval=INTERVAL):
    with database.read() as connection:
        return claims.find_due(
            connection, ours=ours, busy=busy, most=most, interval=interval, now=now
        )


def take(database: Database, pks, *, now=START) -> list[Claim]:
    with database.write() as connection:
        return claims.claim_due(connection, pks, interval=INTERVAL, now=now)


def take_over(database: Database, pks, *, now=START) -> list[Claim]:
    with database.write() as connection:
        return claims.claim_now(connection, pks, now=now)


def give_back(database: Database, claimed: list[Claim]) -> None:
    with database.write() as connection:
        claims.give_back(connection, claimed)


def change(database: Database, pk: int, **values) -> None:
    with database.write() as connection:
        connection.execute(update(organization).where(organization.c.pk == pk).values(values))


def row(database: Database, pk: int) -> Row:
    with database.read() as connection:
        return connection.execute(select(organization).where(organization.c.pk == pk)).one()


@pytest.fixture
def acme(database: Database) -> int:
    return register(database, [watch()])[0]


def test_registering_again_changes_nothing(database: Database, acme: int) -> None:
    before = row(database, acme)
    assert register(database, [watch(plan="pro1m", limit=7)], START + INTERVAL) == [acme]
    assert row(database, acme) == before


def test_registering_more_keeps_the_keys_of_those_there(database: Database, acme: int) -> None:
    keys = register(database, [watch("new"), watch(), watch("newer")])
    assert keys[1] == acme
    assert len(set(keys)) == 3


def test_keys_come_in_the_order_of_the_config(database: Database) -> None:
    register(database, [watch("b"), watch("a")])
    with database.read() as connection:
        wanted = [each.organization for each in (watch("a"), watch("missing"), watch("b"))]
        assert [each.id for each in claims.keys_of(connection, wanted)] == ["org_a", "org_b"]


@pytest.mark.parametrize("id_", ["org|1", "Größe", "a'b\"c", "%_", "👩‍🚀", "org_\\", " "])
def test_an_organization_is_found_by_any_id(database: Database, id_: str) -> None:
    odd = watch(organization=Organization(SERVER, id_))
    assert register(database, [odd]) == register(database, [odd])


def test_processes_that_register_at_once_get_the_same_keys(open_database: Open) -> None:
    many = watches(100)
    keys = all_at_once(
        lambda: register(open_database(), many), lambda: register(open_database(), many[::-1])
    )
    assert keys[0] == keys[1][::-1]


@ON_POSTGRESQL
def test_processes_that_register_at_once_never_wait_for_each_other(open_database: Open) -> None:
    first, middle, last = watches(3)
    one, other, third = open_database(), open_database(), open_database()
    with third.write() as connection:
        claims.register(connection, [middle], now=START)
        threads = _in_background(
            [
                lambda: register(one, [first, middle, last]),
                lambda: register(other, [last, middle, first]),
            ],
            third,
        )
    assert _errors(threads) == [None, None]


def test_what_is_new_is_due_at_once(database: Database, acme: int) -> None:
    assert find(database, {acme}) == [acme]


def test_what_is_due_later_is_not_due(database: Database, acme: int) -> None:
    change(database, acme, next_at=START + MILLISECOND)
    assert find(database, {acme}) == []


def test_only_ours_are_found_however_many_others_are_overdue(database: Database) -> None:
    """Two thousand organizations that have left the config must not stand in the way."""
    register(database, watches(2000))
    ours = register(database, [watch()], START + MILLISECOND)
    assert find(database, set(ours), now=START + MILLISECOND) == ours


def test_what_is_busy_in_this_process_is_not_found(database: Database) -> None:
    one, other = register(database, watches(2))
    assert find(database, {one, other}, busy={one}) == [other]


def test_the_longest_due_come_first_and_no_more_than_wanted(database: Database) -> None:
    pks = register(database, watches(5))
    for minutes, pk in enumerate(reversed(pks)):
        change(database, pk, next_at=START - timedelta(minutes=60 - minutes))
    assert find(database, set(pks), most=3) == pks[:1:-1]


def test_a_claim_holds_for_its_lease(database: Database, acme: int) -> None:
    assert len(take(database, [acme])) == 1
    for now in (START, START + LEASE - MILLISECOND):
        assert find(database, {acme}, now=now) == []
        assert take(database, [acme], now=now) == []


def test_a_claim_that_ran_out_is_taken_by_another(database: Database, acme: int) -> None:
    (old,) = take(database, [acme])
    assert find(database, {acme}, now=START + LEASE) == [acme]
    (new,) = take(database, [acme], now=START + LEASE)
    assert new.token != old.token


@pytest.mark.parametrize("behind", [MILLISECOND, timedelta(seconds=5), LEASE])
def test_a_worker_whose_clock_is_behind_steals_no_claim(
    database: Database, acme: int, behind: timedelta
) -> None:
    change(database, acme, next_at=START - INTERVAL)
    take(database, [acme])
    assert find(database, {acme}, now=START - behind) == []
    assert take(database, [acme], now=START - behind) == []


def test_a_claim_from_before_the_clock_went_back_does_not_hold(
    database: Database, acme: int
) -> None:
    take(database, [acme])
    yesterday = START - timedelta(days=1)
    assert find(database, {acme}, now=yesterday) == [acme]
    assert len(take(database, [acme], now=yesterday)) == 1


def test_a_claim_leaves_the_next_poll_where_it_was(database: Database, acme: int) -> None:
    take(database, [acme])
    assert row(database, acme).next_at == START


def test_a_time_from_before_the_clock_went_back_is_due(database: Database, acme: int) -> None:
    change(database, acme, next_at=START + 2 * INTERVAL + MILLISECOND)
    assert find(database, {acme}) == [acme]
    change(database, acme, next_at=START + 2 * INTERVAL)
    assert find(database, {acme}) == []


def test_a_shorter_interval_takes_effect_at_once(database: Database, acme: int) -> None:
    change(database, acme, next_at=START + timedelta(hours=5), last_poll=START)
    assert find(database, {acme}, interval=timedelta(hours=6)) == []
    assert find(database, {acme}, interval=INTERVAL) == [acme]


def refused(database: Database, pk: int) -> None:
    """Let a poll at START have failed and be put off by an hour."""
    later = START + timedelta(hours=1)
    change(database, pk, next_at=later, last_poll=START, failing_since=START)


def test_what_upstream_asks_to_wait_is_waited(database: Database, acme: int) -> None:
    refused(database, acme)
    assert find(database, {acme}, now=START) == []
    assert find(database, {acme}, now=START + timedelta(minutes=59)) == []
    assert find(database, {acme}, now=START + timedelta(hours=1)) == [acme]


def test_a_wait_from_before_the_clock_went_back_is_not_waited(
    database: Database, acme: int
) -> None:
    refused(database, acme)
    assert find(database, {acme}, now=START - timedelta(days=1)) == [acme]


def test_workers_that_race_never_hold_the_same(open_database: Open) -> None:
    one, other = open_database(), open_database()
    pks = register(one, watches(200))
    taken = all_at_once(*(lambda who=who: take(who, pks) for who in (one, other, one, other)))
    held = [claim.pk for worker in taken for claim in worker]
    assert sorted(held) == sorted(pks)


@ON_POSTGRESQL
def test_a_worker_passes_over_what_another_has_locked(open_database: Open) -> None:
    one, other = open_database(), open_database()
    pks = register(one, watches(3))
    with one.write() as connection:
        claims.claim_due(connection, pks[:2], interval=INTERVAL, now=START)
        assert [claim.pk for claim in take(other, pks)] == pks[2:]


def test_a_claim_is_taken_over_whether_due_or_not(database: Database, acme: int) -> None:
    (old,) = take(database, [acme])
    change(database, acme, next_at=START + INTERVAL)
    (new,) = take_over(database, [acme])
    assert row(database, acme).claimed_by == new.token != old.token


def test_the_result_of_a_claim_that_was_taken_over_is_dropped(
    database: Database, acme: int
) -> None:
    old, new = take(database, [acme]), take_over(database, [acme])
    with database.write() as connection:
        assert claims.lock_claimed(connection, old) == {}
        assert claims.lock_claimed(connection, new).keys() == {acme}


def test_nothing_is_taken_over_where_nothing_is_named(database: Database, acme: int) -> None:
    assert take_over(database, []) == []
    assert row(database, acme).claimed_by is None


def test_what_is_given_back_is_due_again_at_once(database: Database) -> None:
    pks = register(database, watches(3))
    claimed = take(database, pks)
    give_back(database, claimed[1:])
    assert find(database, set(pks)) == pks[1:]


def test_a_claim_of_another_is_not_given_back(database: Database, acme: int) -> None:
    old, (new,) = take(database, [acme]), take_over(database, [acme])
    give_back(database, old)
    assert row(database, acme).claimed_by == new.token


@pytest.fixture
def scrambled(open_database: Open) -> list[int]:
    """Three organizations that lie in the table in another order than that of their keys."""
    database = open_database()
    pks = register(database, watches(3))
    change(database, pks[0], name="moved to the end")
    return pks


@ON_POSTGRESQL
@pytest.mark.parametrize("how", [take_over, give_back])
def test_the_record_and_a_claim_never_wait_for_each_other(
    open_database: Open, scrambled: list[int], how: Callable
) -> None:
    """All lock in key order; else one of the two would be refused as a deadlock."""
    own, writer, recorder = open_database(), open_database(), open_database()
    claimed = take(own, scrambled)
    change(own, scrambled[0], name="moved to the end once more")
    with own.write() as connection:
        connection.execute(text("ANALYZE organization"))  # so that it is read as it lies

    def lock() -> None:
        with recorder.write() as connection:
            claims.lock_claimed(connection, claimed)

    work = {take_over: scrambled, give_back: claimed[::-1]}[how]
    with own.write() as holding:
        holding.execute(text("SELECT 1 FROM organization WHERE pk = :pk FOR UPDATE"),
                        {"pk": scrambled[2 if how is take_over else 1]})  # fmt: skip
        threads = _in_background([lambda: how(writer, work), lock], own)
    assert _errors(threads) == [None, None]


class _Background(threading.Thread):
    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.work = work
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:  # noqa: BLE001  for the test to see
            self.error = error


def _in_background(works: list[Callable], watcher: Database) -> list[_Background]:
    """Start each as soon as those before it wait for a lock."""
    threads = []
    for number, work in enumerate(works):
        threads.append(_Background(work))
        threads[-1].start()
        wait_until(lambda least=number + 1: _waiting(watcher) >= least)
    return threads


def _errors(threads: list[_Background]) -> list[Exception | None]:
    for thread in threads:
        thread.join()
    return [thread.error for thread in threads]


def _waiting(database: Database) -> int:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with database.read() as connection:
        return connection.scalar(text(query)) or 0
