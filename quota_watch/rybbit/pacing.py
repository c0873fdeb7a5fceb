"""Keeps requests within upstream's rate limits: one budget for each credential.

Nothing here waits or reads a clock: callers learn how long to wait, and ask again then.
"""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from http import HTTPStatus

from quota_watch.model.schedule import EXTRA_PER_DAY, Pace, needed_interval
from quota_watch.model.source import UpstreamError
from quota_watch.rybbit.budget import DAY_SECONDS, Bucket, Day, read_tiers

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
    """What is known of a server whatever the credential."""

    first_at: float | None = None
    asked: bool = False
    limited: bool = False


@dataclass(slots=True)
class _Credential:
    """The budget of one credential; `in_flight` are the times of requests under way."""

    in_flight: deque[float] = field(default_factory=deque)
    asked: bool = False
    bucket: Bucket | None = None
    day: Day | None = None
    rests_until: float = 0.0
    pause: float = 0.0
    organizations: int = 0
    interval: timedelta = timedelta(0)


class Pacer:
    """Decides when the next request with a credential may go; threads share it.

    The same key on the same server is one budget; of a key only a hash is kept. Whoever was given
    a token must call `learn` once, whatever became of the request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[str, _Server] = {}
        self._credentials: dict[int, _Credential] = {}
        self._seen = 0.0

    def reserve(
        self,
        server: str,
        key: str,
        *,
        monotonic: float,
        purpose: Purpose = Purpose.POLL,
    ) -> float:
        """Take a token and return 0.0, or take nothing and return the seconds to wait for one.

        The first request of a process to a server goes alone, and where its answer shows limits,
        the first with each credential too. Those that must wait for the bucket get waits that
        follow one another.
        """
        with self._lock:
            host, credential = self._find(server, key, monotonic)
            _forget_lost(credential, monotonic)
            wait = max(
                _wait_for_first(host, credential, monotonic),
                credential.rests_until - monotonic,
                _wait_for_day(credential, purpose, monotonic),
                _wait_for_burst(credential, purpose, monotonic),
            )
            if wait > 0:
                return wait
            if host.first_at is None or not host.asked:
                host.first_at = monotonic
            _take(credential, purpose, monotonic)
            return 0.0

    def learn(
        self,
        server: str,
        key: str,
        *,
        status: int | None,
        headers: Mapping[str, str],
        now: datetime,
        monotonic: float,
        error: UpstreamError | None = None,
        purpose: Purpose = Purpose.POLL,
    ) -> None:
        """Update the budget from an answer; call it once for every token taken.

        `status` is None where no whole answer arrived. `headers` must have names in lower case.
        `error` is what a 429 means, `now` is for where upstream does not say when its day ends.
        """
        with self._lock:
            host, credential = self._find(server, key, monotonic)
            _forget_lost(credential, monotonic)
            sent = credential.in_flight.popleft() if credential.in_flight else monotonic
            host.asked = credential.asked = True
            if status is None:
                return
            has_limits = _update(credential, headers, monotonic)
            host.limited = host.limited or has_limits
            if status == HTTPStatus.TOO_MANY_REQUESTS and error is not None:
                _rest(credential, error, headers, now=now, sent=sent, at=monotonic)
                return
            credential.pause = 0.0
            if status == HTTPStatus.OK and purpose is Purpose.POLL and not has_limits:
                host.limited = False
                credential.bucket = credential.day = None

    def pace(self, server: str, key: str, organizations: int, interval: timedelta) -> Pace:
        """Return how often to poll and the figures that lead to it, as of the last request."""
        with self._lock:
            _, credential = self._find(server, key, self._seen)
            day = _today(credential, self._seen)
            credential.organizations, credential.interval = organizations, interval
            rests = _rests(credential, self._seen)
            if day is None:
                return Pace(
                    organizations=organizations,
                    configured=interval,
                    interval=interval,
                    rests=rests,
                )
            credential.interval = day.stretch(
                max(interval, needed_interval(organizations, day.limit)),
                organizations=organizations,
                at=self._seen,
            )
            return Pace(
                organizations=organizations,
                configured=interval,
                interval=credential.interval,
                daily_limit=day.limit,
                used_by_others=day.others,
                rests=rests,
            )

    def _find(self, server: str, key: str, monotonic: float) -> tuple[_Server, _Credential]:
        self._seen = max(self._seen, monotonic)
        server = server.rstrip("/")
        hashed = hash((server, key))
        if hashed not in self._credentials:
            self._servers.setdefault(server, _Server())
            self._credentials[hashed] = _Credential()
        return self._servers[server], self._credentials[hashed]


def _forget_lost(credential: _Credential, monotonic: float) -> None:
    while credential.in_flight and monotonic - credential.in_flight[0] > _LOST_SECONDS:
        credential.in_flight.popleft()


def _wait_for_first(host: _Server, credential: _Credential, monotonic: float) -> float:
    """Return a short wait while the first request is under way and no limit is known."""
    sent = host.first_at
    if host.asked:
        sent = None
        if host.limited and not credential.asked and credential.in_flight:
            sent = credential.in_flight[0]
    if sent is None or monotonic - sent > _LOST_SECONDS:
        return 0.0
    return _SOON if monotonic - sent < _SOON_AFTER else _LATER


def _wait_for_burst(credential: _Credential, purpose: Purpose, monotonic: float) -> float:
    bucket = credential.bucket
    if bucket is None:
        return 0.0
    in_flight = len(credential.in_flight)
    if purpose is Purpose.SPARE:  # it takes no one's turn
        return bucket.wait(in_flight=in_flight, at=monotonic, keep=_HALF)
    wait = bucket.wait(in_flight=in_flight, at=monotonic)
    return bucket.turn(wait, at=monotonic) if wait else 0.0


def _wait_for_day(credential: _Credential, purpose: Purpose, monotonic: float) -> float:
    day = _today(credential, monotonic)
    if day is None:
        return 0.0
    to_midnight = day.ends - monotonic
    if day.left < 1:
        return to_midnight
    extras = EXTRA_PER_DAY * credential.organizations
    if purpose is Purpose.EXTRA and day.extra >= extras > 0:
        needed = _polls_until(to_midnight, credential)
    elif purpose is Purpose.SPARE:
        needed = _polls_until(to_midnight, credential) + max(extras - day.extra, 0.0)
    else:
        return 0.0
    return min(to_midnight, _EXTRA_ASKS_AGAIN) if day.left - needed < 1 else 0.0


def _polls_until(midnight: float, credential: _Credential) -> float:
    """Return how many polls are still due; half the day's requests while that is unknown."""
    if credential.interval:
        return credential.organizations * midnight / credential.interval.total_seconds()
    return credential.day.limit / _HALF if credential.day is not None else 0.0


