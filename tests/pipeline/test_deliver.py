import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from quota_watch.channels.channel import DeliveryError
from quota_watch.messages.facts import Message
from quota_watch.storage import deliveries, outbox
from quota_watch.storage.claims import LEASE, new_token
from quota_watch.storage.database import Database
from support.post import HOUR, MINUTE, Post, fail_for, ids
from support.threads import wait_until
from support.watching import RecordingChannel, refuse


class Hanging:
    """A receiver that takes its time until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()

    def __call__(self, _: Message) -> None:
        self.begun.set()
        assert self.go_on.wait(10)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.go_on.set()


def test_what_is_due_is_sent_in_the_order_it_was_put(post: Post) -> None:
    hook = post.channel()
    post.put("one", "two", "three")
    post.send()
    assert ids(hook) == ["one", "two", "three"]
    assert hook.sent[0] == Message(id="one", recipient="", bodies=({"used": 91},))
    assert post.outbox.results == {"sent": 3}
    assert set(post.states().values()) == {"done"}


def test_what_was_sent_is_not_sent_again(post: Post) -> None:
    hook = post.channel()
    post.put("one")
    for _ in range(3):
        post.send()
    assert ids(hook) == ["one"]


def test_a_recipient_gets_its_own(post: Post) -> None:
    mail = post.channel("mail")
    post.put("one", channel="mail", recipient="anna@acme.example")
    post.send()
    assert mail.sent[0].recipient == "anna@acme.example"


def test_what_no_channel_of_ours_takes_is_left_alone(post: Post) -> None:
    post.channel()
    post.put("one", channel="fax")
    post.send()
    assert post.rows()["one"][:2] == ("pending", 0)


def test_a_failure_is_retried_as_the_channel_prescribes(post: Post) -> None:
    hook = post.channel(script=refuse())
    post.put("one")
    began, attempts = post.clock.now(), []
    for _ in range(5):
        post.send()
        post.clock.set(post.rows()["one"][2])
        attempts.append((post.clock.now() - began).total_seconds())
    assert attempts == [5, 35, 335, 2135, 5735]
    assert len(hook.tried) == 5
    assert post.outbox.results == {"retry": 5}


def test_nothing_is_attempted_before_its_time(post: Post) -> None:
    hook = post.channel(script=refuse())
    post.put("one")
    post.send()
    post.clock.advance(timedelta(seconds=4.999))
    post.send()
    assert hook.tried == ["one"]
    post.clock.advance(timedelta(seconds=0.001))
    post.send()
    assert hook.tried == ["one", "one"]


def test_a_receiver_is_given_the_time_it_asks_for(post: Post) -> None:
    post.channel(script=refuse(retry_after=1000))
    post.put("one")
    post.send()
    assert post.rows()["one"][2] == post.clock.now() + timedelta(seconds=1000)


def test_what_failed_for_good_is_not_tried_again(post: Post) -> None:
    hook = post.channel(script=refuse(permanent=True, status=410))
    post.put("one")
    post.send()
    post.clock.advance(HOUR)
    post.send()
    assert (hook.tried, post.states()) == (["one"], {"one": "failed"})
    assert post.outbox.results == {"failed": 1}


def test_what_is_too_old_fails_for_good(post: Post) -> None:
    post.channel(script=refuse())
    post.put("one")
    for _ in range(100):
        post.send()
        post.clock.advance(HOUR)
    state, attempts, _ = post.rows()["one"]
    assert state == "failed"
    assert 72 <= attempts <= 76


def test_the_first_success_after_an_outage_empties_the_queue(post: Post) -> None:
    hook = post.channel(script=refuse())
    queue = [f"number {n:02}" for n in range(12)]
    for id_ in queue:
        post.put(id_)
        post.send()
        post.clock.advance(7 * MINUTE)
    hook.script = lambda _: None
    waiting = sorted(next_at for _, _, next_at in post.rows().values())
    post.clock.set(waiting[0])
    assert waiting[-1] > waiting[0]
    post.send()
    assert sorted(ids(hook)) == queue


def test_one_that_its_receiver_refuses_holds_up_no_other(post: Post) -> None:
    hook = post.channel(script=fail_for("bad"))
    post.put("bad", "good", "better")
    post.send()
    assert ids(hook) == ["good", "better"]
    assert post.states() == {"bad": "pending", "good": "done", "better": "done"}
    assert hook.tried.count("bad") <= 3


def test_a_channel_that_hangs_holds_up_no_other(post: Post, hanging: Hanging) -> None:
    hook, phone = post.channel(script=hanging), post.channel("phone")
    post.put("one")
    post.outbox.dispatch()
    assert hanging.begun.wait(10)
    post.put("two", channel="phone")
    post.outbox.dispatch()
    wait_until(lambda: ids(phone) == ["two"])
    assert hook.sent == []
    assert not post.outbox.wait_until_idle(0)


def test_a_channel_has_one_attempt_in_flight_however_often_it_is_dispatched(
    post: Post, hanging: Hanging
) -> None:
    hook = post.channel(script=hanging)
    post.put("one", "two", "three")
    for _ in range(5):
        post.outbox.dispatch()
    assert hanging.begun.wait(10)
    for _ in range(5):
        post.outbox.dispatch()
    assert hook.tried == ["one"]
    hanging.go_on.set()
    assert post.outbox.wait_until_idle(10)
    assert (ids(hook), hook.most_in_flight) == (["one", "two", "three"], 1)


def test_two_processes_never_attempt_the_same_nor_at_the_same_time(
    post: Post, open_database: Callable[[], Database], hanging: Hanging
) -> None:
    hook = post.channel(script=hanging)
    other = post.process(open_database())
    post.put("one", "two")
    post.outbox.dispatch()
    assert hanging.begun.wait(10)
    other.dispatch()
    assert other.wait_until_idle(10)
    hanging.go_on.set()
    assert post.outbox.wait_until_idle(10)
    assert sorted(hook.tried) == ["one", "two"]


def test_a_flush_waits_for_what_another_process_has_under_way(
    post: Post, open_database: Callable[[], Database], hanging: Hanging
) -> None:
    hook = post.channel(script=hanging)
    other = post.process(open_database())
    post.put("one", "two")
    other.dispatch()
    assert hanging.begun.wait(10)
    flush = threading.Thread(target=post.outbox.flush, args=(30,))
    flush.start()
    hanging.go_on.set()
    flush.join(30)
    assert other.wait_until_idle(10)
    assert sorted(hook.tried) == ["one", "two"]
    assert set(post.states().values()) == {"done"}


def test_a_defect_of_a_channel_is_logged_and_retried(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(message: Message) -> None:
        raise ValueError("the template is broken")

    hook = post.channel(script=broken)
    post.put("one")
    post.send()
    assert post.rows()["one"][:2] == ("pending", 1)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    hook.script = lambda _: None
    post.clock.advance(MINUTE)
    post.send()
    assert post.states() == {"one": "done"}


@pytest.mark.parametrize("words", ["\x00", "\ud800", "two\nlines", "", "x" * 100_000])
def test_whatever_a_receiver_says_the_failure_is_kept(post: Post, words: str) -> None:
    def script(_: Message) -> None:
        raise DeliveryError(f"it said: {words}", permanent=True, status=599)

    post.channel(script=script)
    post.put("one")
    post.send()
    with post.database.read() as connection:
        (row,) = deliveries.rows(connection, state=deliveries.DeliveryState.FAILED)
    assert row.last_error.startswith("it said:")
    assert "\n" not in row.last_error
    assert row.last_status == 599


def test_a_stop_begins_no_further_attempt(post: Post, hanging: Hanging) -> None:
    hook = post.channel(script=hanging)
    post.put("one", "two")
    post.outbox.dispatch()
    assert hanging.begun.wait(10)
    post.outbox.stop()
    hanging.go_on.set()
    assert post.outbox.wait_until_idle(10)
    post.outbox.dispatch()
    assert post.outbox.wait_until_idle(10)
    assert ids(hook) == ["one"]
    assert post.states() == {"one": "done", "two": "pending"}


def test_what_was_under_way_when_a_process_died_is_attempted_after_its_lease(post: Post) -> None:
    hook = post.channel()
    post.put("one")
    with post.database.write() as connection:
        outbox.claim(connection, "hook", token=new_token(), now=post.clock.now())
    post.send()
    assert hook.tried == []
    post.clock.advance(LEASE)
    post.send()
    assert ids(hook) == ["one"]


def test_what_is_put_while_a_channel_is_finishing_is_sent_with_it(
    post: Post, open_database: Callable[[], Database]
) -> None:
    """A `poll` that waits until all is idle leaves nothing behind."""
    other = Post(open_database(), post.clock)

    class Finishing(RecordingChannel):
        def rest(self) -> None:
            if not self.rests:
                other.put("two")
                dispatcher = threading.Thread(target=post.outbox.dispatch)
                dispatcher.start()
                dispatcher.join()
            super().rest()

    hook = post.channels["hook"] = Finishing()
    post.put("one")
    post.send()
    assert ids(hook) == ["one", "two"]


def test_a_flush_waits_and_counts(post: Post) -> None:
    post.channel(script=fail_for("later"))
    post.channel("phone", script=refuse(permanent=True))
    post.put("one", "later")
    post.put("two", channel="phone")
    assert post.outbox.flush(10) == {"sent": 1, "failed": 1, "pending": 1}


def test_a_flush_of_no_time_attempts_nothing(post: Post) -> None:
    hook = post.channel()
    post.put("one")
    assert post.outbox.flush(0) == {"sent": 0, "failed": 0, "pending": 1}
    assert hook.tried == []


def test_a_clock_that_goes_back_holds_up_nothing(post: Post) -> None:
    hook = post.channel(script=refuse())
    post.put("one")
    post.send()
    post.clock.set(post.clock.now() - timedelta(days=30))
    hook.script = lambda _: None
    post.send()
    assert post.states() == {"one": "done"}


def test_a_store_that_fails_meanwhile_is_logged_and_the_delivery_repeated(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    def rename(old: str, new: str) -> None:
        with post.database.write() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    hook = post.channel(script=lambda _: rename("delivery", "gone"))
    post.put("one")
    post.send()
    rename("gone", "delivery")
    hook.script = lambda _: None
    assert "outbox unavailable" in caplog.text
    assert post.rows()["one"][:2] == ("pending", 0)
    post.clock.advance(LEASE)
    post.send()
    assert (ids(hook), post.states()) == (["one", "one"], {"one": "done"})


def test_the_outcome_of_every_attempt_is_counted_however_many_channels_there_are(
    post: Post,
) -> None:
    names = [f"channel {n}" for n in range(8)]
    for name in names:
        post.channel(name)
        post.put(*(f"{name}, {n}" for n in range(5)), channel=name)
    post.send()
    assert post.outbox.results == {"sent": 40}
