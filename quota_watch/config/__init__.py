"""The configuration: from a TOML file to a `Config`, or to all that is wrong with it."""

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO
from urllib.parse import urlsplit

from quota_watch.config import addresses
from quota_watch.config.checks import CHECKS, RawDocument, mail_channels
from quota_watch.config.models import (
    AppriseTable,
    Document,
    EmailTable,
    SmtpTable,
    WebhookTable,
)
from quota_watch.config.secrets import Secret
from quota_watch.config.settings import Config, Use, all_secrets
from quota_watch.config.tables import keys_of, read
from quota_watch.config.values import (
    ConfigError,
    Problem,
    abridged,
    format_duration,
    organization_key,
    parse_duration,
)
from quota_watch.lib.urls import is_everywhere, is_loopback

__all__ = [
    "AppriseTable",
    "Config",
    "ConfigError",
    "EmailTable",
    "Problem",
    "Secret",
    "SmtpTable",
    "Use",
    "WebhookTable",
    "find_config",
    "format_duration",
    "load",
    "parse_duration",
    "warnings",
]

VARIABLE = "QUOTA_WATCH_CONFIG"
"""The environment variable that names the config file."""

_PLACES = (Path("config.toml"), Path("/etc/quota-watch/config.toml"))
_DEEPEST = 12
_MOST_BYTES = 8 * 2**20

_UNREADABLE = {
    FileNotFoundError: "no such file; `quota-watch init` writes one, or name another with -c FILE",
    IsADirectoryError: "a folder, not a file; name the config file in it",
    PermissionError: "this user can't read it; run as its owner or change its permissions",
}
_TOML_ADVICE = {
    "Invalid value": '; text stands in straight quotes: key = "text"',
    "Expected '='": '; write key = "value", below a [table]',
    "Expected newline": "; one key = value a line, and no commas in numbers: 100_000",
    "Cannot overwrite": "; the key stands twice in its table: remove one",
    "Cannot declare": "; the table stands twice: put its keys together",
}
"""What helps, by how the parser's complaint begins."""

_TELLING_NAMES = ("authorization", "cookie", "key", "password", "secret", "token")
_CHATS = ("slack", "discord", "teams")
_TLS_AT_ONCE = 465


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """Find the config file: `explicit`, else the variable's, else the first of the usual places.

    Raises `ConfigError` that names every place where it looked.
    """
    variable = environ.get(VARIABLE)
    if explicit is not None or variable:
        return explicit or Path(variable or "")
    path = next((place for place in _PLACES if os.path.lexists(place)), None)
    if path is None:
        looked = ", ".join(f"./{p}" if not p.is_absolute() else str(p) for p in _PLACES)
        message = (
            f"no config file: ${VARIABLE} is not set and there is none at {looked}; "
            "`quota-watch init` writes one, or use -c FILE"
        )
        raise ConfigError(None, [Problem("", message)])
    return path


def load(path: Path) -> Config:
    """Read and check the config at `path`; secrets by reference are not read yet.

    Raises `ConfigError` with all problems at once.
    """
    try:
        with path.open("rb") as file:
            content, is_shared = file.read(_MOST_BYTES + 1), _is_shared(file)
    except OSError as error:
        what = _UNREADABLE.get(type(error), f"can't be read: {error.strerror}")
        raise ConfigError(path, [Problem("", what)]) from None
    except ValueError:
        raise ConfigError(path, [Problem("", "not a file path")]) from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(path, [Problem("", "over 8 MiB, too large for a config")])
    return validate(_decode(path, content), path, is_shared=is_shared)


def validate(document: dict[str, object], path: Path, *, is_shared: bool = False) -> Config:
    """Check what a config file at `path` holds; raises `ConfigError` with all problems at once."""
    if _is_deep(document):
        raise ConfigError(path, [Problem("", f"tables nested more than {_DEEPEST} deep")])
    parsed, problems = read(Document, document, path.absolute().parent)
    raw = RawDocument(document)
    problems += chain.from_iterable(check(raw) for check in CHECKS)
    if parsed is None or problems:
        raise ConfigError(path, sorted(problems, key=_place))
    for key, secret in all_secrets(parsed):
        secret.bind(path, key)
    channels = MappingProxyType({**parsed.channels, **mail_channels(raw)})
    parts = vars(parsed) | {"channels": channels}
    return Config(path=path, is_shared=is_shared, **parts)


def _is_deep(document: dict[str, object]) -> bool:
    """Whether a document is nested so deeply that a recursive walk could fail."""
    level: list[dict[str, object] | list[object]] = [document]
    for _ in range(_DEEPEST):
        tables = [each.values() if isinstance(each, dict) else each for each in level]
        level = [inner for each in tables for inner in each if isinstance(inner, dict | list)]
    return bool(level)


