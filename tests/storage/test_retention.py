from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, func, insert, select

from quota_watch.config.models import DatabaseTable
from quota_watch.storage.database import Database
from quota_watch.storage.schema import day_usage, organization, snapshot
from quota_watch.storage.upkeep import thin_out, upgrade

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
KEEP = DatabaseTable()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    upgrade(database)
    with database.write() as connection:
        watched(connection, 1)
        watched(connection, 2)
        polls = [{"organization_pk": 2, "at": NOW - timedelta(days=n)} for n in range(1, 4)]
        connection.execute(insert(snapshot), [{**each, "used": 1, "today": 1} for each in polls])
    yield database
    database.close()


def watched(connection: Connection, pk: int) -> None:
    row = {"server": "s", "id": str(pk), "name": "a", "next_at": NOW, "last_ok": NOW}
    connection.execute(
        insert(organization).values(pk=pk, **row, limit_source="none", drops=False, failed_polls=0)
    )


def polled(database: Database, *, days: range, every: timedelta) -> None:
    """Keep a snapshot at every step of the days that lie so far back."""
    first, last = NOW - timedelta(days=days.stop), NOW - timedelta(days=days.start)
    moments = [first + n * every for n in range((last - first) // every)]
    rows = [{"organization_pk": 1, "at": at, "used": 1, "today": 1} for at in moments]
    with database.write() as connection:
        connection.execute(insert(snapshot), rows)


def moments(database: Database) -> list[datetime]:
    with database.read() as connection:
        own = select(snapshot.c.at).where(snapshot.c.organization_pk == 1)
        return list(connection.scalars(own.order_by(snapshot.c.at)))


def pages(database: Database) -> int:
    with database.read() as connection:
        return connection.exec_driver_sql("PRAGMA page_count").scalar_one()


def test_snapshots_of_the_last_seven_days_are_all_kept(database: Database) -> None:
    polled(database, days=range(7), every=timedelta(minutes=15))
    assert thin_out(database, keep=KEEP, now=NOW) == 0
    assert len(moments(database)) == 7 * 96


def test_after_seven_days_the_last_of_each_hour_stays(database: Database) -> None:
    polled(database, days=range(10, 11), every=timedelta(minutes=15))
    thin_out(database, keep=KEEP, now=NOW)
    assert [moment.minute for moment in moments(database)] == [45] * 24


def test_after_sixty_days_the_last_of_each_day_stays(database: Database) -> None:
    polled(database, days=range(70, 73), every=timedelta(hours=1))
    thin_out(database, keep=KEEP, now=NOW)
    kept = moments(database)
    assert len({moment.date() for moment in kept}) == len(kept) == 4


def test_in_the_end_nothing_is_kept(database: Database) -> None:
    polled(database, days=range(401, 403), every=timedelta(hours=1))
    with database.write() as connection:
        old = {"organization_pk": 1, "date": (NOW - timedelta(days=1831)).date()}
        connection.execute(
            insert(day_usage).values(**old, counts={}, used=0, capped=False, seen_at=NOW)
        )
    thin_out(database, keep=KEEP, now=NOW)
    assert moments(database) == []
    with database.read() as connection:
        assert connection.scalar(select(day_usage.c.date)) is None


def test_a_clock_that_was_wrong_once_ends_nothing(database: Database) -> None:
    polled(database, days=range(50), every=timedelta(hours=3))
    with database.write() as connection:
        rows = [
            {"organization_pk": 1, "date": (NOW - timedelta(days=n)).date()} for n in range(385)
        ]
        values = {"counts": {}, "used": 0, "capped": False, "seen_at": NOW}
        connection.execute(insert(day_usage), [row | values for row in rows])
    wrong = datetime(2033, 1, 1, tzinfo=UTC)
    with database.write() as connection:
        for pk in (1, 2):  # the polls that were made by it
            connection.execute(
                insert(snapshot).values(organization_pk=pk, at=wrong, used=1, today=1)
            )
    thin_out(database, keep=KEEP, now=wrong + timedelta(hours=1))
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(day_usage)) == 385
    assert len(moments(database)) > 170


def test_a_stop_leaves_the_rest_for_the_next_time(database: Database) -> None:
    polled(database, days=range(10, 11), every=timedelta(minutes=15))
    assert thin_out(database, keep=KEEP, now=NOW, stopped=lambda: True) == 0
    assert len(moments(database)) == 96


def test_thinning_again_changes_nothing(database: Database) -> None:
    polled(database, days=range(5, 65), every=timedelta(hours=3))
    thin_out(database, keep=KEEP, now=NOW)
    kept = moments(database)
    assert thin_out(database, keep=KEEP, now=NOW) == 0
    assert moments(database) == kept


def test_a_sqlite_file_gives_space_back(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    upgrade(database)
    with database.write() as connection:
        watched(connection, 1)
        watched(connection, 2)
        polls = [{"organization_pk": 2, "at": NOW - timedelta(days=n)} for n in range(1, 4)]
        connection.execute(insert(snapshot), [{**each, "used": 1, "today": 1} for each in polls])
    polled(database, days=range(8, 200), every=timedelta(minutes=15))
    before = pages(database)
    thin_out(database, keep=KEEP, now=NOW)
    assert pages(database) < before / 2
    database.close()