def _rests(credential: _Credential, monotonic: float) -> timedelta | None:
    wait = max(
        credential.rests_until - monotonic, _wait_for_day(credential, Purpose.POLL, monotonic)
    )
    return timedelta(seconds=wait) if wait > 0 else None


def _today(credential: _Credential, monotonic: float) -> Day | None:
    if credential.day is not None:
        in_flight = len(credential.in_flight)
        credential.day = credential.day.begin_next(in_flight=in_flight, at=monotonic)
    return credential.day


def _take(credential: _Credential, purpose: Purpose, monotonic: float) -> None:
    credential.in_flight.append(monotonic)
    if credential.bucket is not None:
        credential.bucket.take()
    if credential.day is not None:
        credential.day.take(extra=purpose is Purpose.EXTRA)


def _update(credential: _Credential, headers: Mapping[str, str], monotonic: float) -> bool:
    """Correct the budget by the headers; return whether they have any figures."""
    burst, daily = read_tiers(headers)
    in_flight = len(credential.in_flight)
    if burst is not None and credential.bucket is None:
        credential.bucket = Bucket(burst, in_flight=in_flight, at=monotonic)
    elif burst is not None and credential.bucket is not None:
        credential.bucket.update(burst, in_flight=in_flight, at=monotonic)
    today = _today(credential, monotonic)
    if daily is not None and today is None:
        credential.day = Day(daily, in_flight=in_flight, at=monotonic)
    elif daily is not None and today is not None:
        credential.day = today.update(daily, in_flight=in_flight, at=monotonic)
    return burst is not None or daily is not None


def _rest(
    credential: _Credential,
    error: UpstreamError,
    headers: Mapping[str, str],
    *,
    now: datetime,
    sent: float,
    at: float,
) -> None:
    """Rest for as long as a 429 says or, where it does not, as its scope implies."""
    burst, daily = read_tiers(headers)
    wait = error.retry_after
    if error.scope == "daily" or (error.scope is None and daily and not daily.remaining):
        if not wait:
            wait = daily.reset if daily else _to_midnight(now, ago=at - sent)
        day = credential.day
        if day is not None and at + wait > day.ends - DAY_SECONDS / 2:  # not of the day before
            day.spend()
    elif error.scope == "burst" or burst:
        wait = max(wait or 0.0, _BURST_REST)
    elif not wait:
        if at < credential.rests_until:  # sent before the last one was known
            return
        credential.pause = min(max(2 * credential.pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        wait = credential.pause
    credential.rests_until = max(credential.rests_until, at + wait)


def _to_midnight(now: datetime, *, ago: float) -> float:
    """Return the seconds from now to the end of the day it was so many seconds ago."""
    then = now - timedelta(seconds=ago)
    today = timedelta(hours=then.hour, minutes=then.minute, seconds=then.second)
    return max(DAY_SECONDS - today.total_seconds() - ago, _BURST_REST)
