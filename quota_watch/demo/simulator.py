"""A Rybbit server of our own on loopback, for the demo and as the honest upstream of tests.

Its answers have the shape of recorded ones and its rate limits are the cloud's (UPSTREAM.md § 3
"v5", § 9 and § 8). Its numbers are a pure function of the scene and the time, so whoever asks can
compute the truth beside it.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from hashlib import blake2b
from http import HTTPStatus
from math import ceil
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from quota_watch.demo.scenes import FREE_LIMIT, Scene, Terms
from quota_watch.demo.stage import HttpConversation, Loopback
from quota_watch.lib.machine import Clock
from quota_watch.model.period import ONE_DAY, each_day, is_over, month_of
from quota_watch.rybbit.answers import KNOWN_TYPES, supports_keys

BURST = 50
"""How many requests an owner may make at once."""

_REFILL = 5.0  # a second
_DAILY = 5_000
_DAILY_PRO = 25_000
_ALL = 100  # percent
_ORGANIZATION_KEY = "rb_org_"  # how an organization's own key begins

_EVENT_COUNT = "/api/org-event-count/"
_PLAN, _USAGE = "org:read", "sites:read"
_ROUTES = {  # by the scope that each needs
    "analytics:read": re.compile(rf"{_EVENT_COUNT}([^/]+)"),
    _PLAN: re.compile(r"/api/organizations/([^/]+)/sites"),
    _USAGE: re.compile(r"/api/sites/([^/]+)/usage"),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a text, or what becomes JSON, and what the rate limits add to its headers."""

    status: HTTPStatus
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


_FAILED = Reply(
    HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "Failed to fetch organization event count"}
)
_FORBIDDEN = Reply(HTTPStatus.FORBIDDEN, {"error": "Forbidden"})
_UNAUTHORIZED = Reply(HTTPStatus.UNAUTHORIZED, {"error": "Unauthorized"})
_NO_SITES = Reply(HTTPStatus.FORBIDDEN, {"error": "No access to organization or no sites found"})


class Simulator(Loopback):
    """Serves the scenes over real HTTP while used as a context manager.

    `clock` is the time at the server; each request reads it once. With `rate_limits`
    it counts and refuses like the cloud (UPSTREAM.md § 8). `requests` counts what was answered,
    by path and status.
    """

    def __init__(
        self,
        clock: Clock,
        scenes: Sequence[Scene],
        *,
        rate_limits: bool = False,
        version: str = "2.8.0",
    ) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self._clock = clock
        self._scenes = {scene.id: scene for scene in scenes}
        self._sites = {
            name: scene
            for scene in scenes
            for n in range(1, scene.sites + 1)
            for name in _site_names(scene, n)
        }
        self._budgets = Budgets() if rate_limits else None
        self._version = version
        self._counting = threading.Lock()
        super().__init__(_Conversation)

    def reply(self, target: str, authorization: str) -> Reply:
        """Answer a GET, and count it."""
        path = urlsplit(target).path
        key = authorization.removeprefix("Bearer ") if authorization.startswith("Bearer ") else ""
        reply = self._public(path, key) or self._guarded(target, path, key)
        with self._counting:
            self.requests[path, reply.status] += 1
        return reply

    def _public(self, path: str, key: str) -> Reply | None:
        """Answer what no rate limit guards, or None."""
        match path:
            case "/api/version":
                return Reply(HTTPStatus.OK, {"version": self._version})
            case "/api/health":
                return Reply(HTTPStatus.OK, "OK")
            case "/api/organizations":
                now = self._clock.now()
                scenes = [each for each in self._scenes.values() if _opens(each, key, now)]
                is_refused = not scenes or key.startswith(_ORGANIZATION_KEY)
                return _UNAUTHORIZED if is_refused else _organizations(scenes)
            case str() if path == _EVENT_COUNT:
                return Reply(HTTPStatus.BAD_REQUEST, {"error": "Organization ID required"})
        return None

    def _guarded(self, target: str, path: str, key: str) -> Reply:
        """Answer what needs a key: first whether it opens this, then whether it may now."""
        matches = ((scope, route.fullmatch(path)) for scope, route in _ROUTES.items())
        scope, name = next(((scope, match[1]) for scope, match in matches if match), (None, ""))
        if scope is None:
            message, status = f"Route GET:{target} not found", HTTPStatus.NOT_FOUND
            return Reply(status, {"message": message, "error": "Not Found", "statusCode": status})
        now = self._clock.now()
        scene = (self._sites if scope == _USAGE else self._scenes).get(unquote(name))
        if scene is None or not _opens(scene, key, now):
            return _FORBIDDEN
        if scene.scopes is not None and scope not in scene.scopes:
            body = {"error": "Insufficient scope", "required": scope}
            return Reply(HTTPStatus.FORBIDDEN, body)
        charged = Reply(HTTPStatus.OK)
        if self._budgets is not None:  # the best plan among the owner's organizations decides
            plans = (each.terms(now).plan for each in self._scenes.values() if each.api_key == key)
            charged = self._budgets.charge(key, daily=max(map(daily_limit, plans)), now=now)
        if charged.status is not HTTPStatus.OK:
            return charged
        return replace(self._answer(scope, scene, target, now), headers=charged.headers)

    def _answer(self, scope: str, scene: Scene, target: str, now: datetime) -> Reply:
        if scope == _PLAN:
            return _organization_sites(scene, now)
        if scope == _USAGE:
            return _site_usage(scene, now)
        if not supports_keys(self._version) or not scene.sites:
            return _NO_SITES
        query = parse_qs(urlsplit(target).query)
        return _event_count(scene, {name: values[0] for name, values in query.items()}, now)


