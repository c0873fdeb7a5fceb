"""Mail over SMTP: one message per recipient, whose headers nobody's name can break."""

import ssl
from collections.abc import Iterable, Sequence
from datetime import datetime
from email.charset import BASE64, Charset
from email.headerregistry import (
    Address,
    BaseHeader,
    HeaderRegistry,
    UniqueAddressHeader,
    UnstructuredHeader,
)
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import formataddr, parseaddr
from itertools import repeat
from typing import Any, cast

from quota_watch.channels.channel import ATTEMPT_SECONDS, EMAIL_RETRIES, Channel, Notice
from quota_watch.channels.smtp import MailServer
from quota_watch.lib.logs import get_logger
from quota_watch.lib.text import one_line
from quota_watch.messages.facts import Facts, Message
from quota_watch.messages.render import Rendered, Renderer, TemplateError
from quota_watch.messages.silence_link import SilenceLinks
from quota_watch.model.watch import Severity

_MOST_IDS = 4
_LONGEST_WORD = 64  # of the 75 that are allowed
_BASE64 = Charset("utf-8")
_BASE64.header_encoding = BASE64

log = get_logger(__name__)


class EmailChannel(Channel):
    """Sends through one mail server. Raises `ValueError` for addresses that are none."""

    retries = EMAIL_RETRIES

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
        silence_links: SilenceLinks | None = None,
        tls: ssl.SSLContext | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self.name = name
        self.recipients = tuple(recipients)
        self.min_severity = min_severity
        self._sender = address(from_address)
        self._reply_to = None if reply_to is None else address(reply_to)
        self._renderer = renderer
        self._silence_links = silence_links
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
        facts = message.facts
        mail = compose(
            self._rendered(facts, message.recipient, now),
            facts,
            id=message.id,
            sender=self._sender,
            recipient=address(message.recipient),
            reply_to=self._reply_to,
            now=now,
        )
        self._server.send(mail)

    def notify(self, notice: Notice, *, now: datetime) -> None:
        """Send a mail of plain text to each recipient."""
        for recipient in self.recipients:
            mail = _headed(notice.id, notice.title, self._sender, address(recipient), now)
            mail.set_content(notice.text, cte="quoted-printable")
            self._server.send(mail)

    def check(self) -> str:
        """Connect, log in if configured, and leave without sending anything."""
        return self._server.check()

    def rest(self) -> None:
        """End the session."""
        self._server.rest()

    def _rendered(self, facts: Sequence[Facts], recipient: str, now: datetime) -> Rendered:
        """Render with the user's templates, or ours where those fail: an alert must go out."""
        links = self._silence_links
        if links is not None:
            facts = [links.added_to(each, address=recipient) for each in facts]
        try:
            return self._renderer.email(*facts, channel=self.name, now=now)
        except TemplateError as error:
            log.warning(
                "template failed, the built-in one is used", channel=self.name, error=str(error)
            )
            return Renderer().email(*facts, channel=self.name, now=now)


class _Line(UnstructuredHeader, BaseHeader):
    """A header of one line, or of encoded words.

    The standard library's own folding loses spaces between long encoded words, and encodes ids
    that don't fit into 78 characters; its parsing is slow, and takes text for encoded words.
    """

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """Take the text as it is."""
        kwds |= {"decoded": value, "parse_tree": None}

    def fold(self, *, policy: Policy) -> str:
        plain = self.isascii() and "=?" not in self
        value = str(self) if plain else f"{policy.linesep} ".join(_encoded_words(self))
        return f"{self.name}: {value}{policy.linesep}"


class _Mailbox(UniqueAddressHeader):
    """A header of one address, on one line.

    The standard library's own folding splits a long quoted name at its comma, which makes two
    addresses of one.
    """

    def fold(self, *, policy: Policy) -> str:
        (box,) = self.addresses
        header = cast("BaseHeader", self).name  # the registry mixes that in
        name, spec = box.display_name, box.addr_spec
        if name.isascii() and "=?" not in name:
            return f"{header}: {formataddr((name, spec))}{policy.linesep}"
        words = f"{policy.linesep} ".join((*_encoded_words(name), f"<{spec}>"))
        return f"{header}: {words}{policy.linesep}"


_HEADERS = HeaderRegistry(default_class=_Line)
_HEADERS.map_to_type("subject", _Line)
for _name in ("from", "to", "reply-to"):
    _HEADERS.map_to_type(_name, cast("type[BaseHeader]", _Mailbox))
_POLICY = SMTP.clone(header_factory=_HEADERS)


def address(text: str) -> Address:
    """Read `anna@example.com` or `Anna <anna@example.com>` and write its domain in ASCII.

    Raises `ValueError` where it is none.
    """
    name, bare = parseaddr(text)
    local, _, domain = bare.rpartition("@")
    if not (local and domain and local.isascii()):
        raise ValueError(f"{one_line(text)!r} is not a mail address")
    return Address(one_line(name), local, domain.encode("idna").decode())


def compose(
    rendered: Rendered,
    facts: Sequence[Facts],
    *,
    id: str,  # noqa: A002 - a delivery's id is called so everywhere
    sender: Address,
    recipient: Address,
    reply_to: Address | None,
    now: datetime,
) -> EmailMessage:
    """Write the message, in ASCII throughout.

    `id` makes its `Message-ID`, the same at every retry; the stories' ids are the threads'.
    """
    mail = _headed(id, rendered.subject, sender, recipient, now)
    threads = [f"<{story}@{sender.domain}>" for story in _alerts(facts)]
    if reply_to is not None:
        mail["Reply-To"] = reply_to
    mail["In-Reply-To"] = threads[0]
    # The last one is the thread that mail programs sort by: the most severe.
    mail["References"] = " ".join(reversed(threads))
    for name, value in _filters(facts).items():
        mail[f"X-Quota-Watch-{name}"] = value
    mail.set_content(rendered.text, cte="quoted-printable")
    mail.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    return mail


def _headed(
    id: str,  # noqa: A002 - a delivery's id is called so everywhere
    subject: str,
    sender: Address,
    recipient: Address,
    now: datetime,
) -> EmailMessage:
    """Begin a message with the headers that all have."""
    mail = EmailMessage(policy=_POLICY)
    mail["From"], mail["To"] = sender, recipient
    mail["Subject"] = one_line(subject)
    mail["Date"] = now
    mail["Message-ID"] = f"<{id}@{sender.domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    return mail


def _filters(facts: Sequence[Facts]) -> dict[str, str]:
    """Write what mail filters can sort by: of several, the most severe; the ids of all."""
    alert = facts[0].alert
    organizations = _distinct(each.organization.id for each in facts if each.organization)
    return {
        "Type": one_line(facts[0].type),
        "Rule": one_line(alert.rule),
        "Severity": one_line(alert.severity),
        **({"Organization": ", ".join(organizations)} if organizations else {}),
        "Alert": ", ".join(_alerts(facts)),
    }


def _alerts(facts: Sequence[Facts]) -> list[str]:
    return _distinct(each.alert.id for each in facts)


def _distinct(ids: Iterable[str]) -> list[str]:
    """Take the first ids of what the facts are about: a header has its end."""
    return list(dict.fromkeys(map(one_line, ids)))[:_MOST_IDS]


def _encoded_words(text: str) -> Sequence[str]:
    """Write words of RFC 2047, each of whole characters."""
    return cast("list[str]", _BASE64.header_encode_lines(text, repeat(_LONGEST_WORD)))
