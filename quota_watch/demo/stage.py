"""The demo's stage: its clock and config, and who listens: a mail server and a webhook."""

import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any, Self, cast

from quota_watch.demo.scenes import Scene
from quota_watch.lib.machine import Clock

PLAYED_EVERY, REAL_EVERY = timedelta(hours=4), timedelta(minutes=5)
"""How often an organization is polled while the past is played, and from then on."""

_AT_LEAST = timedelta(days=20)
_NEARBY_PORTS = 10

_CONFIG = """\
[rybbit]
base_url = "{upstream}"

[poll]
interval = "{minutes}m"

[alerts]
blind = "6h"

[database]
url = {database}
{organizations}
[channels.ops]
type = "email"
to = ["ops@example.com"]

[channels.hook]
type = "webhook"
url = "{hook}"
secret = "{secret}"

[smtp]
host = "127.0.0.1"
port = {smtp_port}
security = "none"
from = "Quota Watch <quota-watch@example.com>"
"""
_ORGANIZATION = """
[[organizations]]
id = "{id}"
name = "{name}"
plan = "auto"
api_key = "{key}"
"""
_WEB = """
[web]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
actions = true
"""


def beginning(now: datetime) -> datetime:
    """Choose where the play begins: with a month, and at least twenty days ago."""
    first = (now - _AT_LEAST).date().replace(day=1)
    return datetime(first.year, first.month, 1, 0, 30, tzinfo=UTC)


class DemoClock(Clock):
    """Stands at a moment of the past until it is moved on; once it is at now, it goes with `real`.

    What is done between two moves takes no time there, so that claims hold.
    """

    def __init__(self, start: datetime, real: Clock) -> None:
        self._at: datetime | None = start
        self._real = real

    def move_on(self, by: timedelta) -> bool:
        """Go on by so much, but at most to now; returns whether it is now."""
        if self._at is not None:
            ahead = self._at + by
            self._at = ahead if ahead < self._real.now() else None
        return self._at is None

    def now(self) -> datetime:
        """The demo's time."""
        return self._at or self._real.now()

    def monotonic(self) -> float:
        """The machine's own monotonic clock: waiting is real."""
        return time.monotonic()


def write_config(
    file: Path,
    scenes: Sequence[Scene],
    *,
    interval: timedelta,
    database: str,
    upstream: str,
    hook: str,
    secret: str,
    smtp_port: int,
    page_port: int | None,
) -> None:
    """Write the demo's config, as a user would; without a port there is no page."""
    text = _CONFIG.format(
        upstream=upstream,
        minutes=interval // timedelta(minutes=1),
        database=json.dumps(database),
        organizations="".join(
            _ORGANIZATION.format(id=scene.id, name=scene.name, key=scene.api_key)
            for scene in scenes
        ),
        hook=hook,
        secret=secret,
        smtp_port=smtp_port,
    )
    file.touch(mode=0o600)
    file.write_text(text + (_WEB.format(port=page_port) if page_port else ""), encoding="utf-8")


def free_port(first: int) -> int:
    """Choose the port, else one of the next that nothing listens on, else any."""
    for port in (*range(first, min(first + _NEARBY_PORTS, 65_536)), 0):
        with socket.socket() as tried, suppress(OSError):
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(("127.0.0.1", port))
            return int(tried.getsockname()[1])
    return 0


class Loopback(socketserver.ThreadingTCPServer):
    """A server on a free port of loopback, for as long as it is used as a context."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.socket.getsockname()[1])

    @property
    def url(self) -> str:
        """Where it answers, if it speaks HTTP."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        for connection in tuple(self._open):  # so that no thread goes on waiting for its client
            with suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)
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


_IDLE_SECONDS = 30.0  # before a silent connection is closed
_ANSWERS = {
    b"EHLO": b"250 demo",
    b"HELO": b"250 demo",
    b"MAIL": b"250 ok",
    b"RCPT": b"250 ok",
    b"RSET": b"250 ok",
    b"NOOP": b"250 ok",
    b"QUIT": b"221 bye",
}


class HttpConversation(BaseHTTPRequestHandler):
    """A connection that stays open for the next request, and logs nothing."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    wbufsize = -1  # headers and body leave together

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


class MailSink(Loopback):
    """Takes mails over SMTP and keeps each as `.eml` and, as a browser shows it, `.html`."""

    def __init__(self, folder: Path, on_mail: Callable[[EmailMessage], None]) -> None:
        super().__init__(_SmtpConversation)
        self._folder = folder
        self._on_mail = on_mail
        self._lock = threading.Lock()
        self._numbers = count(1)

    def keep(self, content: bytes) -> None:
        """Write one mail to its files and announce it."""
        mail = message_from_bytes(content, policy=policy.default)
        html = mail.get_body(("html",))
        with self._lock:
            file = self._folder / f"{next(self._numbers):02}.eml"
            file.write_bytes(content)
            if html is not None:
                file.with_suffix(".html").write_text(html.get_content(), encoding="utf-8")
            self._on_mail(mail)


class _SmtpConversation(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as one client needs that sends one mail at a time."""

    timeout = _IDLE_SECONDS

    def handle(self) -> None:
        self._say(b"220 demo")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"DATA":
                self._say(b"354 go on")
                cast("MailSink", self.server).keep(self._data())
                self._say(b"250 kept")
            else:
                self._say(_ANSWERS.get(verb, b"502 not here"))
            if verb == b"QUIT":
                return

    def _data(self) -> bytes:
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return b"".join(lines)

    def _say(self, answer: bytes) -> None:
        self.wfile.write(answer + b"\r\n")


class WebhookSink(Loopback):
    """Takes JSON webhooks and hands each body over."""

    def __init__(self, on_body: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(_WebhookConversation)
        self.on_body = on_body


class _WebhookConversation(HttpConversation):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        cast("WebhookSink", self.server).on_body(json.loads(body))
        self.send_response(204)
        self.end_headers()
