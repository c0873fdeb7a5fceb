"""From a rendered message to a MIME message whose headers nobody's name can break."""

import base64
from collections.abc import Iterator, Sequence
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import parseaddr

from quota_watch.lib.text import one_line
from quota_watch.messages.message import Facts
from quota_watch.messages.render import Rendered

_MOST_IDS = 4
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
    facts: Sequence[Facts],
    *,
    id: str,  # noqa: A002 - a delivery's id is called so everywhere
    sender: Address,
    recipient: Address,
    reply_to: Address | None,
    now: datetime,
) -> EmailMessage:
    """Return the message, in ASCII throughout.

    `id` makes its `Message-ID`, the same at every retry; the stories' ids are the threads'.
    """
    mail = EmailMessage(policy=_POLICY)
    threads = [f"<{story}@{sender.domain}>" for story in _distinct(facts, "alert")]
    mail["From"], mail["To"] = sender, recipient
    if reply_to is not None:
        mail["Reply-To"] = reply_to
    mail["Subject"] = one_line(rendered.subject)
    mail["Date"] = now
    mail["Message-ID"] = f"<{id}@{sender.domain}>"
    mail["In-Reply-To"] = threads[0]
    # The last one is the thread that mail programs sort by: the most severe.
    mail["References"] = " ".join(reversed(threads))
    mail["Auto-Submitted"] = "auto-generated"
    for name, value in _filters(facts):
        mail[f"X-Quota-Watch-{name}"] = value
    mail.set_content(rendered.text, cte="quoted-printable")
    mail.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
    return mail


def _filters(facts: Sequence[Facts]) -> Iterator[tuple[str, str]]:
    """Yield what mail filters can sort by: of several, the most severe; the ids of all."""
    alert = facts[0]["alert"]
    yield "Type", one_line(facts[0]["type"])
    yield "Rule", one_line(alert["rule"])
    yield "Severity", one_line(alert["severity"])
    organizations = _distinct(facts, "organization")
    if organizations:
        yield "Organization", ", ".join(organizations)
    yield "Alert", ", ".join(_distinct(facts, "alert"))


def _distinct(facts: Sequence[Facts], what: str) -> list[str]:
    """Return the first ids of what the facts are about: a header has its end."""
    found = dict.fromkeys(one_line(each[what]["id"]) for each in facts if each[what] is not None)
    return list(found)[:_MOST_IDS]


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
