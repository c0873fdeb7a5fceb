"""Before the watch begins: a server that is not up yet, and clocks that differ."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta

import pytest

from quota_watch.lib.machine import Clock
from quota_watch.service.health import Notifier, clocks_apart
from quota_watch.service.service import wait_for_database
from quota_watch.storage import StorageError
from quota_watch.storage.database import Database
from support.clock import FakeClock
from support.faults import nobody_let_in
from support.postgres import Postgres

SILENT = Notifier({})


@pytest.fixture
def server(postgres_url: str) -> Iterator[Database]:
    with closing(Database(postgres_url)) as database:
        yield database


def test_a_server_that_is_not_up_yet_is_waited_for_with_one_line(
    server: Database, postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with ExitStack() as down:
        down.enter_context(nobody_let_in(postgres_server, server))
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                down.close()

        wait_for_database(server, notifier=SILENT, sleep=pause)
    assert pauses == [5.0] * 3
    assert [record.message for record in caplog.records] == [
        "waiting for the database",
        "database answers again",
    ]


def test_a_database_that_does_not_exist_is_not_waited_for(postgres_server: Postgres) -> None:
    with (
        closing(Database(postgres_server.url("nowhere"))) as database,
        pytest.raises(StorageError, match="create it first"),
    ):
        wait_for_database(database, notifier=SILENT, sleep=pytest.fail)


def test_a_file_is_nothing_to_wait_for_and_is_not_made_by_waiting(sqlite_url: str) -> None:
    with closing(Database(sqlite_url)) as database:
        wait_for_database(database, notifier=SILENT, sleep=pytest.fail)
        assert database.path is not None
        assert not database.path.exists()


def test_clocks_that_agree_are_nothing_to_tell(server: Database) -> None:
    assert clocks_apart(server, Clock()) is None


@pytest.mark.parametrize(
    ("seconds", "words"), [(3600, "3600 s ahead of"), (-60, "60 s behind that of")]
)
def test_a_clock_that_differs_from_the_server_s_is_told(
    server: Database, seconds: int, words: str
) -> None:
    clock = FakeClock(datetime.now(UTC) + timedelta(seconds=seconds))
    assert words in (clocks_apart(server, clock) or "")


def test_a_file_has_no_clock(sqlite_url: str) -> None:
    with closing(Database(sqlite_url)) as database:
        assert clocks_apart(database, FakeClock()) is None
