"""What is noted is judged right: what hangs, what the database refuses, what is unsure."""

import pytest

from quota_watch.service.health import HUNG_SECONDS, PROOF_SECONDS, STORE_SECONDS, Health
from support.clock import FakeClock


@pytest.fixture
def health(clock: FakeClock) -> Health:
    return Health(clock=clock)


def test_nothing_noted_is_nothing_wrong(health: Health) -> None:
    assert (health.hung(), health.reasons(), health.doubts()) == ([], [], [])


def test_a_job_that_moves_is_well(health: Health, clock: FakeClock) -> None:
    for _ in range(10):
        health.moved("poll")
        clock.advance(HUNG_SECONDS - 1)
        assert health.hung() == []


def test_a_job_that_does_not_move_hangs(health: Health, clock: FakeClock) -> None:
    health.moved("deliver")
    health.moved("poll")
    clock.advance(HUNG_SECONDS + 1)
    health.moved("deliver")
    assert (
        health.hung()
        == health.reasons()
        == health.doubts()
        == ["poll has made no progress for 60 s"]
    )
    health.moved("poll")
    assert health.hung() == []


def test_a_clock_that_is_set_makes_nothing_hang(health: Health, clock: FakeClock) -> None:
    health.moved("poll")
    for year in (2000, 2040):
        clock.set(clock.now().replace(year=year))
        assert health.reasons() == []


def test_a_refused_write_is_a_reason_until_nothing_was_refused_for_a_while(
    health: Health, clock: FakeClock
) -> None:
    """A full disk may take the small write of a claim and refuse the record after it."""
    health.wrote("database or disk is full")
    health.wrote(None)
    assert health.reasons() == ["the database can't be written: database or disk is full"]
    assert health.hung() == []
    clock.advance(STORE_SECONDS + 1)
    assert health.reasons() == []


def test_a_refused_write_without_a_good_one_after_it_stays_a_reason(
    health: Health, clock: FakeClock
) -> None:
    health.wrote(None)
    clock.advance(1)
    health.wrote("attempt to write a readonly database")
    clock.advance(10 * STORE_SECONDS)
    assert not health.trusts_store()
    health.wrote(None)
    assert health.trusts_store()


def test_a_database_that_does_not_answer_is_a_reason_until_it_does(health: Health) -> None:
    health.answered("Connection refused")
    assert health.reasons() == ["the database does not answer: Connection refused"]
    health.answered()
    assert health.reasons() == []


def test_a_lost_database_is_told_once_and_for_all(health: Health) -> None:
    health.lose("it was deleted")
    health.lose("something else")
    health.answered("no")
    assert health.reasons() == ["it was deleted"]


def test_a_proof_is_due_when_nobody_wrote_or_something_was_refused(
    health: Health, clock: FakeClock
) -> None:
    assert health.needs_proof()
    health.wrote(None)
    clock.advance(PROOF_SECONDS)
    assert not health.needs_proof()
    health.answered("Connection refused")
    assert health.needs_proof()
    health.answered()
    clock.advance(1)
    assert health.needs_proof()


def test_what_stands_still_for_long_hangs_and_what_moves_between_does_not(
    health: Health, clock: FakeClock
) -> None:
    for stuck in (("a",), ("a", "b"), ("a",)):
        health.inspected(stuck=stuck, unsure=())
        clock.advance(HUNG_SECONDS / 2)
    assert health.hung() == ["a"]
    health.inspected(stuck=(), unsure=())
    assert health.hung() == []


def test_what_is_unsure_withholds_the_heartbeat_and_is_no_fault_of_the_process(
    health: Health,
) -> None:
    health.inspected(stuck=(), unsure=("nobody sees",))
    assert (health.reasons(), health.doubts()) == ([], ["nobody sees"])


def test_polls_that_a_defect_keeps_from_being_recorded_are_a_reason(clock: FakeClock) -> None:
    health = Health(clock=clock)
    health.unrecorded(["org_a", "org_b"])
    (reason,) = health.reasons()
    assert reason == "polls of 2 organizations can't be recorded, because of a bug: see the log"
    assert reason in health.doubts()
    health.unrecorded([])
    assert health.reasons() == []


def test_a_job_that_a_defect_ends_is_a_reason_until_it_works(clock: FakeClock) -> None:
    health = Health(clock=clock)
    assert health.broke("poll") == 0
    clock.advance(7)
    assert health.broke("poll") == 7
    assert health.reasons() == ["poll fails because of a bug: see the log"]
    health.worked("poll")
    assert health.reasons() == []
