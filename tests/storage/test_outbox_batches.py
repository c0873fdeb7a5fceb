"""What one sender claims at a time: messages of many stories, one of each."""

from collections.abc import Callable

from quota_watch.storage import attempts
from quota_watch.storage.claims import LEASE
from quota_watch.storage.database import Database
from support.clock import START
from support.posting import (
    ESCALATED,
    FIRED,
    HOUR,
    MINUTE,
    RESOLVED,
    claim,
    claim_many,
    done,
    envelope,
    later,
    put,
    states,
    stories_of,
    story,
    take,
)


def fill(database: Database, n: int, **changes) -> list[int]:
    """Put a row of each of `n` stories."""
    found = [story(database, number) for number in range(n)]
    put(database, *(envelope(of, **changes) for of in found))
    return found


def test_as_many_are_claimed_as_are_asked_for_in_their_order(database: Database) -> None:
    first, second, *_ = fill(database, 5)
    urgent = story(database, 9)
    put(database, envelope(urgent, severity="critical"))
    claimed = claim_many(database, 3)
    assert [stories_of(message) for message in claimed] == [[urgent], [first], [second]]
    assert {message.id for message in claimed} == {message.rows[0].id for message in claimed}


def test_of_a_story_one_step_is_claimed_at_a_time(database: Database) -> None:
    one, two = fill(database, 2)
    put(database, envelope(one, ESCALATED, severity="critical"), envelope(two, RESOLVED))
    claimed = claim_many(database, 10, token="ours")
    assert [(each.rows[0].alert_pk, each.rows[0].type) for each in claimed] == [
        (one, FIRED),
        (two, FIRED),
    ]
    assert claim_many(database, 10, token="ours") == []
    done(database, claimed[0])
    assert [each.rows[0].type for each in claim_many(database, 10, token="ours")] == [ESCALATED]


def test_an_earlier_step_is_not_claimed_while_a_critical_one_that_overtook_it_is_under_way(
    database: Database,
) -> None:
    (one,) = fill(database, 1)
    put(database, envelope(one, ESCALATED, severity="critical"))
    (first,) = claim_many(database, 1)
    later(database, first, at=START + MINUTE)
    (urgent,) = claim_many(database, 1, token="ours")
    assert urgent.rows[0].type == ESCALATED
    assert claim_many(database, 1, token="ours", now=START + MINUTE / 2) == []


def test_a_sender_claims_more_while_some_of_its_own_are_under_way(
    database: Database, open_database: Callable[[], Database]
) -> None:
    fill(database, 4)
    assert len(claim_many(database, 2, token="ours")) == 2
    assert claim_many(open_database(), 2, token="another's") == []
    assert len(claim_many(database, 2, token="ours")) == 2
    assert len(claim_many(open_database(), 9, token="another's", now=START + LEASE)) == 4


def test_what_was_claimed_and_not_attempted_is_given_back_as_it_was(database: Database) -> None:
    fill(database, 3)
    one, *others = claim_many(database, 3)
    with database.write() as connection:
        attempts.give_back(connection, others)
    assert claim(database) is None
    done(database, one)
    again = claim_many(database, 3)
    assert [message.id for message in again] == [message.id for message in others]
    assert {row.log for message in again for row in message.rows} == {()}


def test_messages_of_several_rows_are_claimed_beside_each_other(database: Database) -> None:
    put(
        database,
        *(
            envelope(story(database, n), batch=f"poll {n % 2}", severity="critical")
            for n in range(6)
        ),
    )
    assert [len(message.rows) for message in claim_many(database, 10)] == [3, 3]


def test_a_message_waits_for_one_that_has_a_step_of_the_same_story(database: Database) -> None:
    one, two = story(database, 1), story(database, 2)
    put(database, envelope(two, FIRED))
    later(database, claim_many(database, 1)[0], at=START + HOUR)
    now = START + MINUTE
    put(database, envelope(one, batch="poll"), now=now)
    put(database, envelope(two, ESCALATED, batch="poll", severity="critical"), now=now)
    (message,) = claim_many(database, 10, token="ours", now=now)
    assert [(row.alert_pk, row.type) for row in message.rows] == [(two, FIRED)]
    done(database, message, now=now)
    assert stories_of(claim_many(database, 10, token="ours", now=now)[0]) == [two, one]


def test_many_that_were_accepted_are_kept_at_once(database: Database) -> None:
    fill(database, 3)
    claimed = claim_many(database, 3)
    with database.write() as connection:
        assert attempts.mark_done(connection, claimed, now=START + HOUR)
        assert not attempts.mark_done(connection, claimed, now=START + HOUR)
    assert states(database) == [(FIRED, "done")] * 3


def test_what_goes_before_something_critical_goes_with_all_that_it_went_with_before(
    database: Database,
) -> None:
    one, two = fill(database, 2, batch="digest")
    together = take(database)
    later(database, together, at=START + HOUR)
    put(database, envelope(one, ESCALATED, severity="critical"), now=START + MINUTE)
    (message,) = claim_many(database, 1, now=START + MINUTE)
    assert (message.id, stories_of(message)) == (together.id, [one, two])


def test_it_waits_for_what_of_its_other_stories_is_under_way(database: Database) -> None:
    one, two = fill(database, 2, batch="digest")
    later(database, take(database), at=START + HOUR)
    now = START + LEASE / 2
    put(database, envelope(two, ESCALATED, severity="critical"))
    (message,) = claim_many(database, 1, token="ours")
    assert [row.type for row in message.rows] == [ESCALATED]
    put(database, envelope(one, ESCALATED, severity="critical"), now=now)
    assert claim_many(database, 1, token="ours", now=now) == []
