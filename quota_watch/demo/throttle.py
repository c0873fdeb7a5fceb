"""The simulator's rate limits: those of Rybbit's cloud (UPSTREAM.md § 8)."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from math import ceil
from typing import Any

from quota_watch.model.period import ONE_DAY

BURST = 50
REFILL = 5.0  # a second
DAILY = 5_000
DAILY_PRO = 25_000


def daily_limit(plan: str) -> int:
    """Return how many requests a day a plan allows."""
    return DAILY_PRO if "pro" in plan or plan == "custom" else DAILY


@dataclass(frozen=True, slots=True)
class Charged:
    """What a request came to: the headers of its answer, and the body of a 429 if it is one."""

    headers: Mapping[str, str]
    refusal: Mapping[str, Any] | None


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


@dataclass(slots=True)
class Budgets:
    """One budget per owner. A request refused by one limit is not charged to the other."""

    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _days: Counter[tuple[str, date]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, owner: str, *, daily: int, now: datetime) -> Charged:
        """Take one request from the owner's budget, or refuse it."""
        with self._lock:
            bucket = self._refilled(owner, now)
            scope = None
            if self._days[owner, now.date()] >= daily:
                scope = "daily"
            elif bucket.tokens < 1:
                scope = "burst"
            else:
                bucket.tokens -= 1
                self._days[owner, now.date()] += 1
            return _charged(
                scope,
                tokens=bucket.tokens,
                daily=daily,
                left=max(daily - self._days[owner, now.date()], 0),
                now=now,
            )

    def _refilled(self, owner: str, now: datetime) -> _Bucket:
        bucket = self._buckets.setdefault(owner, _Bucket(BURST, now))
        passed = max((now - bucket.at).total_seconds(), 0.0)
        bucket.tokens, bucket.at = min(BURST, bucket.tokens + passed * REFILL), now
        return bucket


def _charged(scope: str | None, *, tokens: float, daily: int, left: int, now: datetime) -> Charged:
    """Write the headers, all of whose resets are in seconds from now, and the refusal."""
    midnight = datetime.combine(now.date() + ONE_DAY, time.min, UTC)
    burst = (BURST, int(tokens), ceil((BURST - int(tokens)) / REFILL))
    day = (daily, left, ceil((midnight - now).total_seconds()))
    nearer = min(burst, day, key=lambda tier: tier[1] / tier[0])
    tiers = {"x-ratelimit-burst": burst, "x-ratelimit-daily": day, "ratelimit": nearer}
    headers = {
        f"{tier}-{name}": str(value)
        for tier, values in tiers.items()
        for name, value in zip(("limit", "remaining", "reset"), values, strict=True)
    }
    if scope is None:
        return Charged(headers, None)
    wait = day[2] if scope == "daily" else max(ceil((1 - tokens) / REFILL), 1)
    refusal = {
        "error": "Rate limit exceeded",
        "scope": scope,
        "limit": daily if scope == "daily" else BURST,
        "retryAfter": wait,
    }
    return Charged(headers | {"retry-after": str(wait)}, refusal)
