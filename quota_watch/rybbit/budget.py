"""The arithmetic of rate limits: a bucket for bursts, a number of requests for each UTC day.

UPSTREAM.md § 8 describes how upstream counts. Its answers show what is left after all programs with
the key; requests still under way may or may not be included, so they are subtracted again. Times
are monotonic seconds: the wall clock may jump.
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
_HALF = 2  # the same for what is spare
_LEAST_LEFT = 50  # one part in so many of the day stays, whoever uses the rest
_HARDLY = 1e-9  # tokens, lost in rounding
_SHORT = 1.1  # how far the rest of the day's polls may exceed what is left before it matters
_STEP = 1.25
_MOST_STEPS = 10
_ENOUGH = 0.8  # of what is left must do for the polls of a shorter interval
_MEMORY_SECONDS = 3 * 3600.0  # time constant of the average of what others use
_GLANCE_SECONDS = 600.0
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class RateTier:
    """One tier as an answer's headers describe it; `reset` is in seconds from now."""

    limit: int
    remaining: int
    reset: float


def read_tiers(headers: Mapping[str, str]) -> tuple[RateTier | None, RateTier | None]:
    """Read the burst tier and the daily tier from the headers.

    Where only the standard's own headers are present, their reset shows which tier they describe:
    a bucket is full again within seconds. Nonsense counts as absent.
    """
    burst = _read_tier(headers, "x-ratelimit-burst-")
    daily = _read_tier(headers, "x-ratelimit-daily-")
    if burst is None and daily is None:
        tier = _read_tier(headers, "ratelimit-")
        if tier is not None and tier.reset > 600:  # noqa: PLR2004 -- no bucket takes ten minutes
            daily = tier
        else:
            burst = tier
    return burst, daily


def _read_tier(headers: Mapping[str, str], prefix: str) -> RateTier | None:
    texts = [headers.get(prefix + name, "").strip() for name in ("limit", "remaining", "reset")]
    if not all(_NUMBER.fullmatch(text) for text in texts):
        return None
    limit, remaining, reset = map(int, texts)
    if limit == 0:  # upstream's way to say that this tier has no limit
        return None
    return RateTier(limit, min(remaining, limit), min(float(reset), DAY_SECONDS))


class Bucket:
    """The burst tier: so many requests at once, refilled steadily.

    It never assumes more than upstream has, however late the requests under way arrive there.
    """

    def __init__(self, tier: RateTier, *, at: float) -> None:
        self._limit = tier.limit
        self._per_second = _PER_SECOND
        self._tokens = float(tier.remaining)
        self._at = at
        self._promised = at

    def update(self, tier: RateTier, *, in_flight: int, at: float) -> None:
        """Update from an answer while `in_flight` other requests are under way."""
        self._limit = tier.limit
        self._refill(in_flight, at)
        missing = tier.limit - tier.remaining
        full_after = missing / self._per_second
        if missing and tier.reset and not tier.reset - 1 < full_after <= tier.reset:
            self._per_second = missing / tier.reset
        self._tokens = min(self._tokens, float(max(tier.remaining - in_flight, 0)))

    def wait(self, *, in_flight: int, at: float, is_spare: bool) -> float:
        """Return the seconds until there is a token for the next request, 0 if there is one.

        One part of the bucket is left for others. Those that must wait go one after another, but
        none waits longer than filling the bucket takes, for some may not come back; what is spare
        leaves half of it, and takes no one's turn.
        """
        self._refill(in_flight, at)
        lacking = 1 + self._limit // (_HALF if is_spare else _HEADROOM) - self._tokens
        if lacking <= _HARDLY:
            return 0.0
        each = 1 / self._per_second
        wait = lacking * each
        if not is_spare:
            longest = max(wait, self._limit * each)
            wait = min(max(wait, self._promised + each - at), longest)
            self._promised = at + wait
        return wait

    def take(self) -> None:
        """Count a request that is sent now."""
        self._tokens -= 1

    def _refill(self, in_flight: int, at: float) -> None:
        # What is under way may find the bucket full, so up to there it must not count on more.
        more = max(at - self._at, 0.0) * self._per_second
        self._tokens = min(self._tokens + more, float(self._limit - in_flight))
        self._at = max(self._at, at)


