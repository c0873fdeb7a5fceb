"""Mail over SMTP: one message per recipient, in one session for all that are due."""

import ssl
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from quota_watch.channels.channel import ATTEMPT_SECONDS, EMAIL_RETRIES
from quota_watch.channels.smtp import MailServer
from quota_watch.lib.logs import get_logger
from quota_watch.messages.letter import address, compose
from quota_watch.messages.message import Message
from quota_watch.messages.render import Rendered, Renderer, TemplateError
from quota_watch.model.rule import Severity

log = get_logger(__name__)


class EmailChannel:
    """Sends through one mail server. Raises `ValueError` for addresses that are none."""

    takes_period_ends: Final = False
    batches: Final = True
    keeps_incidents: Final = False
    at_once: Final = 1

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
        self._sender = address(from_address)
        self._reply_to = None if reply_to is None else address(reply_to)
        self._renderer = renderer
        self._server = MailServer(
            host=host,
            port=port,
            security=security,
            username=username,
            password=password,
            tls=tls,
            seconds=attempt_seconds,
        )

    def send(self, message: Message, *, now: datetime) -> None:
        """Send one mail; sent again, it bears the same `Message-ID`."""
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
        self._server.send(
            mail.as_bytes(), sender=self._sender.addr_spec, recipient=recipient.addr_spec
        )

    def check(self) -> str:
        """Connect, log in if configured, and leave without sending anything."""
        return self._server.check()

    def rest(self) -> None:
        """End the session."""
        self._server.rest()

    def _rendered(self, message: Message, now: datetime) -> Rendered:
        """Render with the user's templates, or ours where those fail: an alert must go out."""
        try:
            return self._renderer.email(*message.facts, channel=self.name, now=now)
        except TemplateError as error:
            log.warning(
                "template failed, the built-in one is used", channel=self.name, error=str(error)
            )
            return Renderer().email(*message.facts, channel=self.name, now=now)
