from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from quota_watch.storage.database import Database
from quota_watch.storage.migrate import upgrade
from quota_watch.storage.retention import Keep, thin_out
from quota_watch.storage.schema import day_usage, organization, snapshot

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
KEEP = Keep(snapshots=timedelta(days=400), days=timedelta(days=1830))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    upgrade(database)
    with database.write() as connection:
        row = {"server": "s", "id": "a", "name": "a", "next_at": NOW}
        connection.execute(
            insert(organization).values(
                pk=1, **row, limit_source="none", drops=False, failed_polls=0
            )
        )
    yield database
    database.close()


def polled(database: Database, *, days: range, every: timedelta) -> None:
    """Keep a snapshot at every step of the days that lie so far back."""
    first, last = NOW - timedelta(days=days.stop), NOW - timedelta(days=days.start)
    moments = [first + n * every for n in range((last - first) // every)]
    rows = [{"organization_pk": 1, "at": at, "used": 1, "today": 1} for at in moments]
    with database.write() as connection:
        connection.execute(insert(snapshot), rows)


def moments(database: Database) -> list[datetime]:
    with database.read() as connection:
        return list(connection.scalars(select(snapshot.c.at).order_by(snapshot.c.at)))


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
        row = {"server": "s", "id": "a", "name": "a", "next_at": NOW}
        connection.execute(
            insert(organization).values(
                pk=1, **row, limit_source="none", drops=False, failed_polls=0
            )
        )
    polled(database, days=range(8, 200), every=timedelta(minutes=15))
    before = pages(database)
    thin_out(database, keep=KEEP, now=NOW)
    assert pages(database) < before / 2
    database.close()
