import threading

import pytest

from quota_watch.web.server import DatabaseHealth
from support.clock import FakeClock


@pytest.fixture
def health(sqlite, clock):
    return DatabaseHealth(sqlite, clock)


def break_it(database) -> None:
    database.close()
    database.path.unlink()
    database.path.mkdir()


def test_a_database_that_takes_a_write_is_healthy(health):
    assert health() == []


def test_one_that_does_not_is_told_with_the_reason(sqlite, health):
    break_it(sqlite)
    (reason,) = health()
    assert "unable to open database file" in reason


def test_it_is_tried_again_after_five_seconds_and_not_before(sqlite, health, clock: FakeClock):
    health()
    break_it(sqlite)
    clock.advance(4)
    assert health() == []
    clock.advance(1)
    assert health() != []


def test_while_one_try_takes_long_others_are_told_so_at_once(sqlite, health, clock: FakeClock):
    with sqlite.write():  # nobody else can write meanwhile
        waiting = threading.Thread(target=health)
        waiting.start()
        while not health._trying.locked():
            pass
        clock.advance(6)
        assert health() == ["the database is slow to accept a write"]
    waiting.join(10)
    assert health() == []
