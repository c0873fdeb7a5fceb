"""What is claimed: in which order, what together, by whom."""

from collections.abc import Callable
from datetime import time, timedelta

import pytest

from quota_watch.model.schedule import QuietHours
from quota_watch.storage import attempts, outbox
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
    done,
    due,
    envelope,
    failed,
    later,
    put,
    split,
    states,
    stories_of,
    story,
    take,
)
from support.threads import all_at_once

NIGHT = QuietHours(start=time(22), end=time(7), time_zone="UTC")


@pytest.fixture
def acme(database: Database) -> int:
    return story(database)


def fill(database: Database, n: int, **changes) -> list[int]:
    """Put a row of each of `n` stories."""
    changes = {"batch": "digest"} | changes
    found = [story(database, number) for number in range(n)]
    put(database, *(envelope(of, **changes) for of in found))
    return found


# --- one after the other ---


def test_what_is_critical_is_claimed_before_an_older_backlog(database: Database) -> None:
    put(database, envelope(story(database, 1)), envelope(story(database, 2)))
    urgent = envelope(story(database, 3), severity="critical")
    put(database, urgent, now=START + MINUTE)
    assert take(database, now=START + MINUTE).id == urgent.id


def test_the_end_of_something_critical_is_not_urgent(database: Database) -> None:
    put(database, envelope(story(database, 1)))
    put(database, envelope(story(database, 2), RESOLVED, severity="critical"), now=START + MINUTE)
    assert take(database, now=START + MINUTE).rows[0].type == FIRED


def test_the_longest_due_is_claimed_first(database: Database) -> None:
    third, first, second = (story(database, number) for number in range(3))
    for of, minutes in ((third, 2), (first, 0), (second, 1)):
        put(database, envelope(of), now=START + minutes * MINUTE)
    claimed = []
    for _ in range(3):
        message = take(database, now=START + 5 * MINUTE)
        claimed += stories_of(message)
        done(database, message)
    assert claimed == [first, second, third]


def test_a_story_is_told_in_order(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED), envelope(acme, RESOLVED))
    for type_ in (FIRED, ESCALATED, RESOLVED):
        claimed = take(database)
        assert claimed.rows[0].type == type_
        done(database, claimed)


def test_what_will_be_retried_holds_up_its_own_story_alone(database: Database, acme: int) -> None:
    other = story(database, 2)
    put(database, envelope(acme, FIRED), envelope(acme, RESOLVED), envelope(other))
    later(database, take(database))
    message = take(database)
    assert stories_of(message) == [other]
    done(database, message)
    assert claim(database) is None


@pytest.mark.parametrize("changes", [{"channel": "phone"}, {"recipient": "anna@acme.example"}])
def test_a_receiver_waits_for_no_other(database: Database, acme: int, changes: dict) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, RESOLVED, **changes))
    later(database, take(database))
    assert take(database, changes.get("channel", "hook")).rows[0].type == RESOLVED


def test_tests_wait_for_nothing(database: Database) -> None:
    put(database, envelope(None, "one"), envelope(None, "two"))
    later(database, take(database))
    assert take(database).rows[0].type == "two"


def test_what_comes_before_something_critical_is_tried_once_more_and_then_overtaken(
    database: Database, acme: int
) -> None:
    """What one receiver refuses again and again must not keep what is critical from it."""
    put(database, envelope(acme, FIRED))
    later(database, take(database), at=START + 72 * HOUR)
    now = START + HOUR
    put(database, envelope(acme, ESCALATED, severity="critical"), now=now)
    first = take(database, now=now)
    later(database, first, now=now, at=START + 72 * HOUR)
    assert [first.rows[0].type, take(database, now=now).rows[0].type] == [FIRED, ESCALATED]


def test_after_an_outage_what_is_critical_comes_in_order_too(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED), envelope(acme, ESCALATED, severity="critical"))
    for type_ in (FIRED, ESCALATED):
        message = take(database)
        assert message.rows[0].type == type_
        later(database, message, at=START + HOUR)
    now = START + HOUR
    for type_ in (FIRED, ESCALATED):
        message = take(database, now=now)
        assert message.rows[0].type == type_
        done(database, message, now=now)


