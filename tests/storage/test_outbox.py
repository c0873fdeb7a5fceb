from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from quota_watch.storage import outbox
from quota_watch.storage.claims import LEASE
from quota_watch.storage.database import Database
from quota_watch.storage.outbox import ClaimedDelivery, Envelope
from quota_watch.storage.schema import alert, delivery
from support.clock import START
from support.threads import all_at_once

MINUTE = timedelta(minutes=1)
FIRED, ESCALATED, RESOLVED = "alert.fired", "alert.escalated", "alert.resolved"


def story(database: Database, number: int = 1) -> int:
    row = {
        "key": f"story {number}", "id": f"al_{number}", "rule": "threshold", "severity": "info",
        "period_start": START.date(), "occurrence": 1, "reason": "level_reached", "title": "",
        "summary": "", "started_at": START, "transitions": [],
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(alert.insert().values(row))
        return connection.scalar(select(alert.c.pk).where(alert.c.key == row["key"]))


@pytest.fixture
def acme(database: Database) -> int:
    return story(database)


def envelope(of: int | None, type_: str = FIRED, **changes) -> Envelope:
    channel, recipient = changes.get("channel", "hook"), changes.get("recipient", "")
    values = {
        "id": f"msg_{of}_{type_}_{channel}_{recipient}",
        "transition_id": f"tr_{of}_{type_}",
        "alert_pk": of,
        "channel": channel,
        "recipient": recipient,
        "type": type_,
        "severity": "info",
        "facts": {"used": 10**17, "odd": "\x00 \ud800 ü"},
    }
    return Envelope(**(values | changes))


def put(database: Database, *envelopes: Envelope, now=START) -> None:
    with database.write() as connection:
        outbox.put(connection, envelopes, now=now)


def claim(database: Database, channel: str = "hook", *, now=START) -> ClaimedDelivery | None:
    with database.write() as connection:
        return outbox.claim_next(connection, channel, now=now)


def take(database: Database, channel: str = "hook", *, now=START) -> ClaimedDelivery:
    claimed = claim(database, channel, now=now)
    assert claimed is not None
    return claimed


def done(database: Database, claimed: ClaimedDelivery) -> bool:
    with database.write() as connection:
        return outbox.mark_done(connection, claimed, now=START)


def later(database: Database, claimed: ClaimedDelivery, at=START + MINUTE) -> bool:
    with database.write() as connection:
        return outbox.mark_retry(connection, claimed, at=at, error="refused", status=503)


def failed(database: Database, claimed: ClaimedDelivery) -> bool:
    with database.write() as connection:
        return outbox.mark_failed(connection, claimed, now=START, error="gone", status=410)


def states(database: Database) -> list[tuple[str, str]]:
    with database.read() as connection:
        query = select(delivery.c.type, delivery.c.state).order_by(delivery.c.pk)
        return [tuple(row) for row in connection.execute(query)]


def due(database: Database, *channels: str, now=START) -> set[str]:
    with database.read() as connection:
        return outbox.due_channels(connection, channels, now=now)


def test_what_was_put_is_claimed_as_it_was(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    claimed = take(database)
    assert claimed.facts == {"used": 10**17, "odd": "\x00 \ud800 ü"}
    assert (claimed.id, claimed.attempts) == (f"msg_{acme}_{FIRED}_hook_", 0)
    assert claimed.created_at == START


def test_what_is_critical_is_claimed_before_an_older_backlog(database: Database) -> None:
    put(database, envelope(story(database, 1)), envelope(story(database, 2)))
    urgent = envelope(story(database, 3), severity="critical")
    put(database, urgent, now=START + MINUTE)
    assert take(database, now=START + MINUTE).id == urgent.id


def test_the_same_thing_is_put_for_the_same_receiver_once(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme))
    put(database, envelope(acme, id="another"), envelope(acme, recipient="anna@acme.example"))
    with database.read() as connection:
        assert outbox.count_pending(connection) == 2


def test_a_delivery_that_is_done_is_not_put_again(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    done(database, take(database))
    put(database, envelope(acme))
    assert states(database) == [(FIRED, "done")]


def test_a_claim_holds_for_its_lease(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    first = take(database)
    for now in (START - MINUTE, START, START + LEASE - timedelta(milliseconds=1)):
        assert claim(database, now=now) is None
    assert take(database, now=START + LEASE).token != first.token


def test_a_claim_from_before_the_clock_went_back_does_not_hold(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme))
    take(database)
    assert claim(database, now=START - timedelta(days=1)) is not None


def test_what_a_lost_claim_brought_is_not_kept(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    old, new = take(database), take(database, now=START + LEASE)
    assert not done(database, old)
    assert not later(database, old)
    assert not failed(database, old)
    assert states(database) == [(FIRED, "pending")]
    assert done(database, new)


def test_of_workers_that_race_one_claims_a_delivery(
    open_database: Callable[[], Database], database: Database, acme: int
) -> None:
    put(database, envelope(acme))
    workers = [open_database() for _ in range(4)]
    claimed = all_at_once(*(lambda who=who: claim(who) for who in workers))
    assert sorted(each is not None for each in claimed) == [False, False, False, True]


def test_the_longest_due_is_claimed_first(database: Database) -> None:
    third, first, second = (story(database, number) for number in range(3))
    for of, minutes in ((third, 2), (first, 0), (second, 1)):
        put(database, envelope(of), now=START + minutes * MINUTE)
    claimed = [take(database, now=START + 5 * MINUTE).alert_pk for _ in range(3)]
    assert claimed == [first, second, third]


def test_a_story_is_told_in_order(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED), envelope(acme, RESOLVED))
    for type_ in (FIRED, ESCALATED, RESOLVED):
        claimed = take(database)
        assert claimed.type == type_
        assert claim(database) is None
        done(database, claimed)


def test_what_will_be_retried_holds_up_its_own_story_alone(database: Database, acme: int) -> None:
    other = story(database, 2)
    put(database, envelope(acme, FIRED), envelope(acme, RESOLVED), envelope(other))
    later(database, take(database))
    assert take(database).alert_pk == other
    assert claim(database) is None


@pytest.mark.parametrize("changes", [{"channel": "phone"}, {"recipient": "anna@acme.example"}])
def test_a_receiver_waits_for_no_other(database: Database, acme: int, changes: dict) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, RESOLVED, **changes))
    later(database, take(database))
    assert take(database, changes.get("channel", "hook")).type == RESOLVED


