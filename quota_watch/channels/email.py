"""Mail over SMTP: one message per recipient, one connection per message, one deadline for all."""

import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import StrEnum
from typing import Final

from quota_watch.channels.channel import ATTEMPT_SECONDS
from quota_watch.channels.errors import DeliveryError, no_connection, too_late
from quota_watch.channels.guard import SocketGuard
from quota_watch.channels.retry import EMAIL_RETRIES
from quota_watch.lib.http import trust
from quota_watch.lib.logs import get_logger
from quota_watch.lib.redaction import Redactor
from quota_watch.lib.text import one_line
from quota_watch.messages.letter import address, compose
from quota_watch.messages.message import Message
from quota_watch.messages.render import Rendered, Renderer, TemplateError
from quota_watch.model.rule import Severity

_GOODBYE_SECONDS = 2.0

log = get_logger(__name__)


class Security(StrEnum):
    """How the connection is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class EmailChannel:
    """Sends through one mail server.

    With `starttls` a server that does not offer it gets nothing; certificates are always
    verified, against `tls` if given. Raises `ValueError` for addresses that are none.
    """

    takes_period_ends: Final = False
    batches: Final = True
    keeps_incidents: Final = False

    def __init__(
        self,
        *,
        name: str,
        recipients: Sequence[str],
        host: str,
        port: int,
        security: str,
        username: str | None,
        password: str | None,
        from_address: str,
        reply_to: str | None,
        min_severity: Severity,
        renderer: Renderer,
        tls: ssl.SSLContext | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self.name = name
        self.recipients = tuple(recipients)
        self.min_severity = min_severity
        self.retries = EMAIL_RETRIES
        self._host, self._port = host, port
        self._security = Security(security)
        self._username, self._password = username, password or ""
        self._sender = address(from_address)
        self._reply_to = None if reply_to is None else address(reply_to)
        self._renderer = renderer
        self._tls = tls
        self._attempt_seconds = attempt_seconds
        self._redact = Redactor([password] if password else [])

    def send(self, message: Message, *, now: datetime) -> None:
        """Send one mail.

        The server's 5xx to the recipient or the message is permanent; all else may pass. An
        answer that is lost after the message was sent counts as a failure: sent again, it bears
        the same `Message-ID`.
        """
        recipient = address(message.recipient)
        mail = compose(
            self._rendered(message, now),
            message.facts,
            id=message.id,
            sender=self._sender,
            recipient=recipient,
            reply_to=self._reply_to,
            now=now,
        )
        with self._session() as smtp:
            self._accepted("the sender", smtp.mail(self._sender.addr_spec))
            self._accepted("the recipient", smtp.rcpt(recipient.addr_spec), final=True)
            self._accepted("the message", _data(smtp, mail.as_bytes()), final=True)

    def check(self) -> str:
        """Connect, log in if configured, and leave without sending anything."""
        with self._session() as smtp:
            self._accepted("NOOP", smtp.noop())
        login = "" if self._username is None else ", login accepted"
        how = {Security.STARTTLS: " (STARTTLS)", Security.TLS: " (TLS)", Security.NONE: ""}
        return f"{self._place} answers{how[self._security]}{login}"

    @property
    def _place(self) -> str:
        return f"the mail server {self._host}:{self._port}"

    def _rendered(self, message: Message, now: datetime) -> Rendered:
        """Render with the user's templates, or ours where those fail: an alert must go out."""
        try:
            return self._renderer.email(*message.facts, channel=self.name, now=now)
        except TemplateError as error:
            log.warning(
                "template failed, the built-in one is used", channel=self.name, error=str(error)
            )
            return Renderer().email(*message.facts, channel=self.name, now=now)

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """Yield a connection ready for mail; whatever goes wrong in it is a `DeliveryError`."""
        with SocketGuard(self._attempt_seconds) as guard, self._explained(guard):
            direct = self._security is Security.TLS
            smtp = _Connection(
                self._host, self._port, guard=guard, tls=self._context if direct else None
            )
            try:
                if self._security is Security.STARTTLS:
                    smtp.starttls(context=self._context)
                smtp.ehlo_or_helo_if_needed()
                if self._username is not None:
                    smtp.login(self._username, self._password)
                yield smtp
                _say_goodbye(smtp)
            finally:
                smtp.close()

    @property
    def _context(self) -> ssl.SSLContext:
        return self._tls or trust()

    @contextmanager
    def _explained(self, guard: SocketGuard) -> Iterator[None]:
        late = too_late(self._place, guard.seconds)
        try:
            yield
        except smtplib.SMTPServerDisconnected:
            closed = f"{self._place} closed the connection"
            raise DeliveryError(late if guard.is_over else closed) from None
        except smtplib.SMTPAuthenticationError as error:
            raise self._refused("the login", error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPResponseException as error:
            raise self._refused("the connection", error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPException as error:
            raise DeliveryError(f"{self._place}: {self._quoted(str(error))}") from None
        except UnicodeError:
            raise DeliveryError(f"{self._place}: the username holds letters SMTP lacks") from None
        except OSError as error:
            in_time = not guard.is_over and not isinstance(error, TimeoutError)
            raise DeliveryError(no_connection(self._place, error) if in_time else late) from None

    def _accepted(self, what: str, reply: tuple[int, bytes], *, final: bool = False) -> None:
        code, text = reply
        if not 200 <= code <= 299:  # noqa: PLR2004 - SMTP's "done"
            raise self._refused(what, code, text, final=final)

    def _refused(
        self, what: str, code: int, text: bytes | str, *, final: bool = False
    ) -> DeliveryError:
        return DeliveryError(
            f"{self._place} refused {what}: {code} {self._quoted(text)}".rstrip(),
            permanent=final and 500 <= code <= 599,  # noqa: PLR2004 - SMTP's "never"
            status=code,
        )

    def _quoted(self, text: bytes | str) -> str:
        """Return the server's words; some repeat what they were told, and that is a password."""
        words = text.decode(errors="replace") if isinstance(text, bytes) else text
        return one_line(self._redact(words))


class _Connection(smtplib.SMTP):
    """The standard library's client on a guarded socket, with TLS from the start if asked.

    `_get_socket` is the hook that its own SMTP_SSL and LMTP use.
    """

    def __init__(
        self, host: str, port: int, *, guard: SocketGuard, tls: ssl.SSLContext | None
    ) -> None:
        self._guard = guard
        self._wrap = tls
        super().__init__(host, port, local_hostname="localhost")
        if self.sock is not None:
            self.local_hostname = own_name(socket.gethostname(), self.sock.getsockname()[0])

    def getreply(self) -> tuple[int, bytes]:
        """Return the server's answer, unless it was cut off: half a line could pass for one."""
        reply = super().getreply()
        if self._guard.is_over:
            self.close()
            raise smtplib.SMTPServerDisconnected("the time is up")
        return reply

    def _get_socket(self, host: str, port: int, _timeout: float) -> socket.socket:
        connection = self._guard.connect(host, port)
        if self._wrap is None:
            return connection
        return self._wrap.wrap_socket(connection, server_hostname=host)


def own_name(name: str, address: str) -> str:
    """Return how we introduce ourselves: by the machine's name if it is a whole one, or address.

    The standard library's way asks the DNS, which may take longer than an attempt.
    """
    if "." in name:
        return name
    bare = address.partition("%")[0]
    return f"[IPv6:{bare}]" if ":" in bare else f"[{bare}]"


def _data(smtp: smtplib.SMTP, content: bytes) -> tuple[int, bytes]:
    try:
        return smtp.data(content)
    except smtplib.SMTPDataError as error:
        text = error.smtp_error
        return error.smtp_code, text.encode() if isinstance(text, str) else text


def _say_goodbye(smtp: smtplib.SMTP) -> None:
    """Leave politely, but what was accepted stays so whatever the server answers."""
    with suppress(smtplib.SMTPException, OSError):
        if smtp.sock is not None:
            smtp.sock.settimeout(_GOODBYE_SECONDS)
        smtp.quit()
