"""Several messages of one channel under way: which, how many, and what becomes of their claims."""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from quota_watch.messages.facts import Message
from quota_watch.pipeline.deliver import UNRECORDED
from quota_watch.storage import outbox
from quota_watch.storage.claims import LEASE, new_token
from quota_watch.storage.database import Database
from quota_watch.storage.schema import delivery
from support.post import MINUTE, Post, ids
from support.posting import ESCALATED, FIRED, story
from support.threads import wait_until
from support.watching import RecordingChannel

MANY = [f"number {n:03}" for n in range(150)]


class Gate:
    """A receiver that lets some messages wait until it is opened."""

    def __init__(self) -> None:
        self.holds: Callable[[Message], bool] = lambda _: True
        self._open = threading.Event()

    def __call__(self, message: Message) -> None:
        if self.holds(message):
            assert self._open.wait(20)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def hook(post: Post, gate: Gate) -> RecordingChannel:
    return post.channel(at_once=4, script=gate)


def finish(post: Post, gate: Gate) -> None:
    gate.open()
    assert post.outbox.wait_until_idle(20)


def test_as_many_are_under_way_as_the_channel_takes_at_once(
    post: Post, gate: Gate, hook: RecordingChannel
) -> None:
    post.put(*MANY)
    post.outbox.dispatch()
    wait_until(lambda: len(hook.tried) == 4)
    finish(post, gate)
    assert (sorted(ids(hook)), hook.most_in_flight) == (MANY, 4)
    assert set(post.states().values()) == {"done"}
    assert post.outbox.results == {"sent": 150}


def test_steps_of_a_story_go_one_after_the_other(post: Post, hook: RecordingChannel) -> None:
    under_way: list[str] = []

    def script(message: Message) -> None:
        of = message.bodies[0]["story"]
        assert of not in under_way
        under_way.append(of)
        under_way.remove(of)

    hook.script = script
    for n in range(10):
        of = story(post.database, n)
        for step, type_ in enumerate([FIRED, ESCALATED, ESCALATED]):
            post.put(
                f"{n} {step}", alert_pk=of, type=type_, facts={"story": n}, severity="critical"
            )
    post.send()
    for n in range(10):
        assert [id_ for id_ in ids(hook) if id_.startswith(f"{n} ")] == [
            f"{n} 0",
            f"{n} 1",
            f"{n} 2",
        ]


def test_one_that_hangs_holds_up_no_other(post: Post, gate: Gate, hook: RecordingChannel) -> None:
    gate.holds = lambda message: message.id == MANY[0]
    post.put(*MANY)
    post.outbox.dispatch()
    wait_until(lambda: list(post.states().values()).count("done") == len(MANY) - 1)
    assert hook.tried[0] == MANY[0]
    finish(post, gate)
    assert post.states()[MANY[0]] == "done"


def test_what_came_of_one_is_kept_before_the_others_are_over(
    post: Post, gate: Gate, hook: RecordingChannel
) -> None:
    gate.holds = lambda message: message.id != MANY[1]
    post.put(*MANY[:4])
    post.outbox.dispatch()
    wait_until(lambda: post.states()[MANY[1]] == "done")
    assert list(post.states().values()).count("pending") == 3


def test_only_a_few_messages_are_sent_before_their_outcome_is_recorded(
    post: Post, gate: Gate, hook: RecordingChannel
) -> None:
    """A process that is killed now sends these again."""
    unrecorded: list[int] = []

    def done() -> int:
        return list(post.states().values()).count("done")

    def script(message: Message) -> None:
        tried = len(hook.tried)
        unrecorded.append(tried - done())
        gate(message)

    hook.script = script
    gate.holds = lambda message: message.id in MANY[20:24]
    post.put(*MANY)
    post.outbox.dispatch()
    wait_until(lambda: set(MANY[20:24]) <= set(hook.tried) and done() == 20)
    with post.database.write() as connection:  # nothing can be recorded meanwhile
        connection.execute(select(delivery.c.pk).with_for_update()).all()
        gate.open()
        wait_until(lambda: len(hook.tried) == 20 + hook.at_once + UNRECORDED)
    finish(post, gate)
    assert max(unrecorded) == hook.at_once + UNRECORDED


def test_a_stop_gives_back_what_was_claimed_and_not_begun(
    post: Post, gate: Gate, hook: RecordingChannel
) -> None:
    gate.holds = lambda message: message.id in MANY[20:24]
    post.put(*MANY)
    post.outbox.dispatch()
    wait_until(lambda: set(MANY[20:24]) <= set(hook.tried))
    post.outbox.stop()
    finish(post, gate)
    assert set(post.column("claimed_by").values()) == {None}
    assert len(hook.tried) == list(post.states().values()).count("done") < len(MANY)


def test_what_was_claimed_too_long_ago_to_end_inside_its_lease_is_claimed_anew(
    post: Post, gate: Gate, hook: RecordingChannel
) -> None:
    """The receiver turned slow after much was claimed at the pace it had before."""
    gate.holds = lambda message: message.id in MANY[20:24]
    post.put(*MANY)
    post.outbox.dispatch()
    wait_until(lambda: set(MANY[20:24]) <= set(hook.tried))
    before = post.column("claimed_until")[MANY[100]]
    post.clock.advance(LEASE / 2)
    post.put("urgent", severity="critical")
    finish(post, gate)
    assert before is not None
    assert ids(hook).index("urgent") < 30
    assert sorted(hook.tried) == sorted([*MANY, "urgent"])


def test_what_a_sender_died_with_is_sent_by_another_after_its_lease(
    post: Post, hook: RecordingChannel, gate: Gate, open_database: Callable[[], Database]
) -> None:
    gate.open()
    post.put(*MANY)
    with post.database.write() as connection:
        dead = outbox.claim(connection, "hook", token=new_token(), most=100, now=post.clock.now())
    other = post.process(open_database())
    other.dispatch()
    assert other.wait_until_idle(10)
    assert (len(dead), hook.tried) == (100, [])
    post.clock.advance(MINUTE)
    other.dispatch()
    assert other.wait_until_idle(10)
    assert sorted(hook.tried) == MANY
    assert set(post.states().values()) == {"done"}
