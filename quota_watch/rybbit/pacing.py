"""Keeps requests within upstream's rate limits: one budget for each credential.

Nothing here waits or reads a clock: callers learn how long to wait, and ask again then.
"""

import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from http import HTTPStatus

from quota_watch.lib.http import Response
from quota_watch.model.schedule import EXTRA_PER_DAY, Pace, needed_interval
from quota_watch.model.source import UpstreamError
from quota_watch.rybbit.budget import DAY_SECONDS, Bucket, Day, RateTier, read_tiers

_LOST_SECONDS = 60.0  # a request without an outcome for so long has ended somehow
_SOON, _SOON_AFTER, _LATER = 0.1, 1.0, 0.5  # seconds; how often to ask while the first is away
_BURST_REST = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 900.0
_HALF = 2  # one part in so many
_EXTRA_ASKS_AGAIN = 3600.0


class Purpose(Enum):
    """What a request is for; polls go first when there is not enough for all.

    `SPARE` is what can wait for days: it takes only what polls and the usual extras leave.
    """

    POLL = "poll"
    EXTRA = "extra"
    SPARE = "spare"


@dataclass(slots=True)
class _Server:
    """What is known of a server whatever the credential; `limited` None: it never answered."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    first_at: float | None = None
    limited: bool | None = None


class Pacer:
    """Holds the budgets; the same key on the same server is one. Of a key only a hash is kept."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}
        self._budgets: dict[int, Budget] = {}

    def budget(self, server: str, key: str) -> "Budget":
        """Return the budget of a key on a server, the same one to every thread."""
        server = server.rstrip("/")
        hashed = hash((server, key))
        budget = self._budgets.get(hashed)
        if budget is None:
            common = self._servers.setdefault(server, _Server())
            budget = self._budgets.setdefault(hashed, Budget(common))
        return budget