def test_what_quiet_hours_hold_goes_before_something_critical_of_its_story(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, FIRED, quiet=NIGHT, not_before=START + 7 * HOUR))
    put(database, envelope(acme, ESCALATED, quiet=NIGHT, severity="critical"))
    for type_ in (FIRED, ESCALATED):
        message = take(database)
        assert message.rows[0].type == type_
        done(database, message)


# --- who ---


def test_a_channel_has_one_message_in_flight_whoever_sends_it(
    database: Database, open_database: Callable[[], Database]
) -> None:
    fill(database, 2, batch=None)
    message = take(database)
    assert claim(open_database()) is None
    assert due(database, "hook") == set()
    done(database, message)
    assert claim(open_database()) is not None


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


def test_what_interrupted_its_sender_is_claimed_last_and_says_so(database: Database) -> None:
    one, two = fill(database, 2, batch=None)
    take(database)
    now = START + LEASE
    message = take(database, now=now)
    assert stories_of(message) == [two]
    done(database, message, now=now)
    again = take(database, now=now)
    assert stories_of(again) == [one]
    assert [entry["outcome"] for entry in again.rows[0].log] == ["interrupted"]


def test_of_workers_that_race_one_claims_a_message(
    open_database: Callable[[], Database], database: Database
) -> None:
    fill(database, 8, batch=None)
    workers = [open_database() for _ in range(4)]
    claimed = all_at_once(*(lambda who=who: claim(who) for who in workers))
    assert sorted(each is not None for each in claimed) == [False, False, False, True]


# --- when ---


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


def test_times_from_before_the_clock_went_back_hold_up_nothing(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme))
    later(database, take(database))
    put(database, envelope(None, not_before=START + 9 * HOUR))
    now = START - timedelta(days=2)
    message = take(database, now=now)
    done(database, message, now=now)
    assert claim(database, now=now) is not None


def test_a_success_lets_the_channel_s_waiting_ones_go_now(database: Database, acme: int) -> None:
    put(database, envelope(acme), envelope(acme, channel="phone"))
    later(database, take(database))
    later(database, take(database, "phone"))
    with database.write() as connection:
        attempts.make_due(connection, "hook", now=START)
    assert due(database, "hook", "phone") == {"hook"}


def test_a_success_hastens_neither_what_waits_for_company_nor_what_just_failed(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme), envelope(None, next_at=START + MINUTE))
    message = take(database)
    later(database, message)
    with database.write() as connection:
        attempts.make_due(connection, "hook", now=START, but=[message.id])
    assert due(database, "hook") == set()


def test_quiet_hours_hold_until_they_end_though_the_channel_works(
    database: Database, acme: int
) -> None:
    put(database, envelope(acme, quiet=NIGHT, not_before=START + 7 * HOUR))
    with database.write() as connection:
        attempts.make_due(connection, "hook", now=START)
    assert claim(database, now=START + 6 * HOUR) is None
    assert claim(database, now=START + 7 * HOUR) is not None


def test_a_retry_that_comes_in_quiet_hours_waits_for_their_end(
    database: Database, acme: int
) -> None:
    evening, morning = START + 21 * HOUR, START + 31 * HOUR
    put(database, envelope(acme, quiet=NIGHT), now=evening)
    later(database, take(database, now=evening), now=evening, at=evening + 2 * HOUR)
    assert claim(database, now=evening + 2 * HOUR) is None
    assert due(database, "hook", now=morning - MINUTE) == set()
    assert claim(database, now=morning) is not None


def test_quiet_hours_do_not_hold_what_is_critical(database: Database, acme: int) -> None:
    put(database, envelope(acme, quiet=NIGHT, severity="critical"))
    assert claim(database) is not None


# --- together ---


def test_rows_of_a_batch_go_together_as_soon_as_the_first_is_due(database: Database) -> None:
    one, two = story(database, 1), story(database, 2)
    put(database, envelope(one, batch="digest", next_at=START + MINUTE))
    later_one = envelope(two, batch="digest", next_at=START + 2 * MINUTE)
    put(database, later_one, now=START + MINUTE)
    message = take(database, now=START + MINUTE)
    assert stories_of(message) == [one, two]
    assert message.id not in {row.id for row in message.rows}


