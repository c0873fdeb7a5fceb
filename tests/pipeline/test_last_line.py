"""What is told where an alert can't be recorded because of a defect."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from quota_watch.pipeline.outages import LastLine
from quota_watch.storage.database import Database
from support.clock import START, FakeClock
from support.watching import RecordingChannel, Station, Upstream, watch

ALERTS_BREAK = "CREATE TRIGGER t BEFORE INSERT ON alert BEGIN SELECT RAISE(ABORT, 'boom'); END"


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(sqlite_template, tmp_path / "quota-watch.db")
    with closing(Database(f"sqlite:///{tmp_path / 'quota-watch.db'}")) as database:
        yield database


def broken_for(database: Database, name: str) -> None:
    """Let no alert of one organization be written."""
    with database.write() as connection:
        pk = connection.scalar(text("SELECT pk FROM organization WHERE name = :n"), {"n": name})
        only = ALERTS_BREAK.replace("BEGIN SELECT", f"WHEN NEW.organization_pk = {pk} BEGIN SELECT")
        connection.exec_driver_sql(only)


def station(database: Database, clock: FakeClock, hook: RecordingChannel, **changes) -> Station:
    upstream, watched = Upstream(), [watch("acme", **changes), watch("busy")]
    for each in watched:
        for day in range(3):
            upstream.set(each, START.date() + timedelta(days=day), pageview=92 if day == 0 else 0)
    return Station(database, upstream, watched, clock, channels=[hook])


def test_an_organization_whose_alert_breaks_is_told_of_plainly_and_the_others_as_ever(
    database: Database, clock: FakeClock
) -> None:
    hook = RecordingChannel()
    polls = station(database, clock, hook)
    broken_for(database, "acme")
    polls.cycle()
    assert hook.told() == [("busy", "fired", 90)]
    (notice,) = hook.notices
    assert notice.title == "Critical: quota-watch itself failed on acme"
    assert "- acme (org_acme)" in notice.text


def test_it_is_said_once_a_day_whoever_starts_anew(database: Database, clock: FakeClock) -> None:
    hook = RecordingChannel()
    station(database, clock, hook).cycle()
    broken_for(database, "acme")
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM delivery")
        connection.exec_driver_sql("DELETE FROM alert")
    for hours in (1, 2, 3, 24):
        clock.advance(timedelta(hours=hours))
        station(database, clock, hook).cycle()
    assert len(hook.notices) == 2


def test_the_fallback_hears_it_too(database: Database, clock: FakeClock) -> None:
    phone = RecordingChannel("phone")
    polls = station(database, clock, phone, fallback=("phone",))
    broken_for(database, "acme")
    polls.cycle()
    assert len(phone.notices) == 1


def last_line(database: Database, clock: FakeClock, hook: RecordingChannel, memory: Path):
    return LastLine(
        database=database,
        channels={"hook": hook},
        clock=clock,
        unrecorded=lambda _: None,
        memory=memory,
    )


def test_what_fails_for_all_is_said_once_a_day_whoever_starts_anew(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    hook = RecordingChannel()
    for hours in (0, 1, 2, 24):
        clock.advance(timedelta(hours=hours))
        last_line(database, clock, hook, tmp_path / "memory").note_all("poll")
    assert [notice.title for notice in hook.notices] == [
        "Critical: quota-watch itself failed and watches nothing"
    ] * 2


def test_where_the_database_can_not_keep_the_day_a_file_does(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    hook = RecordingChannel()
    database.close()
    (tmp_path / "quota-watch.db").unlink()
    for _ in range(2):
        last_line(database, clock, hook, tmp_path / "memory").note([1], {1: watch("acme")})
    assert len(hook.notices) == 1


def test_where_nothing_can_be_kept_nothing_is_said(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    hook = RecordingChannel()
    last_line(database, clock, hook, tmp_path / "missing" / "memory").note_all("poll")
    assert hook.notices == []


def test_a_memory_that_is_none_of_ours_is_replaced(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    hook = RecordingChannel()
    for content in ("", "[1]", '{"day": 1}'):
        (tmp_path / "memory").write_text(content)
        last_line(database, clock, hook, tmp_path / "memory").note_all("poll")
    assert len(hook.notices) == 3
