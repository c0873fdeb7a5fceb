"""A mail server: one session for all messages that are due, one deadline for each of them.

`smtplib` has timeouts per operation only, which a server that sends a byte now and then never
reaches; here it uses a stream whose waits all end at the deadline.
"""

import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from types import SimpleNamespace
from typing import cast

from quota_watch.channels.channel import DeliveryError, why_unreached
from quota_watch.lib.logs import Redactor
from quota_watch.lib.network import (
    HttpError,
    Stream,
    TimedOut,
    connect,
    deadline,
    trust,
)
from quota_watch.lib.text import one_line

_TLS, _NONE = "tls", "none"
_GOODBYE_SECONDS = 2.0
_DONE, _NEVER, _GOES = range(200, 300), range(500, 600), 421
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?=[a-z]){_LABEL}", re.IGNORECASE)

_OTHER_NAME = {62, 64}  # OpenSSL's numbers for a certificate of another host, or address
_PLACE = "check smtp.host and smtp.port, and that the firewall allows outgoing connections"
_AT_ONCE = 'check smtp.port: a TLS port, such as 465, needs smtp.security = "tls"'
_NOT_AT_ONCE = 'check smtp.port: "tls" goes with 465; a server on 587 or 25 needs "starttls"'
_HOST_NAME = "set smtp.host to the name in the server's certificate"
_AUTHORITY = "if it is signed by an authority of your own, set SSL_CERT_FILE to its certificates"
_LOGIN = "check smtp.username and smtp.password; some providers need an app password"
_NO_LOGIN = 'remove smtp.username and smtp.password, or use "starttls" or "tls"'
_NO_STARTTLS = 'use smtp.security = "tls" with port 465, or "none" on a network you trust'


