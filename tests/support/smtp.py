"""A real SMTP server on loopback that keeps what it was sent."""

import threading
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted message: the envelope's sender and recipients, and the content."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        message = message_from_bytes(self.content, policy=default)
        assert isinstance(message, EmailMessage)
        return message


@dataclass
class SmtpServer:
    """`refusal`, such as `451 try later`, is the answer to every message while it is set.

    `mails` holds what was accepted, `refused` counts the rest.
    """

    mails: list[Mail] = field(default_factory=list)
    refused: int = 0
    refusal: str | None = None
    _news: threading.Condition = field(default_factory=threading.Condition)
    _controller: "_Controller | None" = None

    @property
    def host(self) -> str:
        return "127.0.0.1"

    @property
    def port(self) -> int:
        assert self._controller is not None
        return self._controller.port

    def start(self) -> None:
        self._controller = _Controller(self, hostname=self.host, port=0)
        self._controller.start()

    def stop(self) -> None:
        assert self._controller is not None
        self._controller.stop()

    def wait_for(self, mails: int, *, seconds: float = 10) -> list[Mail]:
        """Return the mails as soon as there are so many; fail after `seconds`."""
        with self._news:
            enough = self._news.wait_for(lambda: len(self.mails) >= mails, seconds)
            assert enough, f"{len(self.mails)} mails in {seconds} s, not {mails}"
            return list(self.mails)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        with self._news:
            if self.refusal is not None:
                self.refused += 1
                return self.refusal
            sender, content = envelope.mail_from or "", envelope.original_content or b""
            self.mails.append(Mail(sender, tuple(envelope.rcpt_tos), content))
            self._news.notify_all()
        return "250 OK"


class _Controller(Controller):
    def _trigger_server(self) -> None:
        # aiosmtpd connects once to see the server up, but to port 0 if that was asked for.
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()
