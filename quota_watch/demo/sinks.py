"""Where the demo's messages end up: a mail server and a webhook receiver on loopback."""

import json
import socketserver
import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self, cast

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
