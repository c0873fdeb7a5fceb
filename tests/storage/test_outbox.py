"""What is kept of attempts, and what follows from how they went."""

import pytest
from sqlalchemy import select

from quota_watch.storage import attempts
from quota_watch.storage.database import Database
from quota_watch.storage.schema import delivery
from support.clock import START
from support.posting import (
    ESCALATED,
    FIRED,
    HOUR,
    MINUTE,
    RESOLVED,
    claim,
    done,
    envelope,
    failed,
    later,
    put,
    reasons,
    split,
    states,
    story,
    take,
)


@pytest.fixture
def acme(database: Database) -> int:
    return story(database)


def log(database: Database) -> list[dict]:
    with database.read() as connection:
        return connection.scalar(select(delivery.c.log))


def test_every_attempt_is_kept_with_time_status_error_and_outcome(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme))
    later(database, take(database))
    done(database, take(database, now=START + MINUTE), now=START + MINUTE)
    assert log(database) == [
        {"at": "2026-03-01T00:00:00Z", "status": 503, "error": "refused", "outcome": "retry"},
        {"at": "2026-03-01T00:01:00Z", "status": None, "error": None, "outcome": "accepted"},
    ]


def test_of_many_attempts_the_first_and_the_last_are_kept(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    times = [START + n * HOUR for n in range(25)]
    for now in times:
        later(database, take(database, now=now), now=now, at=now + HOUR)
    kept = [entry["at"] for entry in log(database)]
    assert kept == [f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (times[0], *times[-19:])]


def test_what_is_over_says_why(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, FIRED, channel="phone"))
    put(database, envelope(acme, RESOLVED))
    failed(database, take(database))
    done(database, take(database, "phone"))
    assert reasons(database) == ["refused", "delivered", "pointless"]


def test_the_end_of_a_story_nobody_heard_of_is_not_told(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, RESOLVED))
    put(database, envelope(acme, RESOLVED, channel="phone"))
    failed(database, take(database))
    assert states(database) == [(FIRED, "failed"), (RESOLVED, "dropped"), (RESOLVED, "pending")]


def test_the_end_is_told_where_a_later_step_may_still_be_heard(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED), envelope(acme, RESOLVED))
    failed(database, take(database))
    done(database, take(database))
    assert take(database).rows[0].type == RESOLVED


def test_the_end_is_not_told_once_no_step_was_heard(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED), envelope(acme, RESOLVED))
    failed(database, take(database))
    failed(database, take(database))
    assert [state for _, state in states(database)] == ["failed", "failed", "dropped"]


def test_the_end_is_told_to_who_heard_the_beginning(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED), envelope(acme, RESOLVED))
    done(database, take(database))
    failed(database, take(database))
    assert take(database).rows[0].type == RESOLVED


def test_all_rows_of_a_message_share_its_fate(database: Database) -> None:
    put(database, *(envelope(story(database, n), batch="digest") for n in range(3)))
    assert done(database, take(database))
    assert {state for _, state in states(database)} == {"done"}


def test_a_message_that_is_split_keeps_why(database: Database) -> None:
    put(database, *(envelope(story(database, n), batch="digest") for n in range(2)))
    assert split(database, take(database))
    assert [entry["outcome"] for entry in log(database)] == ["split"]


def test_what_a_later_period_overtook_is_dropped_and_not_sent(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, expires_at=START + HOUR))
    assert claim(database, now=START + HOUR) is None
    assert reasons(database) == ["superseded"]


def test_what_is_under_way_when_its_period_ends_is_not_dropped(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, expires_at=START + HOUR))
    now = START + HOUR - MINUTE / 2
    message = take(database, now=now)
    with database.write() as connection:
        assert attempts.drop_expired(connection, now=START + HOUR) == 0
    assert done(database, message, now=START + HOUR)
