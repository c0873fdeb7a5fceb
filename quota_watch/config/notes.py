"""What is allowed in a config but worth telling at start and in `check`."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from quota_watch.config import addresses, database
from quota_watch.config.models import AppriseTable, Channel, WebhookTable
from quota_watch.config.needs import all_secrets
from quota_watch.config.problems import listed, organization_key
from quota_watch.config.secrets import Secret

if TYPE_CHECKING:
    from quota_watch.config.settings import Config

_TELLING_NAMES = ("authorization", "cookie", "key", "password", "secret", "token")
_TLS_AT_ONCE = 465


def warnings(config: "Config") -> Iterator[str]:
    """Yield a sentence for each thing worth telling."""
    yield from _unheard(config)
    yield from _unread_reports(config)
    yield from _exposed_servers(config)
    yield from _exposed_mail(config)
    yield from _unreachable_page(config)
    yield from _readable_secrets(config)


def _unheard(config: "Config") -> Iterator[str]:
    if not config.channels:
        yield "nobody would hear of any alert: there is no [channels.NAME] table; add one"
        return
    silent = [watch.organization.id for watch in config.watches() if not watch.channels]
    if silent:
        yield (
            f"nobody would hear of alerts about {listed(silent)}: "
            "notify is empty; name a channel there or leave the key out"
        )


def _unread_reports(config: "Config") -> Iterator[str]:
    reports = config.reports
    for name in () if reports is None else dict.fromkeys((*reports.weekly, *reports.monthly)):
        channel = config.channels[name]
        if isinstance(channel, WebhookTable) and channel.routing_key is not None:
            yield f'reports: the channel "{name}" is of pagerduty, which gets no reports'


def _exposed_servers(config: "Config") -> Iterator[str]:
    servers = [("rybbit.base_url", config.rybbit.base_url)]
    for index, table in enumerate(config.organizations):
        if table.base_url is not None:
            servers.append((f"{organization_key(index, table.id)}.base_url", table.base_url))
    for key, server in servers:
        if addresses.is_exposed(server):
            yield f"{key}: {server} is not encrypted, so the API key travels in clear; use https"
        if server.endswith("/api"):
            yield f"{key}: {server} ends in /api, which is added to it anyway; leave it out"


def _exposed_mail(config: "Config") -> Iterator[str]:
    smtp = config.smtp
    if smtp is None:
        return
    if smtp.security == "none" and smtp.password and not addresses.is_loopback(smtp.host):
        yield 'smtp.security: "none" sends the password in clear; use "starttls" or "tls"'
    if (smtp.port == _TLS_AT_ONCE) != (smtp.security == "tls"):
        yield (
            f'smtp.port: {smtp.port} with security = "{smtp.security}" is unusual; '
            '"tls" goes with port 465, "starttls" with 587'
        )


def _unreachable_page(config: "Config") -> Iterator[str]:
    web = config.web
    if web and addresses.is_everywhere(web.listen.host) and web.hosts() == {"localhost"}:
        yield (
            f"web.listen: {web.listen} is open to other machines, but the page answers to "
            "localhost alone; name the host they ask for in web.public_url or web.allowed_hosts"
        )


def _readable_secrets(config: "Config") -> Iterator[str]:
    keys = list(_plain_secrets(config)) if config.is_shared else []
    if keys:
        yield (
            f"{config.path} can be read by other users and {listed(keys)} stands there in plain "
            "text; chmod 600 it, or use env:, file: or credential:"
        )


def _plain_secrets(config: "Config") -> Iterator[str]:
    """Yield the keys of literals that are surely secret: many URLs and headers are not."""
    sections: Iterable[tuple[str, object]] = (
        ("rybbit", config.rybbit),
        ("database", config.database),
        ("organizations", config.organizations),
        ("channels", config.channels),
        ("smtp", config.smtp),
        ("web", config.web),
    )
    for name, section in sections:
        for key, secret in all_secrets(section, name):
            if secret.is_literal and _is_telling(config, key, secret):
                yield key


def _is_telling(config: "Config", key: str, secret: Secret) -> bool:
    name = key.rpartition(".")[2].lower()
    if key in {f"channels.{each}.url" for each, table in config.channels.items() if _is_key(table)}:
        return True
    if name in {"url", "proxy"}:
        url = secret.reveal()
        return database.holds_password(url) or ("?" in url and key != "database.url")
    return any(word in name for word in _TELLING_NAMES)


def _is_key(channel: Channel) -> bool:
    """Tell whether a channel's URL is all that one needs to post there."""
    chats = {"slack", "discord", "teams"}
    return isinstance(channel, AppriseTable) or (
        isinstance(channel, WebhookTable) and channel.format in chats
    )
