"""Receivers of every kind: real ones of aiosmtpd, and raw ones that behave badly by a script."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

Script = Callable[[socket.socket, threading.Event], None]
"""Talks to one client; the event is set when the test is over."""

USER, PASSWORD = "watch@example.com", "canary-password-42"


class LoopbackController(Controller):
    """aiosmtpd on a free port, which it itself can't find out."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@dataclass
class MailServer:
    """Keeps what it accepted. `answers` holds other answers than 250 to RCPT and DATA."""

    answers: dict[str, str] = field(default_factory=dict)
    envelopes: list[Envelope] = field(default_factory=list)
    logins: int = 0
    port: int = 0

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, server, session, envelope) -> str:
        if "DATA" not in self.answers:
            self.envelopes.append(envelope)
        return self.answers.get("DATA", "250 OK")

    def authenticate(self, server, session, envelope, mechanism, data: Any) -> AuthResult:
        self.logins += 1
        good = LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=data == good, handled=False)


@contextmanager
def mail_server(
    *,
    answers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    login: bool = False,
) -> Iterator[MailServer]:
    server = MailServer(dict(answers or {}))
    controller = LoopbackController(
        server,
        hostname="127.0.0.1",
        port=0,
        ssl_context=tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        authenticator=server.authenticate,
        auth_required=login and starttls is not None,
        auth_require_tls=starttls is not None,
    )
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()


@contextmanager
def raw_server(script: Script) -> Iterator[int]:
    """Run `script` with every client; yields the port."""
    over = threading.Event()
    clients: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            clients.append(client)
            threading.Thread(target=run, args=(client,), daemon=True).start()

    def run(client: socket.socket) -> None:
        try:
            script(client, over)
        except OSError:  # the client hung up, as it should on such a server
            return
        finally:
            client.close()

    acceptor = threading.Thread(target=serve)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        for one in (listener, *clients):
            shut(one)
        acceptor.join()


def shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


HANG, DROP, DRIP = "hang", "drop", "drip"
_USUAL = {"HELLO": "220 ready", "DATA": "354 go on", "QUIT": "221 bye"}


@dataclass
class Dialogue:
    """Speaks SMTP as a server that answers `250 OK`, but for the verbs in `answers`.

    `once` answers so the next time alone. The verbs beside SMTP's own are `HELLO` (at connect)
    and `.` (after the content). An answer is a line, `HANG`, `DROP`, `DRIP` (a byte now and then,
    never a line) or a line and `|hang`.
    """

    answers: Mapping[str, str]
    heard: list[str] = field(default_factory=list)
    once: dict[str, str] = field(default_factory=dict)

    def __call__(self, client: socket.socket, over: threading.Event) -> None:
        with client.makefile("rb") as lines:
            going_on = self._answer("HELLO", client, over)
            while going_on and (line := lines.readline()):
                self.heard.append(line.decode(errors="replace").strip())
                verb = self.heard[-1].partition(" ")[0].upper()
                going_on = self._answer(verb, client, over)
                if verb == "DATA" and going_on and "DATA" not in self.answers:
                    while lines.readline() not in {b".\r\n", b""}:
                        pass
                    going_on = self._answer(".", client, over)

    def _answer(self, verb: str, client: socket.socket, over: threading.Event) -> bool:
        text = self.once.pop(verb, self.answers.get(verb, _USUAL.get(verb, "250 OK")))
        if text == HANG:
            over.wait(30)
        while text == DRIP and not over.wait(0.02):
            client.sendall(b"2")
        if text in {HANG, DROP, DRIP}:
            return False
        line, _, then = text.partition("|")
        client.sendall(line.encode() + b"\r\n")
        if then == HANG:
            over.wait(30)
        return not then