class Budget:
    """Decides when the next request with one credential may go; threads share it.

    Times are monotonic seconds. Whoever was given a token must call `learn` once, whatever became
    of the request.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._in_flight = deque[float]()  # when the requests under way were sent
        self._asked = False
        self._bucket: Bucket | None = None
        self._day: Day | None = None
        self._rests_until = 0.0
        self._pause = 0.0
        self._organizations = 0
        self._interval = timedelta(0)

    def reserve(self, purpose: Purpose, *, at: float) -> float:
        """Take a token and return 0.0, or take nothing and return the seconds to wait for one.

        The first request of a process to a server goes alone, and where its answer shows limits,
        the first with each credential too. Those that must wait for the bucket get waits that
        follow one another.
        """
        with self._server.lock:
            self._catch_up(at)
            wait = max(
                self._wait_for_first(at), self._rests_until - at, self._wait_for_day(purpose, at)
            )
            if self._bucket is not None:
                under_way, is_spare = len(self._in_flight), purpose is Purpose.SPARE
                wait = max(wait, self._bucket.wait(in_flight=under_way, at=at, is_spare=is_spare))
            if wait > 0:
                return wait
            self._server.first_at = at
            self._in_flight.append(at)
            if self._bucket is not None:
                self._bucket.take()
            if self._day is not None:
                self._day.take(extra=purpose is Purpose.EXTRA)
            return 0.0

    def learn(
        self,
        answer: Response | None,
        error: UpstreamError | None,
        purpose: Purpose,
        *,
        now: datetime,
        at: float,
    ) -> None:
        """Update the budget from an answer; call it once for every token taken.

        None where no whole answer arrived. `error` is what a 429 means, `now` is for where upstream
        does not say when its day ends.
        """
        with self._server.lock:
            sent = self._in_flight.popleft() if self._in_flight else at
            self._catch_up(at)
            self._asked = True
            self._server.limited = bool(self._server.limited)
            if answer is None:
                return
            burst, daily = read_tiers(answer.headers)
            has_limits = burst is not None or daily is not None
            self._server.limited |= has_limits
            self._correct(burst, daily, at)
            if answer.status == HTTPStatus.TOO_MANY_REQUESTS and error is not None:
                self._rest(error, burst, daily, now=now, sent=sent, at=at)
                return
            self._pause = 0.0
            if answer.status == HTTPStatus.OK and purpose is Purpose.POLL and not has_limits:
                self._server.limited = False
                self._bucket = self._day = None

    def pace(self, organizations: int, configured: timedelta, *, at: float) -> Pace:
        """Return how often to poll so many organizations, and the figures that lead to it."""
        with self._server.lock:
            self._catch_up(at)
            day = self._day
            self._organizations, self._interval = organizations, configured
            if day is not None:
                needed = max(configured, needed_interval(organizations, day.limit))
                self._interval = day.stretch(needed, organizations=organizations, at=at)
            rests = max(self._rests_until - at, self._wait_for_day(Purpose.POLL, at))
            return Pace(
                organizations=organizations,
                configured=configured,
                interval=self._interval,
                daily_limit=None if day is None else day.limit,
                used_by_others=0 if day is None else day.others,
                rests=timedelta(seconds=rests) if rests > 0 else None,
            )

    def _catch_up(self, at: float) -> None:
        """Forget requests that are lost, and begin the next day once midnight has passed."""
        while self._in_flight and at - self._in_flight[0] > _LOST_SECONDS:
            self._in_flight.popleft()
        if self._day is not None:
            self._day.pass_midnight(in_flight=len(self._in_flight), at=at)

    def _wait_for_first(self, at: float) -> float:
        """Return a short wait while the first request is under way and no limit is known."""
        sent = self._server.first_at
        if self._server.limited is not None:
            is_first = self._server.limited and not self._asked and self._in_flight
            sent = self._in_flight[0] if is_first else None
        if sent is None or at - sent > _LOST_SECONDS:
            return 0.0
        return _SOON if at - sent < _SOON_AFTER else _LATER

    def _wait_for_day(self, purpose: Purpose, at: float) -> float:
        day = self._day
        if day is None:
            return 0.0
        to_midnight = day.ends - at
        if day.left < 1:
            return to_midnight
        extras = EXTRA_PER_DAY * self._organizations - day.extra
        is_over = self._organizations > 0 and extras <= 0
        if purpose is Purpose.SPARE or (purpose is Purpose.EXTRA and is_over):
            polls = day.limit / _HALF  # as long as nobody said how many are still due
            if self._interval:
                polls = self._organizations * to_midnight / self._interval.total_seconds()
            if day.left - (polls + max(extras, 0.0)) < 1:
                return min(to_midnight, _EXTRA_ASKS_AGAIN)
        return 0.0

    def _correct(self, burst: RateTier | None, daily: RateTier | None, at: float) -> None:
        """Correct what we counted by upstream's own figures."""
        in_flight = len(self._in_flight)
        if burst is not None:
            self._bucket = self._bucket or Bucket(burst, at=at)
            self._bucket.update(burst, in_flight=in_flight, at=at)
        if daily is not None:
            self._day = self._day or Day(daily, in_flight=in_flight, at=at)
            self._day.update(daily, in_flight=in_flight, at=at)

    def _rest(
        self,
        error: UpstreamError,
        burst: RateTier | None,
        daily: RateTier | None,
        *,
        now: datetime,
        sent: float,
        at: float,
    ) -> None:
        """Rest for as long as a 429 says or, where it does not, as its scope implies."""
        wait = error.retry_after
        if error.scope == "daily" or (error.scope is None and daily and not daily.remaining):
            if not wait:
                wait = daily.reset if daily else _to_midnight(now, ago=at - sent)
            if self._day is not None:
                self._day.spend(until=at + wait)
        elif error.scope == "burst" or burst:
            wait = max(wait or 0.0, _BURST_REST)
        elif not wait:
            if at < self._rests_until:  # sent before the last one was known
                return
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            wait = self._pause
        self._rests_until = max(self._rests_until, at + wait)


def _to_midnight(now: datetime, *, ago: float) -> float:
    """Return the seconds from now to the end of the day it was so many seconds ago."""
    then = now - timedelta(seconds=ago)
    today = timedelta(hours=then.hour, minutes=then.minute, seconds=then.second)
    return max(DAY_SECONDS - today.total_seconds() - ago, _BURST_REST)