@pytest.mark.parametrize(
    "changes", [{"channel": "phone"}, {"recipient": "bo@acme.example"}, {"batch": "first-look"}]
)
def test_rows_of_another_channel_recipient_or_batch_go_apart(
    database: Database, changes: dict
) -> None:
    fill(database, 2)
    other = story(database, 3)
    put(database, envelope(other, **{"batch": "digest", **changes}))
    message = take(database)
    assert len(message.rows) == 2
    done(database, message)
    assert stories_of(take(database, changes.get("channel", "hook"))) == [other]


def test_a_row_that_found_no_company_bears_its_own_id(database: Database, acme: int) -> None:
    put(database, envelope(acme, batch="digest"))
    message = take(database)
    assert message.id == message.rows[0].id


def test_a_retry_sends_exactly_the_rows_it_sent_before_with_the_same_id(
    database: Database,
) -> None:
    fill(database, 3)
    first = take(database)
    put(database, envelope(story(database, 9), batch="digest", next_at=START + 2 * MINUTE))
    later(database, first)
    again = take(database, now=START + MINUTE)
    done(database, again)
    rest = take(database, now=START + 2 * MINUTE)
    assert (again.id, stories_of(again)) == (first.id, stories_of(first))
    assert len(rest.rows) == 1


def test_the_most_severe_comes_first_and_ends_come_last(database: Database) -> None:
    kinds = [(FIRED, "info"), (RESOLVED, "critical"), (FIRED, "critical"), (FIRED, "warning")]
    rows = [
        envelope(story(database, n), type_, severity=severity, batch="poll")
        for n, (type_, severity) in enumerate(kinds)
    ]
    put(database, *rows)
    claimed = [(row.type, row.severity) for row in take(database).rows]
    assert claimed == [kinds[2], kinds[3], kinds[0], kinds[1]]


def test_a_message_holds_fifty_rows_at_most(database: Database) -> None:
    fill(database, 60)
    first = take(database)
    done(database, first)
    assert [len(first.rows), len(take(database).rows)] == [outbox.MOST_ROWS, 10]


def test_steps_of_one_story_go_together_in_order(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED, batch="digest"), envelope(acme, ESCALATED, batch="digest"))
    assert [row.type for row in take(database).rows] == [FIRED, ESCALATED]


def test_a_step_that_waits_for_its_story_is_left_out(database: Database, acme: int) -> None:
    put(database, envelope(acme, FIRED))
    later(database, take(database))
    put(database, envelope(acme, RESOLVED, batch="digest"))
    other = story(database, 2)
    put(database, envelope(other, batch="digest"))
    assert stories_of(take(database)) == [other]


def test_something_critical_takes_along_what_waits_in_its_story(
    database: Database, acme: int
) -> None:
    held = envelope(acme, FIRED, batch="digest", quiet=NIGHT, not_before=START + 7 * HOUR)
    put(database, held)
    put(database, envelope(acme, ESCALATED, batch="poll", severity="critical", quiet=NIGHT))
    assert [row.type for row in take(database).rows] == [ESCALATED, FIRED]


def test_what_goes_with_something_critical_goes_at_night_too(database: Database) -> None:
    put(
        database,
        envelope(story(database, 1), batch="poll", quiet=NIGHT),
        envelope(story(database, 2), batch="poll", quiet=NIGHT, severity="critical"),
    )
    assert len(take(database).rows) == 2


def test_of_a_batch_only_what_is_quiet_waits(database: Database) -> None:
    quiet, awake = story(database, 1), story(database, 2)
    put(database, envelope(quiet, batch="digest", quiet=NIGHT), envelope(awake, batch="digest"))
    message = take(database)
    done(database, message)
    assert stories_of(message) == [awake]
    assert claim(database, now=START + 6 * HOUR) is None
    assert stories_of(take(database, now=START + 7 * HOUR)) == [quiet]


def test_what_was_refused_together_is_tried_singly(database: Database) -> None:
    found = fill(database, 3)
    split(database, take(database))
    singly = []
    for _ in found:
        message = take(database)
        assert message.id == message.rows[0].id
        singly += stories_of(message)
        done(database, message)
    assert singly == found
