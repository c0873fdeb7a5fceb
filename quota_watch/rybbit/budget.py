"""The arithmetic of what we may ask: a bucket for bursts, a number of requests for each UTC day.

How upstream counts is in UPSTREAM.md § 8. Its answers tell what is left, which includes what other
programs used; requests still under way may or may not be in it, so they are taken off again.
Times are monotonic seconds: the wall clock may jump.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from quota_watch.model.schedule import PERCENT_FOR_US

DAY_SECONDS = 86_400.0

_PER_SECOND = 5.0
"""How fast upstream's bucket fills (UPSTREAM.md § 8), unless its figures say otherwise."""

_HEADROOM = 5  # one part in so many of the bucket stays, for requests of others under way
_LEAST_LEFT = 50  # one part in so many of the day stays, whoever used the rest
_HARDLY = 1e-9  # tokens, lost in rounding
_SHORT = 1.1  # how far the rest of the day's polls may exceed what is left before it matters
_STEP = 1.25
_MOST_STEPS = 10
_ENOUGH = 0.8  # of what is left must do for the polls of a shorter interval
_MEMORY_SECONDS = 3 * 3600.0  # how long what others use now makes a habit of theirs
_GLANCE_SECONDS = 600.0
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Told:
    """One tier as an answer's headers describe it; `reset` is in seconds from now."""

    limit: int
    remaining: int
    reset: float


def read_tiers(headers: Mapping[str, str]) -> tuple[Told | None, Told | None]:
    """Return what the headers tell of the burst tier and of the daily tier.

    Where only the standard's own headers came, their reset tells which tier they describe: a
    bucket is full again within seconds. Nonsense reads as absent.
    """
    burst = _tier(headers, "x-ratelimit-burst-")
    daily = _tier(headers, "x-ratelimit-daily-")
    if burst is None and daily is None:
        told = _tier(headers, "ratelimit-")
        if told is not None and told.reset > 600:  # noqa: PLR2004 -- no bucket takes ten minutes
            daily = told
        else:
            burst = told
    return burst, daily


def _tier(headers: Mapping[str, str], prefix: str) -> Told | None:
    texts = [headers.get(prefix + name, "").strip() for name in ("limit", "remaining", "reset")]
    if not all(_NUMBER.fullmatch(text) for text in texts):
        return None
    limit, remaining, reset = map(int, texts)
    if limit == 0:  # upstream's way to say that this tier has no limit
        return None
    return Told(limit, min(remaining, limit), min(float(reset), DAY_SECONDS))


class Bucket:
    """The burst tier: so many requests at once, refilled steadily.

    It never believes that there is more than upstream has, however late the requests under way
    arrive there.
    """

    def __init__(self, told: Told, *, flying: int, at: float) -> None:
        self._limit = told.limit
        self._per_second = _PER_SECOND
        self._tokens = float(told.remaining)
        self._at = at
        self._promised = at
        self.told(told, flying=flying, at=at)

    def told(self, told: Told, *, flying: int, at: float) -> None:
        """Take over what an answer says while `flying` other requests are under way."""
        self._limit = told.limit
        self._refill(flying, at)
        missing = told.limit - told.remaining
        full_after = missing / self._per_second
        if missing and told.reset and not told.reset - 1 < full_after <= told.reset:
            self._per_second = missing / told.reset
        self._tokens = min(self._tokens, float(max(told.remaining - flying, 0)))

    def wait(self, *, flying: int, at: float, keep: int = _HEADROOM) -> float:
        """Return the seconds until there is a token for the next request, 0 if there is one.

        One part in `keep` of the bucket is left for others.
        """
        self._refill(flying, at)
        lacking = 1 + self._limit // keep - self._tokens
        return lacking / self._per_second if lacking > _HARDLY else 0.0

    def turn(self, wait: float, *, at: float) -> float:
        """Return `wait`, or longer where others were told to wait until then: one after another.

        Never longer than filling the bucket takes, for some may not come back.
        """
        each = 1 / self._per_second
        longest = max(wait, self._limit * each)
        wait = min(max(wait, self._promised + each - at), longest)
        self._promised = at + wait
        return wait

    def take(self) -> None:
        """Count a request that is sent now."""
        self._tokens -= 1

    def _refill(self, flying: int, at: float) -> None:
        # What is under way may find the bucket full, so up to there it must not count on more.
        more = max(at - self._at, 0.0) * self._per_second
        self._tokens = min(self._tokens + more, float(self._limit - flying))
        self._at = max(self._at, at)