class Day:
    """The daily tier: what is left of this UTC day's requests, and who used the others.

    What was used before the first answer counts as ours: a process restarted, or run once a
    minute, must not start over at zero.
    """

    def __init__(self, tier: RateTier, *, in_flight: int, at: float) -> None:
        self._others_per_second = 0.0
        self._begin(tier, in_flight, at)

    def _begin(self, tier: RateTier, in_flight: int, at: float) -> None:
        self.limit = tier.limit
        self.ends = at + tier.reset
        self.extra = 0
        self._remaining = max(tier.remaining - in_flight, 0)
        self._ours = self.limit - self._remaining
        self._glanced = (at, 0)
        self._steps = 0
        self._stepped_at = at - DAY_SECONDS

    def update(self, tier: RateTier, *, in_flight: int, at: float) -> None:
        """Update from an answer, which may be the first of a new day.

        Within a day only lower numbers are accepted: answers overtake each other, and a server
        that lost its counters reports that nothing was used.
        """
        later = at + tier.reset - self.ends
        if later < -DAY_SECONDS / 2:  # an answer from before midnight that took its time
            return
        if later > DAY_SECONDS / 2 or tier.limit != self.limit:
            self._begin(tier, in_flight, at)
        self.ends = at + tier.reset
        self._remaining = min(self._remaining, max(tier.remaining - in_flight, 0))

    def pass_midnight(self, *, in_flight: int, at: float) -> None:
        """Begin the next day if midnight has passed."""
        if at >= self.ends:
            to_midnight = DAY_SECONDS - (at - self.ends) % DAY_SECONDS
            self._begin(RateTier(self.limit, self.limit, to_midnight), in_flight, at)

    @property
    def others(self) -> int:
        """How many requests others have visibly used today."""
        return max(self.limit - self._remaining - self._ours, 0)

    @property
    def left(self) -> int:
        """How many requests we may still send today.

        The unused part of others' share stays theirs; if they use more than their share, the last
        few requests are left, so that nobody is refused.
        """
        theirs = self.limit * (100 - PERCENT_FOR_US) // 100 - self.others
        return self._remaining - max(theirs, self.limit // _LEAST_LEFT)

    def take(self, *, extra: bool) -> None:
        """Count a request that is sent now."""
        self._remaining -= 1
        self._ours += 1
        self.extra += extra

    def spend(self, *, until: float) -> None:
        """Note that nothing is left, as a refusal until then showed, unless of the day before."""
        if until > self.ends - DAY_SECONDS / 2:
            self._remaining = min(self._remaining, 0)

    def stretch(self, interval: timedelta, *, organizations: int, at: float) -> timedelta:
        """Return the interval at which what is left lasts until midnight, as others go on.

        It changes by one step at a time and no sooner than that step can show, for each change
        moves every slot and others may be stretching too.
        """
        self._glance(at)
        to_go = max(self.ends - at, 0.0)
        reserve = self._remaining - self.left
        remaining = max(self.left - max(self._others_per_second * to_go - reserve, 0.0), 1.0)
        now = interval * _STEP**self._steps
        if at - self._stepped_at < now.total_seconds() or to_go < now.total_seconds():
            return now
        due = organizations * to_go / now.total_seconds()
        if due > remaining * _SHORT and self._steps < _MOST_STEPS:
            self._steps += 1
        elif due * _STEP < remaining * _ENOUGH and self._steps:
            self._steps -= 1
        else:
            return now
        self._stepped_at = at
        return interval * _STEP**self._steps

    def _glance(self, at: float) -> None:
        """Track every few minutes how fast others use requests, as a slow average."""
        before, others = self._glanced
        if at - before < _GLANCE_SECONDS:
            return
        rate = max(self.others - others, 0) / (at - before)
        weight = 1 - math.exp((before - at) / _MEMORY_SECONDS)
        self._others_per_second += (rate - self._others_per_second) * weight
        self._glanced = (at, self.others)
