"""What the simulator answers: bodies in the shape of recorded ones, and rate limits as the cloud's.

UPSTREAM.md § 9 and § 8.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from hashlib import blake2b
from http import HTTPStatus
from math import ceil
from typing import Any

from quota_watch.demo.scenes import FREE_LIMIT, Scene
from quota_watch.model.period import ONE_DAY, each_day, is_over, month_of
from quota_watch.rybbit.answers import KNOWN_TYPES

Answer = tuple[HTTPStatus, Any]

ORGANIZATION_KEY = "rb_org_"
"""How an organization's own key begins."""

_ALL = 100  # percent

BURST = 50
REFILL = 5.0  # a second
DAILY = 5_000
DAILY_PRO = 25_000

FAILED: Answer = (
    HTTPStatus.INTERNAL_SERVER_ERROR,
    {"error": "Failed to fetch organization event count"},
)
FORBIDDEN: Answer = (HTTPStatus.FORBIDDEN, {"error": "Forbidden"})
UNAUTHORIZED: Answer = (HTTPStatus.UNAUTHORIZED, {"error": "Unauthorized"})


def event_count(scene: Scene, asked: Mapping[str, str], now: datetime) -> Answer:
    """Answer for a range of UTC days, or for all time where a date is missing."""
    if asked.get("time_zone", "UTC") != "UTC":
        return FAILED
    all_time = "start_date" not in asked or "end_date" not in asked
    try:
        start = scene.started if all_time else date.fromisoformat(asked["start_date"])
        end = now.date() if all_time else date.fromisoformat(asked["end_date"])
    except ValueError:
        return FAILED
    if start > end and not all_time:
        return FAILED
    rows = [_row(scene, day, now) for day in each_day(start, end)]
    return HTTPStatus.OK, {"data": [row for row in rows if row["event_count"] or not all_time]}


def organization_sites(scene: Scene, now: datetime) -> Answer:
    """Answer what an organization pays for, and the sites that the key may see."""
    enforced, paid = scene.enforced(now), _paid(scene, now)
    limit = paid["eventLimit"]
    counted = 0 if limit is None else enforced.counted
    return HTTPStatus.OK, {
        "organization": {
            "id": scene.id,
            "name": scene.name,
            "slug": scene.id,
            "monthlyEventCount": counted,
            "overMonthlyLimit": enforced.over,
        },
        "sites": [
            {
                "id": hex_id(scene, n),
                "siteId": site_number(scene, n),
                "name": f"site {n}",
                "type": "web",
                "domain": domain(scene, n),
                "organizationId": scene.id,
                **({"requiresPlan": n > scene.sites - scene.unpaid} if scene.unpaid else {}),
            }
            for n in seen_sites(scene)
        ],
        "role": role(scene),
        "subscription": {
            "monthlyEventCount": counted,
            "eventLimit": limit,
            "overMonthlyLimit": is_over(counted, limit),
            "planName": paid["planName"],
            "status": paid["status"],
        },
    }


def site_usage(scene: Scene, now: datetime) -> Answer:
    """Answer a site's part of the month, and the live and whole count of its organization."""
    month = month_of(now.date())
    days = (month.end - month.start).days
    used = scene.billed(now)
    elapsed = (now - datetime.combine(month.start, time.min, UTC)) / ONE_DAY
    projected = round(used * days / elapsed) if elapsed >= 1 else None
    return HTTPStatus.OK, {
        "periodStart": month.start.isoformat(),
        "daysInMonth": days,
        "daysElapsed": elapsed,
        "siteEventsThisMonth": used // scene.sites,
        "orgEventsThisMonth": used,
        "orgEventLimit": _paid(scene, now)["eventLimit"],
        "projectedSiteEvents": None if projected is None else projected // scene.sites,
        "projectedOrgEvents": projected,
    }


def organizations(scenes: Iterable[Scene]) -> Answer:
    """Answer the organizations that a key sees, with the sites it may see there."""
    return HTTPStatus.OK, [
        {
            "id": scene.id,
            "name": scene.name,
            "slug": scene.id,
            "logo": None,
            "role": role(scene),
            "members": [],
            "sites": [
                {
                    "id": str(site_number(scene, n)),
                    "domain": domain(scene, n),
                    "name": f"site {n}",
                    "organizationId": scene.id,
                }
                for n in seen_sites(scene)
            ],
        }
        for scene in scenes
    ]


def seen_sites(scene: Scene) -> range:
    """Return the sites that the key may see, counted from 1."""
    return range(1, max(scene.sites * scene.sees // _ALL, min(scene.sites, 1)) + 1)


def role(scene: Scene) -> str:
    """Return what the key's holder is in the organization, whose own key acts as admin."""
    if scene.api_key.startswith(ORGANIZATION_KEY):
        return "admin"
    return scene.role if scene.sees == _ALL else "member"


def site_number(scene: Scene, n: int) -> int:
    """Return the number of the organization's site `n`, the same every time."""
    return int.from_bytes(blake2b(scene.id.encode(), digest_size=3).digest()) * 100 + n


def hex_id(scene: Scene, n: int) -> str:
    """Return the other name of the organization's site `n`."""
    return blake2b(f"{scene.id}/{n}".encode(), digest_size=6).hexdigest()


def domain(scene: Scene, n: int) -> str:
    """Return the domain of the organization's site `n`."""
    return f"{n}.{scene.id}.example"


def _paid(scene: Scene, now: datetime) -> dict[str, Any]:
    """Return what the billing lookup finds; where it fails, the free plan."""
    terms = scene.terms(now)
    if terms.limit is None:
        return {"eventLimit": None, "planName": "free", "status": "free"}
    if any(start <= now < end for start, end in scene.hiccups):
        return {"eventLimit": FREE_LIMIT, "planName": "free", "status": "free"}
    return {"eventLimit": terms.limit, "planName": terms.plan, "status": terms.status}


def _row(scene: Scene, day: date, now: datetime) -> dict[str, Any]:
    counts = scene.counts(day, now)
    fields = {f"{type_}_count": counts[type_] * scene.sees // _ALL for type_ in KNOWN_TYPES}
    return {"event_date": f"{day} 00:00:00", **fields, "event_count": sum(fields.values())}


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
