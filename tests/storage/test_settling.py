"""What time alone decides."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, insert, select

from quota_watch.storage import attempts, deliveries, outbox
from quota_watch.storage.attempts import FailingChannel
from quota_watch.storage.claims import LEASE, new_token
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import Delivery
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
    story,
    take,
)

DAY = timedelta(days=1)


@pytest.fixture
def acme(database: Database) -> int:
    return story(database)


def settle(database: Database, *channels: str, now: datetime) -> list[Delivery]:
    with database.write() as connection:
        return attempts.settle(connection, channels, now=now)


def failing(database: Database, *channels: str, now: datetime) -> list[FailingChannel]:
    with database.read() as connection:
        return attempts.failing_channels(connection, channels or ("hook",), now=now)


def test_what_no_config_has_a_channel_for_fails_after_a_day(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    assert settle(database, "phone", now=START + DAY - MINUTE) == []
    (gone,) = settle(database, "phone", now=START + DAY)
    assert (gone.channel, reasons(database)) == ("hook", ["no_channel"])


def test_what_some_daemon_still_names_the_channel_of_is_kept(database: Database, acme: int) -> None:
    put(database, envelope(acme, not_before=START + 9 * DAY))
    for hours in range(0, 48, 6):
        settle(database, "hook", now=START + hours * HOUR)
        assert settle(database, "phone", now=START + hours * HOUR) == []
    assert reasons(database) == [None]


def test_a_daemon_that_slept_for_days_keeps_its_own(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    assert settle(database, "hook", now=START + 5 * DAY) == []
    assert reasons(database) == [None]


def test_what_is_under_way_is_not_given_up(database: Database, acme: int) -> None:
    put(database, envelope(acme, expires_at=START + DAY))
    now = START + DAY - LEASE / 2
    take(database, now=now)
    assert settle(database, "phone", now=now + LEASE / 4) == []
    assert reasons(database) == [None]


def test_what_a_new_period_overtook_is_dropped_on_every_channel(
    database: Database, acme: int
) -> None:
    put(database, *(envelope(acme, channel=name, expires_at=START + DAY) for name in "ab"))
    settle(database, "a", "b", now=START + DAY)
    assert reasons(database) == ["superseded", "superseded"]


def test_what_is_critical_is_told_elsewhere_after_ten_minutes_of_failing(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, severity="critical"))
    now = START + HOUR  # what counts is the first attempt
    later(database, take(database, now=now), now=now)
    assert settle(database, "hook", now=now + 10 * MINUTE - MINUTE) == []
    (late,) = settle(database, "hook", now=now + 10 * MINUTE)
    assert late.transition_id == f"tr_{acme}_{FIRED}"


@pytest.mark.parametrize(
    "changes", [{"severity": "warning"}, {"type_": RESOLVED}, {"fallback_for": "mail"}]
)
def test_nothing_else_is_told_elsewhere_while_it_is_tried(
    database: Database, acme: int, changes: dict
) -> None:
    put(database, envelope(acme, **{"severity": "critical", **changes}))
    later(database, take(database))
    assert settle(database, "hook", now=START + 9 * HOUR) == []


def test_what_a_channel_that_stalls_never_got_to_is_told_elsewhere_in_time_too(
    database: Database, acme: int
) -> None:
    """Attempts of half a minute each reach twenty of a hundred in ten minutes."""
    put(database, envelope(acme, severity="critical"))
    later(database, take(database))
    put(database, envelope(story(database, 2), severity="critical"))
    assert len(settle(database, "hook", now=START + 10 * MINUTE)) == len("12")


def test_what_nobody_was_there_to_attempt_is_told_nowhere_else(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, severity="critical"))
    assert settle(database, "hook", now=START + HOUR) == []


@pytest.mark.parametrize("attempted", [True, False])
def test_what_waits_for_a_time_from_before_the_clock_went_back_is_due(
    database: Database, acme: int, attempted: bool
) -> None:
    put(database, envelope(acme, next_at=START + MINUTE), now=START)
    if attempted:
        now = START + MINUTE
        later(database, take(database, now=now), now=now)
    settle(database, "hook", now=START - 2 * HOUR)
    assert claim(database, now=START - 2 * HOUR) is not None


def test_a_wait_that_is_meant_is_waited(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    later(database, take(database), at=START + 6 * HOUR)
    settle(database, "hook", now=START + MINUTE)
    assert claim(database, now=START + HOUR) is None


def test_what_was_never_attempted_is_not_failing(database: Database, acme: int) -> None:
    put(database, envelope(acme, severity="critical"))
    assert settle(database, "hook", now=START + HOUR) == []
    assert failing(database, now=START + HOUR) == []


@pytest.mark.parametrize(("severity", "patience"), [("critical", 10 * MINUTE), ("info", HOUR)])
def test_a_channel_fails_when_its_patience_is_over(
    database: Database, acme: int, severity: str, patience: timedelta
) -> None:
    put(database, envelope(acme, severity=severity))
    later(database, take(database))
    assert failing(database, now=START + patience - MINUTE) == []
    assert failing(database, now=START + patience) == [
        FailingChannel(name="hook", since=START, attempts=1, last_error="refused")
    ]


def test_a_channel_fails_that_refused_something_for_good(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    failed(database, take(database))
    (found,) = failing(database, now=START + DAY)
    assert (found.name, found.last_error) == ("hook", "gone")
    assert failing(database, "phone", now=START + DAY) == []


def test_a_refusal_is_noted_for_ten_minutes_though_the_channel_works(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme), envelope(None, "alert.other"))
    failed(database, take(database))
    done(database, take(database), now=START + MINUTE)
    assert len(failing(database, now=START + 9 * MINUTE)) == 1
    assert failing(database, now=START + 10 * MINUTE) == []


def test_a_recipient_that_is_refused_fails_the_channel_though_others_are_reached(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, recipient="gone@acme.example"))
    put(database, envelope(acme, ESCALATED, recipient="anna@acme.example"))
    failed(database, take(database))
    done(database, take(database), now=START + MINUTE)
    assert len(failing(database, now=START + HOUR)) == 1


@pytest.mark.parametrize("is_final", [False, True])
def test_a_test_that_fails_is_no_sign_of_a_bad_channel(database: Database, is_final: bool) -> None:
    put(database, envelope(None, "test"))
    (failed if is_final else later)(database, take(database))
    assert failing(database, now=START + 2 * HOUR) == []


def test_what_no_channel_was_there_for_is_no_sign_of_a_bad_one(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme))
    settle(database, now=START + DAY)
    assert failing(database, now=START + DAY) == []


def finished_rows(n: int) -> list[dict]:
    row = {
        "channel": "hook", "recipient": "", "type": FIRED, "severity": "critical", "facts": {},
        "state": "done", "attempts": 1, "next_at": START, "created_at": START, "batch": "digest",
    }  # fmt: skip
    return [row | {"id": f"m{i}", "transition_id": f"t{i}"} for i in range(n)]


@pytest.mark.parametrize("open_database", ["sqlite"], indirect=True)
def test_what_is_finished_costs_nothing_to_look_past(database: Database, tmp_path: Path) -> None:
    """Every look at the outbox goes by an index, however many finished rows there are."""
    asked: list[tuple[str, object]] = []
    put(database, envelope(story(database), severity="critical", batch="digest"))
    with database.write() as connection:
        connection.execute(insert(delivery), finished_rows(2000))
        connection.exec_driver_sql("ANALYZE")

    def note(_connection, _cursor, statement, parameters, *_) -> None:
        asked.append((statement, parameters))

    with database.write() as connection:
        event.listen(connection, "before_cursor_execute", note)
        outbox.due_channels(connection, ["hook"], now=START)
        deliveries.hasten(connection, ["hook"], now=START)
        deliveries.count_pending(connection)
        attempts.settle(connection, ["hook"], now=START)
        attempts.failing_channels(connection, ["hook"], now=START)
        assert outbox.claim(connection, "hook", token=new_token(), now=START)
        event.remove(connection, "before_cursor_execute", note)
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            scans = [step.detail for step in plan if "SCAN delivery" in step.detail]
            assert scans == [], json.dumps(statement)


def test_finished_rows_are_in_the_order_in_which_they_finished(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme))
    done(database, take(database), now=START + MINUTE)
    with database.read() as connection:
        assert connection.scalar(select(delivery.c.next_at)) == START + MINUTE