class MailServer:
    """Takes mails in one session, which lasts until `rest` or until the server ends it.

    With `starttls` a server that does not offer it gets nothing; certificates are always
    verified, against `tls` if given.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        security: str,
        username: str | None,
        password: str | None,
        tls: ssl.SSLContext | None,
        seconds: float,
    ) -> None:
        self._host, self._port = host, port
        self._place = f"the mail server {host}:{port}"
        self._security = security
        self._username, self._password = username, password or ""
        self._tls = tls
        self._redact = Redactor([password] if password else [])
        self._seconds = seconds
        self._smtp: _Session | None = None
        self._lock = threading.Lock()

    def send(self, mail: EmailMessage) -> None:
        """Hand over one mail to its one recipient.

        The server's 5xx to the recipient or the content is permanent; all else may pass. An
        answer that is lost after the content was sent counts as a failure.
        """
        sender, recipient = (mail[name].addresses[0].addr_spec for name in ("From", "To"))
        reply: tuple[int, bytes | str]
        with self._attempt():
            smtp = self._begin(sender, recipient)
            try:
                reply = smtp.data(mail.as_bytes())
            except smtplib.SMTPDataError as error:  # before any of the content was sent
                reply = error.smtp_code, error.smtp_error
                if error.smtp_code in _DONE:
                    what = f"answered {error.smtp_code} before the message was sent"
                    raise DeliveryError(f"{self._place}: {what}") from None
            self._accepted("the message", reply, final=True)

    def check(self) -> str:
        """Connect, log in if configured, and leave without sending anything."""
        with self._attempt():
            self._accepted("NOOP", self._open().noop())
        self.rest()
        login = "" if self._username is None else ", login accepted"
        how = "" if self._security == _NONE else f" ({self._security.upper()})"
        return f"{self._place} answers{how}{login}"

    def rest(self) -> None:
        """Say QUIT; what was accepted stays so whatever the server answers."""
        with self._lock:
            if self._smtp is not None:
                with suppress(HttpError, OSError), deadline(_GOODBYE_SECONDS):
                    self._smtp.quit()
            self._hang_up()

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        """Limit the time of one message, and let whatever goes wrong be a `DeliveryError`.

        The session is kept only where its state is certain: after success, and after a refusal.
        """
        with self._lock, deadline(self._seconds):
            is_certain = False
            try:
                yield
                is_certain = True
            except DeliveryError as error:
                is_certain = error.status not in {None, _GOES}
                raise
            except (HttpError, OSError, UnicodeError) as error:
                raise self._failure(error) from None
            finally:
                if not is_certain:
                    self._hang_up()

    def _begin(self, sender: str, recipient: str) -> smtplib.SMTP:
        """Name sender and recipient in the session there is, or in a new one where it has ended."""
        if self._smtp is not None:
            try:
                self._accepted("RSET", self._smtp.rset())
                return self._addressed(self._smtp, sender, recipient)
            except smtplib.SMTPServerDisconnected:
                pass
            except DeliveryError as error:
                if error.status != _GOES:
                    raise
        return self._addressed(self._open(), sender, recipient)

    def _addressed(self, smtp: smtplib.SMTP, sender: str, recipient: str) -> smtplib.SMTP:
        self._accepted("the sender", smtp.mail(sender))
        self._accepted("the recipient", smtp.rcpt(recipient), final=True)
        return smtp

    def _open(self) -> smtplib.SMTP:
        """Begin a session, instead of the one there may be."""
        self._hang_up()
        context = None if self._security == _NONE else self._tls or trust()
        direct = context if self._security == _TLS else None
        self._smtp = smtp = _Session(self._host, self._port, tls=direct)
        if context is not None and direct is None:
            smtp.go_on_encrypted(context)
        smtp.ehlo_or_helo_if_needed()
        if self._username is not None:
            smtp.login(self._username, self._password)
        return smtp

    def _hang_up(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None

    def _failure(self, error: HttpError | OSError | UnicodeError) -> DeliveryError:
        """Explain what went wrong beside a refusal; errors of `smtplib` are `OSError`s."""
        match error:
            case smtplib.SMTPServerDisconnected():
                why = f"{self._place} closed the connection"
                return DeliveryError(why, remedy=self._remedy(error))
            case smtplib.SMTPResponseException():
                is_login = isinstance(error, smtplib.SMTPAuthenticationError)
                what, remedy = ("the login", _LOGIN) if is_login else ("the connection", None)
                return self._refused(what, error.smtp_code, error.smtp_error, remedy=remedy)
            case smtplib.SMTPNotSupportedError():
                remedy = _NO_LOGIN if "AUTH" in str(error) else _NO_STARTTLS
                return DeliveryError(f"{self._place}: {error}", remedy=remedy)
            case smtplib.SMTPException():
                return DeliveryError(f"{self._place}: {self._quoted(str(error))}")
            case UnicodeError():  # of a login: all else is ASCII
                what = "password" if (self._username or "").isascii() else "username"
                return DeliveryError(f"{self._place}: the {what} holds characters SMTP can't carry")
        why = why_unreached(error, place=self._place, seconds=self._seconds)
        return DeliveryError(why, remedy=self._remedy(error))

    def _accepted(self, what: str, reply: tuple[int, bytes | str], *, final: bool = False) -> None:
        code, text = reply
        if code not in _DONE:
            raise self._refused(what, code, text, final=final)

    def _remedy(self, error: BaseException) -> str:
        """Say what to do about a connection that was not made, or on which nothing came."""
        cause = error.__cause__ or error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _HOST_NAME if cause.verify_code in _OTHER_NAME else _AUTHORITY
        if isinstance(cause, ssl.SSLError):
            return _NOT_AT_ONCE if self._security == _TLS else _PLACE
        if self._security != _TLS and isinstance(error, TimedOut | smtplib.SMTPServerDisconnected):
            return _AT_ONCE
        return _PLACE

    def _refused(
        self,
        what: str,
        code: int,
        text: bytes | str,
        *,
        final: bool = False,
        remedy: str | None = None,
    ) -> DeliveryError:
        return DeliveryError(
            f"{self._place} refused {what}: {code} {self._quoted(text)}".rstrip(),
            permanent=final and code in _NEVER,
            status=code,
            remedy=remedy,
        )

    def _quoted(self, text: bytes | str) -> str:
        """Quote the server's words; some servers repeat what was sent, even a password."""
        words = text.decode(errors="replace") if isinstance(text, bytes) else text
        return one_line(self._redact(words))


class _Session(smtplib.SMTP):
    """The standard library's client on a stream that knows the deadline, encrypted if asked.

    `_get_socket` is the hook that its own SMTP_SSL and LMTP use.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        try:
            super().__init__(host, port, local_hostname="localhost")
        except BaseException:
            self.close()
            raise
        if self.sock is not None:
            self.local_hostname = own_name(socket.gethostname(), self.sock.getsockname()[0])

    def go_on_encrypted(self, context: ssl.SSLContext) -> None:
        """Say STARTTLS; its way to wrap a socket is ours to wrap a stream."""

        def wrap_socket(stream: Stream, server_hostname: str) -> Stream:
            return stream.start_tls(context, server_hostname)

        self.starttls(context=cast("ssl.SSLContext", SimpleNamespace(wrap_socket=wrap_socket)))

    def _get_socket(self, host: str, port: int, _timeout: float) -> Stream:
        stream = connect(host, port)
        return stream if self._tls is None else stream.start_tls(self._tls, host)


def own_name(name: str, address: str) -> str:
    """Introduce ourselves by the machine's name if it is a valid domain, else by our address.

    The standard library's way asks the DNS, which may take longer than an attempt; a name that
    is no domain (`web_1.docker_default`) is refused by many servers.
    """
    if _DOMAIN.fullmatch(name):
        return name
    bare = address.partition("%")[0]
    return f"[IPv6:{bare}]" if ":" in bare else f"[{bare}]"
