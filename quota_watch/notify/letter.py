"""From a rendered message to a MIME message whose headers nobody's name can break."""

import base64
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import parseaddr
from typing import Any

from quota_watch.notify.render import Rendered
from quota_watch.text import one_line

_WORD_BYTES = 39  # 52 characters of base64, so that an encoded word stays under the 75 allowed


class _Line(UnstructuredHeader, BaseHeader):
    """A header of one line, or of encoded words.

    The standard library's own folding loses spaces between long encoded words, and encodes ids
    that don't fit into 78 characters.
    """

    def fold(self, *, policy: Policy) -> str:
        plain = self.isascii() and "=?" not in self
        value = str(self) if plain else f"{policy.linesep} ".join(_encoded_words(self))
        return f"{self.name}: {value}{policy.linesep}"


def _policy() -> Policy:
    registry = HeaderRegistry(default_class=_Line)
    registry.map_to_type("subject", _Line)
    return SMTP.clone(header_factory=registry)


_POLICY = _policy()


def address(text: str) -> Address:
    """Return `anna@example.com` or `Anna <anna@example.com>` with its domain in ASCII.

    Raises `ValueError` where it is none.
    """
    name, bare = parseaddr(text)
    local, _, domain = bare.rpartition("@")
    if not (local and domain and local.isascii()):
        raise ValueError(f"{one_line(text)!r} is not a mail address")
    return Address(one_line(name), local, domain.encode("idna").decode())


def compose(
    rendered: Rendered,
    facts: Mapping[str, Any],
    *,
    id: str,  # noqa: A002 - a delivery's id is called so everywhere
    sender: Address,
    recipient: Address,
    reply_to: Address | None,
    now: datetime,
) -> EmailMessage:
    """Return the message, in ASCII throughout.

    `id` makes its `Message-ID`, the same at every retry; the story's id is the thread's.
    """
    mail = EmailMessage(policy=_POLICY)
    thread = f"<{one_line(facts['alert']['id'])}@{sender.domain}>"
    mail["From"], mail["To"] = sender, recipient
    if reply_to is not None:
        mail["Reply-To"] = reply_to
    mail["Subject"] = one_line(rendered.subject)
    mail["Date"] = now
    mail["Message-ID"] = f"<{id}@{sender.domain}>"
    mail["In-Reply-To"] = mail["References"] = thread
    mail["Auto-Submitted"] = "auto-generated"
    for name, value in _filters(facts):
        mail[f"X-Quota-Watch-{name}"] = value
    mail.set_content(rendered.text, cte="quoted-printable")
    mail.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    return mail


def _filters(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what mail filters can sort by."""
    alert, organization = facts["alert"], facts["organization"]
    yield "Type", one_line(facts["type"])
    yield "Rule", one_line(alert["rule"])
    yield "Severity", one_line(alert["severity"])
    if organization is not None:
        yield "Organization", one_line(organization["id"])
    yield "Alert", one_line(alert["id"])


def _encoded_words(text: str) -> Iterator[str]:
    """Yield base64 words of RFC 2047, each of whole characters."""
    word = b""
    for character in text:
        data = character.encode()
        if len(word) + len(data) > _WORD_BYTES:
            yield _encoded(word)
            word = b""
        word += data
    yield _encoded(word)


def _encoded(word: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(word).decode()}?="