def _place(problem: Problem) -> tuple[int, int]:
    """Sort key of a problem: its section, then its organization."""
    match = re.match(r"(\w+)(?:\[(\d+)\])?", problem.key)
    section, index = match.groups() if match else ("", None)
    sections = list(keys_of(Document))
    return sections.index(section) if section in sections else -1, int(index or 0)


def _decode(path: Path, content: bytes) -> dict[str, object]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 text (at line {line}); save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        advice = (each for start, each in _TOML_ADVICE.items() if str(error).startswith(start))
        what = f"not valid TOML: {error}{next(advice, '')}"
    except RecursionError:
        what = "not valid TOML: nested too deeply"
    except ValueError:
        what = "not valid TOML: a number is too large"
    raise ConfigError(path, [Problem("", what)])


def _is_shared(file: BinaryIO) -> bool:
    """Whether others can read the file.

    A group may, where root owns the file: many systems store a service's secrets that way.
    """
    status = os.fstat(file.fileno())
    by_group = stat.S_IRGRP if status.st_uid != 0 else 0
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & (stat.S_IROTH | by_group))


def warnings(config: Config) -> tuple[str, ...]:
    """Describe what is allowed but probably a mistake, a sentence each, without secrets."""
    return tuple(
        chain(
            _without_channels(config),
            _unread_reports(config),
            _exposed_servers(config),
            _exposed_mail(config),
            _unreachable_page(config),
            _readable_secrets(config),
        )
    )


def _without_channels(config: Config) -> Iterator[str]:
    if not config.channels:
        yield "nobody would get any alert: there is no [channels.NAME] table; add one"
        return
    silent = [watch.organization.id for watch in config.watches() if not watch.channels]
    if silent:
        yield (
            f"nobody would get alerts about {abridged(silent)}: "
            "notify is empty; name a channel there or leave the key out"
        )


def _unread_reports(config: Config) -> Iterator[str]:
    reports = config.reports
    for name in () if reports is None else dict.fromkeys((*reports.weekly, *reports.monthly)):
        channel = config.channels[name]
        if isinstance(channel, WebhookTable) and channel.routing_key is not None:
            yield f'reports: the channel "{name}" is a pagerduty channel, which gets no reports'


def _exposed_servers(config: Config) -> Iterator[str]:
    servers = [("rybbit.base_url", config.rybbit.base_url)]
    for index, table in enumerate(config.organizations):
        if table.base_url is not None:
            servers.append((f"{organization_key(index, table.id)}.base_url", table.base_url))
    for key, server in servers:
        parts = urlsplit(server)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            yield f"{key}: {server} is not encrypted, so the API key is sent in clear; use https"
        if server.endswith("/api"):
            yield f"{key}: {server} ends in /api, which is added to it anyway; leave it out"


def _exposed_mail(config: Config) -> Iterator[str]:
    smtp = config.smtp
    if smtp is None:
        return
    if smtp.security == "none" and smtp.password and not is_loopback(smtp.host):
        yield 'smtp.security: "none" sends the password in clear text; use "starttls" or "tls"'
    if (smtp.port == _TLS_AT_ONCE) != (smtp.security == "tls"):
        yield (
            f'smtp.port: {smtp.port} with security = "{smtp.security}" is unusual; '
            '"tls" goes with port 465, "starttls" with 587'
        )


def _unreachable_page(config: Config) -> Iterator[str]:
    web = config.web
    if web and is_everywhere(web.listen.host) and web.hosts() == {"localhost"}:
        yield (
            f"web.listen: {web.listen} is open to other machines, but the page answers to "
            "localhost alone; name the host they ask for in web.public_url or web.allowed_hosts"
        )


def _readable_secrets(config: Config) -> Iterator[str]:
    """Warn of literals that are surely secret: many URLs and headers are not."""
    if not config.is_shared:
        return
    sections = ("rybbit", "database", "organizations", "channels", "smtp", "web")
    found = [all_secrets(getattr(config, section), section) for section in sections]
    keys = [
        key
        for key, secret in chain.from_iterable(found)
        if secret.is_literal and _is_telling(config, key, secret)
    ]
    if keys:
        yield (
            f"{config.path} can be read by other users and holds {abridged(keys)} in plain "
            "text; chmod 600 it, or use env:, file: or credential:"
        )


def _is_telling(config: Config, key: str, secret: Secret) -> bool:
    table, _, name = key.lower().rpartition(".")
    channel = config.channels.get(key.removeprefix("channels.").removesuffix(".url"))
    if isinstance(channel, AppriseTable) or (
        isinstance(channel, WebhookTable) and channel.format in _CHATS
    ):
        return True  # the URL alone is enough to post there
    if name in {"url", "proxy"}:
        url = secret.reveal()
        has_more = table != "database" and ("@" in url or "?" in url)
        return has_more or addresses.holds_password(url)
    return any(word in name for word in _TELLING_NAMES)