def test_tests_wait_for_nothing(database: Database) -> None:
    put(database, envelope(None, "one"), envelope(None, "two"))
    assert {take(database).type, take(database).type} == {"one", "two"}


def test_a_channel_is_due_while_there_is_something_to_attempt(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"))
    assert due(database, "hook", "phone", "fax") == {"hook", "phone"}
    assert due(database, "hook") == {"hook"}
    take(database)
    assert due(database, "hook", "phone") == {"phone"}


def test_a_channel_is_not_due_for_what_waits_for_its_story(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, RESOLVED))
    later(database, take(database))
    assert due(database, "hook") == set()
    assert due(database, "hook", now=START + MINUTE) == {"hook"}


def test_a_retry_comes_at_its_time(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    later(database, take(database))
    assert claim(database) is None
    assert take(database, now=START + MINUTE).attempts == 1


def test_a_retry_from_before_the_clock_went_back_is_due(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    later(database, take(database))
    assert claim(database, now=START - timedelta(days=1)) is not None


def test_a_success_lets_the_channel_s_waiting_ones_go_now(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"))
    later(database, take(database))
    later(database, take(database, "phone"))
    with database.write() as connection:
        outbox.make_due(connection, "hook", now=START)
    assert due(database, "hook", "phone") == {"hook"}


def test_the_end_of_a_story_nobody_heard_of_is_not_told(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, RESOLVED))
    put(database, envelope(acme, RESOLVED, channel="phone"))
    failed(database, take(database))
    assert states(database) == [(FIRED, "failed"), (RESOLVED, "failed"), (RESOLVED, "pending")]


def test_the_end_is_told_where_a_later_step_may_still_be_heard(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED), envelope(acme, RESOLVED))
    failed(database, take(database))
    done(database, take(database))
    assert take(database).type == RESOLVED


def test_the_end_is_not_told_once_no_step_was_heard(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED), envelope(acme, RESOLVED))
    failed(database, take(database))
    failed(database, take(database))
    assert [state for _, state in states(database)] == ["failed"] * 3


def test_the_end_is_told_to_who_heard_the_beginning(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED), envelope(acme, RESOLVED))
    done(database, take(database))
    failed(database, take(database))
    assert take(database).type == RESOLVED


def test_who_heard_or_will_hear_of_a_story_is_known(database: Database, acme: int) -> None:
    put(database, *(envelope(acme, channel=name) for name in ("done", "pending", "failed")))
    done(database, take(database, "done"))
    failed(database, take(database, "failed"))
    with database.read() as connection:
        assert outbox.channels_told(connection, acme) == {("done", ""), ("pending", "")}


def test_failed_ones_are_tried_again_like_new(database: Database, acme: int) -> None:
    put(database, envelope(acme))
    failed(database, take(database))
    with database.write() as connection:
        found = outbox.retry(connection, None, now=START + MINUTE)
        assert outbox.retry(connection, None, now=START + MINUTE) == []
    claimed = take(database, now=START + MINUTE)
    assert found == [claimed.id]
    assert (claimed.attempts, claimed.created_at) == (0, START + MINUTE)


def test_only_the_failed_ones_that_are_named_are_tried_again(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"), envelope(acme, channel="fax"))
    failed(database, take(database))
    failed(database, take(database, "phone"))
    ids = [f"msg_{acme}_{FIRED}_{name}_" for name in ("phone", "fax", "nowhere")]
    with database.write() as connection:
        assert outbox.retry(connection, ids, now=START) == ids[:1]


def test_deliveries_are_shown_newest_first_without_their_facts(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"))
    failed(database, take(database))
    with database.read() as connection:
        assert [row.channel for row in outbox.rows(connection, only_failed=False)] == [
            "phone",
            "hook",
        ]
        (row,) = outbox.rows(connection, only_failed=True)
    assert (row.last_error, row.last_status) == ("gone", 410)
    assert not hasattr(row, "facts")


def test_pending_ones_are_counted_by_channel(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"))
    with database.write() as connection:
        connection.execute(update(delivery).values(next_at=START + MINUTE))
        assert outbox.count_pending(connection) == 2
        assert outbox.count_pending(connection, ["phone", "fax"]) == 1
