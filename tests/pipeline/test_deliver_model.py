"""Hours of outages, kills and quiet nights with two processes: all arrives, once, in order."""

import random
from collections import Counter
from datetime import time, timedelta

import pytest

from quota_watch.channels.channel import DeliveryError
from quota_watch.messages.facts import Message
from quota_watch.model.schedule import QuietHours
from quota_watch.storage import outbox
from quota_watch.storage.claims import new_token
from quota_watch.storage.deliveries import RESOLVED, is_urgent
from support.post import Post
from support.posting import ESCALATED, FIRED, envelope, put, story
from support.watching import RecordingChannel

NIGHT = QuietHours(start=time(22), end=time(7), time_zone="UTC")
PAUSES = (1, 5, 30, 60, 300, 1800)
Step = tuple[int, int]


class World:
    """Stories that go on at random, and two processes that tell of them as far as they can."""

    def __init__(self, post: Post, seed: int) -> None:
        self.post = post
        self.random = random.Random(seed)  # noqa: S311 -- no secret
        self.is_down = False
        self.channels = [
            post.channel("mail", batches=True, script=self.script),
            post.channel("hook", at_once=4, script=self.script),
        ]
        self.processes = [post.outbox, post.process(post.database)]
        self.stories: dict[int, int] = {}
        self.types: dict[Step, str] = {}

    def script(self, _: Message) -> None:
        if self.is_down and self.random.random() < 0.9:
            raise DeliveryError("no", status=503, start_late=self.random.random() < 0.3)

    def go_on(self) -> None:
        """Let a story begin or go on."""
        if not self.stories or self.random.random() < 0.5:
            pk = story(self.post.database, len(self.stories))
            self.stories[pk] = 0
        else:
            pk = self.random.choice(list(self.stories))
        self.stories[pk] += 1
        step = (pk, self.stories[pk])
        type_ = self.random.choice([ESCALATED, RESOLVED]) if step[1] > 1 else FIRED
        self.types[step] = type_
        self.put(step, type_, self.random.choice(["info", "critical"]))

    def put(self, step: Step, type_: str, severity: str) -> None:
        now, urgent = self.post.clock.now(), is_urgent(severity, type_)
        together = {
            "batch": f"poll {step}" if urgent else "digest",
            "next_at": now if urgent else now + timedelta(seconds=60),
        }
        for name, how in (("mail", together), ("hook", {})):
            fixed = {"severity": severity, "facts": {"step": list(step)}, "quiet": NIGHT}
            ids = {"id": f"{step} {name}", "transition_id": f"{step}"}
            row = envelope(step[0], type_, channel=name, **fixed, **ids, **how)
            put(self.post.database, row, now=now)

    def die(self) -> None:
        """Be killed between claim and attempt."""
        with self.post.database.write() as connection:
            name = self.random.choice(["mail", "hook"])
            outbox.claim(connection, name, token=new_token(), now=self.post.clock.now())

    def send(self, process: int) -> None:
        self.processes[process].dispatch()
        assert self.processes[process].wait_until_idle(20)

    def live(self, steps: int) -> None:
        for step in range(steps):
            if step % 10 == 0:
                self.is_down = self.random.random() < 0.5
            if self.random.random() < 0.4:
                self.go_on()
            if self.random.random() < 0.05:
                self.die()
            self.send(self.random.randrange(2))
            self.post.clock.advance(self.random.choice(PAUSES))

    def recover(self) -> None:
        self.is_down = False
        for _ in range(30):
            self.send(0)
            self.post.clock.advance(3600)


def steps_told(channel: RecordingChannel) -> list[Step]:
    """Return what was told, in order; within a message by story."""
    return [
        step
        for message in channel.sent
        for step in sorted(tuple(facts["step"]) for facts in message.bodies)
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("open_database", ["sqlite"], indirect=True)
def test_all_arrives_once_and_no_end_before_what_it_ends(post: Post, seed: int) -> None:
    world = World(post, seed)
    world.live(80)
    world.recover()
    for channel in world.channels:
        told = steps_told(channel)
        assert Counter(told) == Counter(world.types.keys())
        assert max(Counter(message.id for message in channel.sent).values()) == 1
        for place, (pk, number) in enumerate(told):
            if world.types[pk, number] == RESOLVED:
                before = {each for each in told[:place] if each[0] == pk}
                assert {(pk, n) for n in range(1, number)} <= before
