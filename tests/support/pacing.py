"""A cloud that enforces the rate limits of UPSTREAM.md § 8 to the letter, and days of polling it.

Time is a number: seconds since `START`. Nothing waits.
"""

import heapq
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import count
from random import Random

from quota_watch.lib.http import Response
from quota_watch.model.schedule import Pace, next_slot
from quota_watch.model.source import Organization, UpstreamError
from quota_watch.rybbit.errors import error_of
from quota_watch.rybbit.pacing import Pacer, Purpose

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = 86_400.0
THREADS = 8
SERVER = "https://app.rybbit.io"
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Owner:
    """What the cloud keeps of the owner of one or more keys."""

    tokens: float = 50.0
    at: float = 0.0
    used: Counter[int] = field(default_factory=Counter)  # by UTC day
    refused: list[str] = field(default_factory=list)


class Cloud:
    """Bucket of 50, refilled 5/s; so many requests a UTC day; refused bursts are not charged."""

    def __init__(self, daily: int = 5000) -> None:
        self.daily = daily
        self.owners: dict[str, Owner] = {}

    def owner(self, key: str) -> Owner:
        return self.owners.setdefault(key, Owner())

    def ask(self, key: str, at: float) -> Answer:
        owner, day = self.owner(key), int(at // DAY)
        owner.tokens = min(50.0, owner.tokens + (at - owner.at) * 5)
        owner.at = at
        to_midnight = math.ceil((day + 1) * DAY - at)
        scope, wait = "", 0
        if owner.used[day] >= self.daily:
            scope, wait = "daily", to_midnight
        elif owner.tokens < 1:
            scope, wait = "burst", max(math.ceil((1 - owner.tokens) / 5), 1)
        else:
            owner.tokens -= 1
            owner.used[day] += 1
        tokens, left = math.floor(owner.tokens), self.daily - owner.used[day]
        headers = headers_of(tokens, math.ceil((50 - tokens) / 5), left, to_midnight, self.daily)
        if not scope:
            return 200, headers, b'{"data":[]}'
        owner.refused.append(scope)
        body = {"error": "Rate limit exceeded", "scope": scope, "retryAfter": wait}
        return 429, headers | {"retry-after": str(wait)}, json.dumps(body).encode()


def headers_of(
    tokens: int, full_in: int, left: int, to_midnight: int, daily: int = 5000
) -> dict[str, str]:
    values = (50, tokens, full_in, daily, left, to_midnight)
    names = (f"x-ratelimit-{tier}-" for tier in ("burst", "daily"))
    keys = [name + word for name in names for word in ("limit", "remaining", "reset")]
    return dict(zip(keys, map(str, values), strict=True))


def refusal(status: int | None, headers: Mapping[str, str], body: bytes) -> UpstreamError | None:
    """Return what an answer means that is not 200; None where none came."""
    if status is None or status == HTTPStatus.OK:
        return None
    return error_of(status, headers, body, organization=None, server=SERVER)


class Process:
    """One quota-watch: its organizations are polled for ever, each with one extra read a day."""

    def __init__(
        self, world: "World", *, key: str, organizations: int, interval: float = 900.0
    ) -> None:
        self.world, self.key = world, key
        self.interval = timedelta(seconds=interval)
        self.pacer = Pacer()
        self.polled: dict[Organization, list[float]] = {}
        self._flying = 0
        self._queue: deque[Callable[[], None]] = deque()
        for number in range(organizations):
            organization = Organization(SERVER, f"{key}_{number}")
            self.polled[organization] = []
            world.later(world.at, lambda o=organization: self._poll(o))
            world.later(world.at + 5, lambda o=organization: self._extra(o))

    def gaps(self, since: float) -> list[float]:
        """How long each organization was at most not polled, from `since` to the end."""
        return [
            max(b - a for a, b in zip([since, *times], [*times, self.world.at], strict=True))
            for polled in self.polled.values()
            for times in [[at for at in polled if at >= since]]
        ]

    def pace(self, organizations: int) -> Pace:
        budget = self.pacer.budget(SERVER, self.key)
        return budget.pace(organizations, self.interval, at=self.world.at)

    def _poll(self, organization: Organization) -> None:
        def again() -> None:
            began = self.world.at
            self.polled[organization].append(began)
            interval = self.pace(len(self.polled)).interval
            due = next_slot(organization, after=self.world.now(began), interval=interval)
            self.world.later(self.world.seconds(due), lambda: self._poll(organization))

        self._send(Purpose.POLL, again, lambda: self._poll(organization))

    def _extra(self, organization: Organization) -> None:
        tomorrow = self.world.at + DAY
        self._send(
            Purpose.EXTRA,
            lambda: self.world.later(tomorrow, lambda: self._extra(organization)),
            lambda: self._extra(organization),
        )

    def _send(self, purpose: Purpose, done: Callable[[], None], again: Callable[[], None]) -> None:
        world, at = self.world, self.world.at
        if self._flying >= THREADS:
            self._queue.append(lambda: self._send(purpose, done, again))
            return
        wait = self.pacer.budget(SERVER, self.key).reserve(purpose, at=at)
        if wait:
            world.later(at + min(wait, self.interval.total_seconds()), again)
            return
        self._flying += 1
        latency = world.random.uniform(0.02, 0.6)

        def arrive() -> None:
            status, headers, body = world.cloud.ask(self.key, world.at)
            world.later(world.at + latency, lambda: learn(status, headers, body))

        def learn(status: int, headers: dict[str, str], body: bytes) -> None:
            self.pacer.budget(SERVER, self.key).learn(
                Response(status, headers, body),
                refusal(status, headers, body),
                purpose,
                now=world.now(world.at),
                at=world.at,
            )
            self._flying -= 1
            done()
            while self._queue and self._flying < THREADS:
                self._queue.popleft()()

        world.later(at + latency, arrive)


class World:
    """Runs what is to happen in order of time."""

    def __init__(self, cloud: Cloud, *, began: float = 0.0) -> None:
        self.cloud = cloud
        self.at = began
        self.random = Random(1)  # noqa: S311 - any latency will do
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def now(self, at: float) -> datetime:
        return START + timedelta(seconds=at)

    def seconds(self, moment: datetime) -> float:
        return (moment - START).total_seconds()

    def later(self, at: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), do))

    def other_program(self, key: str, *, every: float, until: float = math.inf) -> None:
        """Let another program use the key, without any pacing."""

        def ask() -> None:
            self.cloud.ask(key, self.at)
            if self.at + every < until:
                self.later(self.at + every, ask)

        self.later(self.at, ask)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.at, _, do = heapq.heappop(self._events)
            do()
        self.at = until
