"""The signed link in a mail that silences one rule of one organization until its period ends.

It is made when a mail is sent, for the address that the mail goes to, and kept nowhere: whoever
holds it may do what it says and nothing else. Its key is derived from the organization's API key,
which every process that sends or serves has already, so nothing more has to be set up or stored;
a new API key ends the links made with the old one.
"""

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from hashlib import sha256
from typing import Self

from quota_watch.config import Config, ConfigError
from quota_watch.config.secrets import Secret
from quota_watch.messages.facts import Facts
from quota_watch.model.period import Period, month_of
from quota_watch.model.source import Organization
from quota_watch.model.watch import Rule

_PURPOSE = b"quota-watch: silence link, version 1"
_SHORTEST_KEY = 16
"""An API key of fewer characters could be guessed from a link; Rybbit's own have 64."""

_MAC_BYTES = 16
_LONGEST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceLink:
    """What a link allows: to silence `rule` of `organization`, in the name of `address`."""

    organization: Organization
    rule: Rule
    period: Period
    address: str

    def is_over(self, now: datetime) -> bool:
        """Whether the period has ended for whose alert the link was made."""
        return now >= self.period.resets_at


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceLinks:
    """Makes and reads links below `public_url`."""

    public_url: str
    credentials: Mapping[Organization, Secret] = field(repr=False)

    @classmethod
    def of(cls, config: Config) -> Self | None:
        """Make what a config allows; None where its page takes no actions."""
        web = config.web
        if web is None or web.public_url is None or not web.actions:
            return None
        return cls(public_url=web.public_url.rstrip("/"), credentials=config.credentials())

    def added_to(self, facts: Facts, *, address: str) -> Facts:
        """Add the link for `address` to facts of an alert that can be silenced."""
        if facts.organization is None or facts.period is None or not facts.can_be_silenced:
            return facts
        link = SilenceLink(
            organization=Organization(server=facts.organization.server, id=facts.organization.id),
            rule=Rule(facts.alert.rule),
            period=month_of(facts.period.start),
            address=address,
        )
        token = self.token(link)
        url = None if token is None else f"{self.public_url}/silence/{token}"
        return replace(facts, links=replace(facts.links, silence=url))

    def token(self, link: SilenceLink) -> str | None:
        """Write and sign what a link says; None where there is no key to sign it with."""
        terms = (link.organization.id, link.rule, link.period.start.isoformat(), link.address)
        content = json.dumps(terms, ensure_ascii=False, separators=(",", ":")).encode()
        mac = self._mac(link.organization, content)
        return None if mac is None else f"{_coded(content)}.{_coded(mac)}"

    def read(self, token: str) -> SilenceLink | None:
        """Read a link; None where it is none of ours, was changed, or its key was replaced."""
        if len(token) > _LONGEST:
            return None
        coded, _, coded_mac = token.partition(".")
        try:
            content, mac = _decoded(coded), _decoded(coded_mac)
            id_, rule, start, address = map(str, json.loads(content))
            rule, period = Rule(rule), month_of(date.fromisoformat(start))
        except (ValueError, TypeError, OverflowError):  # no month follows that of year 9999
            return None
        for organization in self.credentials:  # two servers may know the same id
            expected = self._mac(organization, content) if organization.id == id_ else None
            if expected is not None and hmac.compare_digest(mac, expected):
                return SilenceLink(
                    organization=organization, rule=rule, period=period, address=address
                )
        return None

    def _mac(self, organization: Organization, content: bytes) -> bytes | None:
        try:
            api_key = self.credentials[organization].reveal()
        except (KeyError, ConfigError):
            return None
        if len(api_key) < _SHORTEST_KEY:
            return None
        key = hmac.digest(api_key.encode(), _PURPOSE, sha256)
        signed = organization.server.encode() + b"\n" + content
        return hmac.digest(key, signed, sha256)[:_MAC_BYTES]


def _coded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