def _opens(scene: Scene, key: str, now: datetime) -> bool:
    return key == scene.api_key and (scene.revoked_at is None or now < scene.revoked_at)


class _Conversation(HttpConversation):
    server: Simulator

    def do_GET(self) -> None:  # noqa: N802 - called by http.server
        reply = self.server.reply(self.path, self.headers.get("Authorization", ""))
        is_text = isinstance(reply.body, str)
        text = reply.body if is_text else json.dumps(reply.body, separators=(",", ":"))
        body = text.encode()
        headers = {
            "vary": "Origin",
            **reply.headers,
            "content-type": f"{'text/plain' if is_text else 'application/json'}; charset=utf-8",
            "content-length": str(len(body)),
        }
        self.send_response_only(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _event_count(scene: Scene, query: Mapping[str, str], now: datetime) -> Reply:
    """Answer for a range of UTC days, or for all time where a date is missing."""
    all_time = "start_date" not in query or "end_date" not in query
    try:
        start = scene.started if all_time else date.fromisoformat(query["start_date"])
        end = now.date() if all_time else date.fromisoformat(query["end_date"])
    except ValueError:
        return _FAILED
    if (start > end and not all_time) or query.get("time_zone", "UTC") != "UTC":
        return _FAILED
    rows = [_row(scene, day, now) for day in each_day(start, end)]
    data = [row for row in rows if row["event_count"] or not all_time]
    return Reply(HTTPStatus.OK, {"data": data})


def _organization_sites(scene: Scene, now: datetime) -> Reply:
    """Answer what an organization pays for, and the sites that the key may see."""
    enforced, paid = scene.enforced(now), _paid(scene, now)
    counted = 0 if paid.limit is None else enforced.counted
    body = {
        "organization": {
            "id": scene.id,
            "name": scene.name,
            "slug": scene.id,
            "monthlyEventCount": counted,
            "overMonthlyLimit": enforced.over,
        },
        "sites": _sites(scene),
        "role": _role(scene),
        "subscription": {
            "monthlyEventCount": counted,
            "eventLimit": paid.limit,
            "overMonthlyLimit": is_over(counted, paid.limit),
            "planName": paid.plan,
            "status": paid.status,
        },
    }
    return Reply(HTTPStatus.OK, body)


def _site_usage(scene: Scene, now: datetime) -> Reply:
    """Answer a site's part of the month, and the live and whole count of its organization."""
    month = month_of(now.date())
    used = scene.billed(now)
    elapsed = (now - datetime.combine(month.start, time.min, UTC)) / ONE_DAY
    projected = round(used * month.days / elapsed) if elapsed >= 1 else None
    body = {
        "periodStart": month.start.isoformat(),
        "daysInMonth": month.days,
        "daysElapsed": elapsed,
        "siteEventsThisMonth": used // scene.sites,
        "orgEventsThisMonth": used,
        "orgEventLimit": _paid(scene, now).limit,
        "projectedSiteEvents": None if projected is None else projected // scene.sites,
        "projectedOrgEvents": projected,
    }
    return Reply(HTTPStatus.OK, body)


def _organizations(scenes: Iterable[Scene]) -> Reply:
    """Answer the organizations that a key sees, with the sites it may see there."""
    body = [
        {
            "id": scene.id,
            "name": scene.name,
            "slug": scene.id,
            "logo": None,
            "role": _role(scene),
            "members": [],
            "sites": [
                {
                    "id": str(site["siteId"]),
                    "domain": site["domain"],
                    "name": site["name"],
                    "organizationId": scene.id,
                }
                for site in _sites(scene)
            ],
        }
        for scene in scenes
    ]
    return Reply(HTTPStatus.OK, body)


def _sites(scene: Scene) -> list[dict[str, Any]]:
    """List the sites that the key may see."""
    sites = []
    for n in range(1, max(scene.sites * scene.sees // _ALL, min(scene.sites, 1)) + 1):
        number, hex_id = _site_names(scene, n)
        sites.append(
            {
                "id": hex_id,
                "siteId": int(number),
                "name": f"site {n}",
                "type": "web",
                "domain": f"{n}.{scene.id}.example",
                "organizationId": scene.id,
                **({"requiresPlan": n > scene.sites - scene.unpaid} if scene.unpaid else {}),
            }
        )
    return sites


def _site_names(scene: Scene, n: int) -> tuple[str, str]:
    """Both names of the organization's site `n`, a number and an id, the same every time."""
    number = int.from_bytes(blake2b(scene.id.encode(), digest_size=3).digest()) * 100 + n
    return str(number), blake2b(f"{scene.id}/{n}".encode(), digest_size=6).hexdigest()


def _role(scene: Scene) -> str:
    """The role of the key's holder in the organization, whose own key acts as admin."""
    if scene.api_key.startswith(_ORGANIZATION_KEY):
        return "admin"
    return scene.role if scene.sees == _ALL else "member"


def _paid(scene: Scene, now: datetime) -> Terms:
    """Look up what is paid for; where there is no limit or that fails, the free plan."""
    terms = scene.terms(now)
    fails = any(start <= now < end for start, end in scene.hiccups)
    if terms.limit is not None and not fails:
        return terms
    limit = None if terms.limit is None else FREE_LIMIT
    return replace(terms, limit=limit, plan="free", status="free")


def _row(scene: Scene, day: date, now: datetime) -> dict[str, Any]:
    counts = scene.counts(day, now)
    fields = {f"{type_}_count": counts[type_] * scene.sees // _ALL for type_ in KNOWN_TYPES}
    return {"event_date": f"{day} 00:00:00", **fields, "event_count": sum(fields.values())}


def daily_limit(plan: str) -> int:
    """How many requests a day a plan allows."""
    return _DAILY_PRO if "pro" in plan or plan == "custom" else _DAILY


@dataclass(slots=True)
class Budgets:
    """One budget per owner. A request refused by one limit is not charged to the other."""

    _buckets: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    _days: Counter[tuple[str, date]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, owner: str, *, daily: int, now: datetime) -> Reply:
        """Take one request from the owner's budget, or refuse it."""
        with self._lock:
            tokens, at = self._buckets.get(owner, (float(BURST), now))
            tokens = min(BURST, tokens + max((now - at).total_seconds(), 0.0) * _REFILL)
            day = owner, now.date()
            scope = "daily" if self._days[day] >= daily else "burst" if tokens < 1 else None
            if scope is None:
                tokens -= 1
                self._days[day] += 1
            self._buckets[owner] = tokens, now
            remaining = max(daily - self._days[day], 0)
        return _charged(scope, tokens=tokens, daily=daily, remaining=remaining, now=now)


def _charged(
    scope: str | None, *, tokens: float, daily: int, remaining: int, now: datetime
) -> Reply:
    """Write the headers, all of whose resets are in seconds from now, and the refusal."""
    midnight = datetime.combine(now.date() + ONE_DAY, time.min, UTC)
    burst = (BURST, int(tokens), ceil((BURST - int(tokens)) / _REFILL))
    day = (daily, remaining, ceil((midnight - now).total_seconds()))
    nearer = min(burst, day, key=lambda tier: tier[1] / tier[0])
    tiers = {"x-ratelimit-burst": burst, "x-ratelimit-daily": day, "ratelimit": nearer}
    headers = {
        f"{tier}-{name}": str(value)
        for tier, values in tiers.items()
        for name, value in zip(("limit", "remaining", "reset"), values, strict=True)
    }
    if scope is None:
        return Reply(HTTPStatus.OK, headers=headers)
    wait = day[2] if scope == "daily" else max(ceil((1 - tokens) / _REFILL), 1)
    refusal = {
        "error": "Rate limit exceeded",
        "scope": scope,
        "limit": daily if scope == "daily" else BURST,
        "retryAfter": wait,
    }
    return Reply(HTTPStatus.TOO_MANY_REQUESTS, refusal, headers | {"retry-after": str(wait)})