class Day:
    """The daily tier: what is left of this UTC day's requests, and who used the others.

    What was used before the first answer counts as ours: a process started anew, or once a
    minute, must not begin again at nothing.
    """

    def __init__(
        self, told: Told, *, flying: int, at: float, others_per_second: float = 0.0
    ) -> None:
        self.limit = told.limit
        self.ends = at + told.reset
        self.extra = 0
        self._remaining = max(told.remaining - flying, 0)
        self._before = self.limit - self._remaining
        self._ours = 0
        self._others_per_second = others_per_second
        self._glanced = (at, 0)
        self._steps = 0
        self._stepped_at = at - DAY_SECONDS

    def told(self, told: Told, *, flying: int, at: float) -> "Day":
        """Return the day after an answer: this one, or a new one if the answer is of a new one.

        Within a day only lower numbers are believed: answers overtake each other, and a server
        that lost its counters says that nothing was used.
        """
        later = at + told.reset - self.ends
        if later < -DAY_SECONDS / 2:  # an answer from before midnight that took its time
            return self
        if later > DAY_SECONDS / 2 or told.limit != self.limit:
            return self._next(told, flying, at)
        self.ends = at + told.reset
        self._remaining = min(self._remaining, max(told.remaining - flying, 0))
        return self

    def begin_anew(self, *, flying: int, at: float) -> "Day":
        """Return this day, or the next one once midnight has passed."""
        if at < self.ends:
            return self
        to_midnight = DAY_SECONDS - (at - self.ends) % DAY_SECONDS
        return self._next(Told(self.limit, self.limit, to_midnight), flying, at)

    @property
    def others(self) -> int:
        """How many requests others were seen to use today."""
        return max(self.limit - self._remaining - self._before - self._ours, 0)

    @property
    def left(self) -> int:
        """How many requests we may still send today.

        What others have not used of their part stays theirs; if they use more than that, the last
        few requests stay, so that nobody is refused.
        """
        theirs = self.limit * (100 - PERCENT_FOR_US) // 100 - self.others
        return self._remaining - max(theirs, self.limit // _LEAST_LEFT)

    def take(self, *, extra: bool) -> None:
        """Count a request that is sent now."""
        self._remaining -= 1
        self._ours += 1
        self.extra += extra

    def spend(self) -> None:
        """Believe that nothing is left, as a refusal said."""
        self._remaining = min(self._remaining, 0)

    def stretch(self, interval: timedelta, *, organizations: int, at: float) -> timedelta:
        """Return the interval at which what is left lasts until midnight, as others go on.

        It changes by one step at a time and no sooner than that step can show, for each change
        moves every slot and others may be stretching too.
        """
        self._glance(at)
        to_go = max(self.ends - at, 0.0)
        kept = self._remaining - self.left
        left = max(self.left - max(self._others_per_second * to_go - kept, 0.0), 1.0)
        now = interval * _STEP**self._steps if self._steps else interval
        if at - self._stepped_at < now.total_seconds() or to_go < now.total_seconds():
            return now
        due = organizations * to_go / now.total_seconds()
        if due > left * _SHORT and self._steps < _MOST_STEPS:
            self._steps += 1
        elif due * _STEP < left * _ENOUGH and self._steps:
            self._steps -= 1
        else:
            return now
        self._stepped_at = at
        return interval * _STEP**self._steps

    def _glance(self, at: float) -> None:
        """Note every few minutes how fast others use requests, forgetting slowly."""
        before, others = self._glanced
        if at - before < _GLANCE_SECONDS:
            return
        rate = max(self.others - others, 0) / (at - before)
        weight = 1 - math.exp((before - at) / _MEMORY_SECONDS)
        self._others_per_second += (rate - self._others_per_second) * weight
        self._glanced = (at, self.others)

    def _next(self, told: Told, flying: int, at: float) -> "Day":
        return Day(told, flying=flying, at=at, others_per_second=self._others_per_second)
