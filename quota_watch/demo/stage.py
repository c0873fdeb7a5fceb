"""What the demo plays, and who listens: its organizations, clock and config; mail and webhook."""

import json
import secrets
import socket
import socketserver
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self, cast

from quota_watch.demo.scenes import Scene

START = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
"""When the played month begins; a year of traffic lies before it."""

END = datetime(2026, 3, 31, 22, tzinfo=UTC)

_STEP_SECONDS = 0.2
_LIMIT = 100_000
_STARTED = date(2025, 4, 1)
_REVOKED_AT = datetime(2026, 3, 16, 9, tzinfo=UTC)
_VIRAL = ((date(2025, 9, 9), 7.0), (date(2026, 3, 12), 26.0), (date(2026, 3, 13), 11.0))
_NEARBY_PORTS = 10

_CONFIG = """\
[rybbit]
base_url = "{upstream}"

[poll]
interval = "4h"

[alerts]
blind = "6h"

[plans.demo]
limit = {limit}
drops = true
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
plan = "demo"
api_key = "{key}"
"""
_WEB = """
[web]
listen = "127.0.0.1:{port}"
"""


class DemoClock:
    """A clock that goes like the machine's, faster once it is hurried, and after `seconds` no more.

    In a hurry it goes in steps: what is done within one takes no time there, so that claims hold.
    """

    def __init__(self, speed: float, seconds: float) -> None:
        self._speed = speed
        self._seconds = seconds
        self._began = time.monotonic()
        self._hurried: float | None = None

    def hurry(self) -> None:
        """Go faster from now on."""
        self._hurried = time.monotonic()

    def now(self) -> datetime:
        """Return the demo's time, to the millisecond."""
        if self._hurried is None:
            return START + timedelta(milliseconds=int((time.monotonic() - self._began) * 1000))
        passed = time.monotonic() - self._hurried
        gone = min(passed - passed % _STEP_SECONDS, self._seconds) * self._speed
        gone += self._hurried - self._began
        return min(START + timedelta(milliseconds=int(gone * 1000)), END)

    def monotonic(self) -> float:
        """Return the machine's own monotonic clock: waiting is real."""
        return time.monotonic()


def scenes() -> list[Scene]:
    """Return the organizations, each with a key of its own."""

    def scene(name: str, base: int, **rest: Any) -> Scene:
        id_ = f"org_{name.lower().replace(' ', '_')}"
        key = secrets.token_urlsafe(24)
        return Scene(
            id=id_, name=name, api_key=key, base=base, started=_STARTED, limit=_LIMIT, **rest
        )

    return [
        scene("Calm Blog", 1_450),
        scene("Growing Shop", 620, growth=1.0055),
        scene("Viral Magazine", 1_700, viral=_VIRAL),
        scene("Busy Game", 2_300, growth=1.0027),
        scene("Revoked Agency", 1_900, growth=1.0006, revoked_at=_REVOKED_AT),
    ]


def write_config(
    folder: Path,
    played: Sequence[Scene],
    *,
    upstream: str,
    hook: str,
    smtp_port: int,
    page_port: int | None,
) -> Path:
    """Write the demo's config to a file, as a user would; without a port there is no page."""
    organizations = "".join(
        _ORGANIZATION.format(id=scene.id, name=scene.name, key=scene.api_key) for scene in played
    )
    text = _CONFIG.format(
        upstream=upstream,
        limit=_LIMIT,
        organizations=organizations,
        hook=hook,
        secret="whsec_" + b64encode(secrets.token_bytes(24)).decode(),
        smtp_port=smtp_port,
    )
    file = folder / "config.toml"
    file.touch(mode=0o600)
    file.write_text(text + (_WEB.format(port=page_port) if page_port else ""), encoding="utf-8")
    return file


def free_port(wanted: int) -> int:
    """Return the port, else one of the next that nothing listens on, else any."""
    for port in (*range(wanted, min(wanted + _NEARBY_PORTS, 65_536)), 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    return 0


_SERVE_SECONDS = 0.05
_IDLE_SECONDS = 10.0
_ANSWERS = {
    b"EHLO": b"250 demo",
    b"HELO": b"250 demo",
    b"MAIL": b"250 ok",
    b"RCPT": b"250 ok",
    b"RSET": b"250 ok",
    b"NOOP": b"250 ok",
    b"QUIT": b"221 bye",
}


class _Sink(socketserver.ThreadingTCPServer):
    """A small server on a free port of loopback, for as long as it is used as a context."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_SERVE_SECONDS,), daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.socket.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class MailSink(_Sink):
    """Takes mails over SMTP and keeps each as `.eml` and, as a browser shows it, `.html`."""

    def __init__(self, folder: Path, on_mail: Callable[[EmailMessage], None]) -> None:
        super().__init__(_SmtpConversation)
        self._folder = folder
        self._on_mail = on_mail
        self._lock = threading.Lock()
        self._count = 0

    def keep(self, content: bytes) -> None:
        """Keep one mail and tell of it."""
        mail = message_from_bytes(content, policy=policy.default)
        html = mail.get_body(("html",))
        with self._lock:
            self._count += 1
            file = self._folder / f"{self._count:02}.eml"
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


class WebhookSink(_Sink):
    """Takes JSON webhooks and hands each body over."""

    def __init__(self, on_body: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(_WebhookConversation)
        self.on_body = on_body

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self.port}/hook"


class _WebhookConversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        cast("WebhookSink", self.server).on_body(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing: the demo tells what came."""
