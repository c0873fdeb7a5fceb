"""A Rybbit server of our own on loopback, for the demo and as the honest upstream of tests.

Its answers have the shape of recorded ones (UPSTREAM.md § 3, "v5"); its numbers are a pure
function of the scene and the time, so whoever asks can compute the truth beside it.
"""

import json
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from quota_watch.demo.answers import (
    FORBIDDEN,
    ORGANIZATION_KEY,
    UNAUTHORIZED,
    Answer,
    Budgets,
    Charged,
    daily_limit,
    event_count,
    hex_id,
    organization_sites,
    organizations,
    site_number,
    site_usage,
)
from quota_watch.demo.scenes import Scene
from quota_watch.lib.clock import Clock
from quota_watch.rybbit.account import supports_keys

_IDLE = 30.0  # seconds before a silent connection is closed
_EVENT_COUNT = "/api/org-event-count/"
_PLAN, _USAGE = "org:read", "sites:read"
_ROUTES = {  # by the scope that each needs
    "analytics:read": re.compile(rf"{_EVENT_COUNT}([^/]+)"),
    _PLAN: re.compile(r"/api/organizations/([^/]+)/sites"),
    _USAGE: re.compile(r"/api/sites/([^/]+)/usage"),
}
_NO_SITES: Answer = (HTTPStatus.FORBIDDEN, {"error": "No access to organization or no sites found"})


@dataclass(frozen=True, slots=True)
class _Reply:
    status: HTTPStatus
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Loopback(ThreadingTCPServer):
    """A server on a free port of loopback, for as long as it is used as a context."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handler: type[BaseRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._hang_up()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that hang up in the middle."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, to hang up at the end."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget it: its client or its thread was done."""
        self._open.discard(request)
        super().shutdown_request(request)

    def _hang_up(self) -> None:
        """Shut every connection, so that no thread goes on waiting for its client."""
        for connection in tuple(self._open):
            with suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)


class Simulator(Loopback):
    """Serves the scenes over real HTTP while used as a context manager.

    `clock` says what time it is at the server. Each request reads it once. With `rate_limits`
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
            for name in (str(site_number(scene, n)), hex_id(scene, n))
        }
        self._budgets = Budgets() if rate_limits else None
        self._version = version
        self._counting = threading.Lock()
        super().__init__(_Conversation)

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    def reply(self, target: str, authorization: str) -> _Reply:
        """Answer a GET, and count it."""
        path = urlsplit(target).path
        key = authorization.removeprefix("Bearer ") if authorization.startswith("Bearer ") else ""
        reply = self._public(path, key) or self._guarded(target, path, key)
        with self._counting:
            self.requests[path, reply.status] += 1
        return reply

    def _public(self, path: str, key: str) -> _Reply | None:
        """Answer what no rate limit guards, or None."""
        match path:
            case "/api/version":
                return _Reply(HTTPStatus.OK, {"version": self._version})
            case "/api/health":
                return _Reply(HTTPStatus.OK, "OK")
            case "/api/organizations":
                now = self._clock.now()
                scenes = [each for each in self._scenes.values() if _opens(each, key, now)]
                listed = scenes and not key.startswith(ORGANIZATION_KEY)
                return _Reply(*(organizations(scenes) if listed else UNAUTHORIZED))
            case str() if path == _EVENT_COUNT:
                return _Reply(HTTPStatus.BAD_REQUEST, {"error": "Organization ID required"})
        return None

    def _guarded(self, target: str, path: str, key: str) -> _Reply:
        """Answer what needs a key: first whether it opens this, then whether it may now."""
        scope, name = _route(path)
        if scope is None:
            return _Reply(*_no_route(target))
        now = self._clock.now()
        scene = (self._sites if scope == _USAGE else self._scenes).get(name)
        if scene is None or not _opens(scene, key, now):
            return _Reply(*FORBIDDEN)
        if scene.scopes is not None and scope not in scene.scopes:
            body = {"error": "Insufficient scope", "required": scope}
            return _Reply(HTTPStatus.FORBIDDEN, body)
        charged = self._charge(key, now)
        if charged.refusal is not None:
            return _Reply(HTTPStatus.TOO_MANY_REQUESTS, charged.refusal, charged.headers)
        return _Reply(*self._told(scope, scene, target, now), charged.headers)

    def _told(self, scope: str, scene: Scene, target: str, now: datetime) -> Answer:
        if scope == _PLAN:
            return organization_sites(scene, now)
        if scope == _USAGE:
            return site_usage(scene, now)
        if not supports_keys(self._version) or not scene.sites:
            return _NO_SITES
        query = parse_qs(urlsplit(target).query)
        return event_count(scene, {name: values[0] for name, values in query.items()}, now)

    def _charge(self, key: str, now: datetime) -> Charged:
        if self._budgets is None:
            return Charged({}, None)
        return self._budgets.charge(key, daily=self._daily(key, now), now=now)

    def _daily(self, key: str, now: datetime) -> int:
        """Return the owner's requests a day: of the best plan among his organizations."""
        own = (each for each in self._scenes.values() if each.api_key == key)
        return max(daily_limit(scene.terms(now).plan) for scene in own)


def _route(path: str) -> tuple[str | None, str]:
    """Return the scope that the path needs and the name in it; no scope where nothing is."""
    matches = ((scope, route.fullmatch(path)) for scope, route in _ROUTES.items())
    return next(((scope, unquote(match[1])) for scope, match in matches if match), (None, ""))


def _opens(scene: Scene, key: str, now: datetime) -> bool:
    return key == scene.api_key and not scene.revoked(now)


def _no_route(target: str) -> Answer:
    status = HTTPStatus.NOT_FOUND
    message = f"Route GET:{target} not found"
    return status, {"message": message, "error": "Not Found", "statusCode": status}


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    wbufsize = -1  # headers and body leave together
    server: Simulator

    def do_GET(self) -> None:
        reply = self.server.reply(self.path, self.headers.get("Authorization", ""))
        text = isinstance(reply.body, str)
        body = (reply.body if text else json.dumps(reply.body, separators=(",", ":"))).encode()
        self.send_response_only(reply.status)
        self.send_header("vary", "Origin")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        type_ = "text/plain" if text else "application/json"
        self.send_header("content-type", f"{type_}; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited name
        """Say nothing: the terminal is the demo's."""
