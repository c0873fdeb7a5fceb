from datetime import time

import pytest
from sqlalchemy import select, update

from quota_watch.model.schedule import QuietHours
from quota_watch.storage import deliveries
from quota_watch.storage.database import Database
from quota_watch.storage.schema import delivery
from support.clock import START
from support.posting import (
    FIRED,
    HOUR,
    MINUTE,
    done,
    due,
    envelope,
    failed,
    later,
    put,
    reasons,
    states,
    story,
    take,
)


@pytest.fixture
def acme(database: Database) -> int:
    return story(database)


def test_what_was_put_is_claimed_as_it_was(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    claimed = take(database)
    (row,) = claimed.rows
    assert row.facts == {"used": 10**17, "odd": "\x00 \ud800 ü"}
    assert (claimed.id, claimed.attempts) == (f"msg_{acme}_{FIRED}_hook_", 0)
    assert claimed.created_at == START


def test_what_is_for_the_sender_alone_is_kept_beside_the_facts(
    database: Database, acme: int
) -> None:
    quiet = QuietHours(start=time(22), end=time(6, 30), time_zone="Europe/Berlin")
    put(database, envelope(acme, quiet=quiet, fallback=("phone", "fax")))
    (row,) = take(database, now=START + 12 * HOUR).rows
    assert (row.quiet, row.fallback) == (quiet, ("phone", "fax"))
    assert row.facts.keys() == {"used", "odd"}


def test_the_same_thing_is_put_for_the_same_receiver_once(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme))
    put(database, envelope(acme, id="another"), envelope(acme, recipient="anna@acme.example"))
    with database.read() as connection:
        assert deliveries.count_pending(connection) == 2


def test_a_delivery_that_is_done_is_not_put_again(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    done(database, take(database))
    put(database, envelope(acme))
    assert states(database) == [(FIRED, "done")]


def test_what_waits_for_company_goes_now_when_it_is_hastened(database: Database, acme: int) -> None:
    put(database, envelope(acme, next_at=START + MINUTE), envelope(None, channel="phone"))
    assert due(database, "hook") == set()
    with database.write() as connection:
        deliveries.hasten(connection, ["hook"], now=START)
    assert due(database, "hook") == {"hook"}


def test_neither_a_retry_nor_what_quiet_hours_hold_is_hastened(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme), envelope(None, channel="mail", not_before=START + HOUR))
    later(database, take(database))
    with database.write() as connection:
        deliveries.hasten(connection, ["hook", "mail"], now=START)
    assert due(database, "hook", "mail") == set()


def test_who_heard_or_will_hear_of_a_story_is_known(database: Database, acme: int) -> None:
    put(database, *(envelope(acme, channel=name) for name in ("done", "pending", "failed")))
    done(database, take(database, "done"))
    failed(database, take(database, "failed"))
    with database.read() as connection:
        assert deliveries.receivers_of(connection, acme) == {("done", ""), ("pending", "")}


def test_who_heard_of_a_story_as_a_fallback_is_known(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone", fallback_for="hook"))
    with database.read() as connection:
        assert deliveries.receivers_of(connection, acme, as_fallback=True) == {("phone", "")}


def test_failed_ones_are_tried_again_like_new(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    failed(database, take(database))
    with database.write() as connection:
        found = deliveries.retry(connection, None, now=START + MINUTE)
        assert deliveries.retry(connection, None, now=START + MINUTE) == []
    assert reasons(database) == [None]
    claimed = take(database, now=START + MINUTE)
    assert found == [claimed.id]
    assert (claimed.attempts, claimed.created_at) == (0, START + MINUTE)


def test_only_the_failed_ones_that_are_named_are_tried_again(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"), envelope(acme, channel="fax"))
    failed(database, take(database))
    failed(database, take(database, "phone"))
    ids = [f"msg_{acme}_{FIRED}_{name}_" for name in ("phone", "fax", "nowhere")]
    with database.write() as connection:
        assert deliveries.retry(connection, ids, now=START) == ids[:1]


def test_what_is_tried_again_by_hand_is_sent_though_its_period_is_over(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, expires_at=START + HOUR))
    failed(database, take(database))
    with database.write() as connection:
        deliveries.retry(connection, None, now=START + 2 * HOUR)
    assert due(database, "hook", now=START + 2 * HOUR) == {"hook"}


def test_deliveries_are_shown_newest_first_without_their_facts(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"))
    failed(database, take(database))
    with database.read() as connection:
        rows = deliveries.rows(connection)
        assert [row.channel for row in rows] == ["phone", "hook"]
        assert len(deliveries.rows(connection, most=1)) == 1
        (row,) = deliveries.rows(connection, state=deliveries.DeliveryState.FAILED)
    assert (row.last_error, row.last_status) == ("gone", 410)
    assert not hasattr(row, "facts")


def test_pending_ones_are_counted_by_channel(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"))
    with database.write() as connection:
        connection.execute(update(delivery).values(next_at=START + MINUTE))
        assert deliveries.count_pending(connection) == 2
        assert deliveries.count_pending(connection, ["phone", "fax"]) == 1


def test_a_row_is_due_when_quiet_hours_let_it_go(database: Database, acme: int) -> None:
    put(database, envelope(acme, not_before=START + HOUR))
    with database.read() as connection:
        assert connection.scalar(select(delivery.c.next_at)) == START + HOUR
