"""A Rybbit server of our own on loopback, for the demo and as the honest upstream of tests.

Its answers have the shape of recorded ones (UPSTREAM.md § 3, "v5"); its numbers are a pure
function of the scene and the time, so whoever asks can compute the truth beside it.
"""

import json
import socket
import sys
import threading
from collections.abc import Sequence
from datetime import date, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from quota_watch.clock import Clock
from quota_watch.domain.periods import each_day
from quota_watch.rybbit.answers import KNOWN_TYPES
from quota_watch.rybbit.scenes import Scene

__all__ = ("Scene", "Simulator")

_EVENT_COUNT = "/api/org-event-count/"
_IDLE = 30.0  # seconds before a silent connection is closed
_Answer = tuple[HTTPStatus, Any]

_FAILED: _Answer = (
    HTTPStatus.INTERNAL_SERVER_ERROR,
    {"error": "Failed to fetch organization event count"},
)
_FORBIDDEN: _Answer = (HTTPStatus.FORBIDDEN, {"error": "Forbidden"})


class Simulator:
    """Serves the scenes over real HTTP while used as a context manager.

    `clock` says what time it is at the server. Each request reads it once.
    """

    def __init__(self, clock: Clock, scenes: Sequence[Scene]) -> None:
        self._clock = clock
        self._scenes = {scene.id: scene for scene in scenes}
        self._server = _Server(self._answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="simulator", daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def _answer(self, target: str, authorization: str) -> _Answer:
        url = urlsplit(target)
        if url.path == "/api/version":
            return HTTPStatus.OK, {"version": "2.8.0"}
        if url.path == "/api/health":
            return HTTPStatus.OK, "OK"
        if url.path == _EVENT_COUNT:
            return HTTPStatus.BAD_REQUEST, {"error": "Organization ID required"}
        if not url.path.startswith(_EVENT_COUNT):
            return _no_route(target)
        scene = self._scenes.get(unquote(url.path.removeprefix(_EVENT_COUNT)))
        now = self._clock.now()
        if scene is None or authorization != f"Bearer {scene.api_key}" or scene.revoked(now):
            return _FORBIDDEN
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        return _event_count(scene, asked, now)


def _no_route(target: str) -> _Answer:
    status = HTTPStatus.NOT_FOUND
    message = f"Route GET:{target} not found"
    return status, {"message": message, "error": "Not Found", "statusCode": status}


def _event_count(scene: Scene, asked: dict[str, str], now: datetime) -> _Answer:
    """Answer for a range of UTC days, or for all time where a date is missing."""
    if asked.get("time_zone", "UTC") != "UTC":
        return _FAILED
    all_time = "start_date" not in asked or "end_date" not in asked
    try:
        start = scene.started if all_time else date.fromisoformat(asked["start_date"])
        end = now.date() if all_time else date.fromisoformat(asked["end_date"])
    except ValueError:
        return _FAILED
    if start > end and not all_time:
        return _FAILED
    rows = [_row(scene, day, now) for day in each_day(start, end)]
    return HTTPStatus.OK, {"data": [row for row in rows if row["event_count"] or not all_time]}


def _row(scene: Scene, day: date, now: datetime) -> dict[str, Any]:
    counts = scene.counts(day, now)
    fields = {f"{type_}_count": counts[type_] for type_ in KNOWN_TYPES}
    return {"event_date": f"{day} 00:00:00", **fields, "event_count": sum(fields.values())}


class _Server(ThreadingHTTPServer):
    """An HTTP server that can hang up on clients that keep their connections open."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        """Bind without the name lookup of `HTTPServer`, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that hang up in the middle."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Shut every connection, so that no thread goes on waiting for its client."""
        for connection in tuple(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # the client was faster
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    wbufsize = -1  # headers and body leave together
    server: _Server

    def do_GET(self) -> None:
        status, answer = self.server.answer(self.path, self.headers.get("Authorization", ""))
        text = isinstance(answer, str)
        body = (answer if text else json.dumps(answer, separators=(",", ":"))).encode()
        self.send_response_only(status)
        self.send_header("vary", "Origin")
        type_ = "text/plain" if text else "application/json"
        self.send_header("content-type", f"{type_}; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited name
        """Say nothing: the terminal is the demo's."""
