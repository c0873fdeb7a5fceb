"""A real HTTP server on loopback that answers as told and keeps what it was asked."""

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers, body. `Content-Length` is added where it is missing."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent; `headers` finds names in any case."""

    method: str
    path: str
    headers: Message
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)


@dataclass
class HttpServer:
    """`answers` is a list, whose last entry is given again and again, or a function.

    `requests` holds everything asked, in order; `wait_for` waits until enough was.
    """

    answers: list[Answer] | Callable[[Request], Answer] = field(
        default_factory=lambda: [(200, {}, b"")]
    )
    requests: list[Request] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _server: "_Server | None" = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()
        self._server = self._thread = None

    def wait_for(self, requests: int, *, seconds: float = 10) -> list[Request]:
        """Return the requests as soon as there are so many; fail after `seconds`."""
        with self._news:
            enough = self._news.wait_for(lambda: len(self.requests) >= requests, seconds)
            assert enough, f"{len(self.requests)} requests in {seconds} s, not {requests}"
            return list(self.requests)

    def answer(self, request: Request) -> Answer:
        with self._news:
            self.requests.append(request)
            self._news.notify_all()
            if not callable(self.answers):
                return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return self.answers(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, owner: HttpServer) -> None:
        self.owner = owner
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request, client_address) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End connections that clients keep open, else their threads would never end."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address) -> None:
        """Keep quiet about clients that hang up early: tests provoke it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave together: a second packet would wait for an ACK
    server: _Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, self.headers, body)
        status, headers, answer = self.server.owner.answer(request)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in map(str.lower, headers):
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815  the names http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is inherited
        """Print nothing: the test looks at `requests`."""
