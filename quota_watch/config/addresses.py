"""URLs and mail addresses: what is a good one, and its one normal form."""

import re
from contextlib import suppress
from functools import partial
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from quota_watch.config.values import InvalidValueError, fitting
from quota_watch.lib.text import has_unseen
from quota_watch.lib.urls import ip_address, parse_url

CLOUD = "https://app.rybbit.io"
"""Rybbit's own server."""

MAILTO = "mailto:"
"""How an entry begins that names a mail address instead of a channel."""

SQLITE = "sqlite:///"
"""How the URL of a SQLite file begins."""

_DATABASES = '"sqlite:///FILE", "sqlite:////FOLDER/FILE", "postgresql://USER@HOST/NAME"'
_SQLITE_MISTAKES = (
    (
        r"sqlite://(?:/(?::memory:)?)?",
        "a database in memory forgets sent alerts when the program ends",
    ),
    (
        r"sqlite(?!:///).*",
        "not an SQLite URL: it needs three slashes before the file",
    ),
    (
        r"sqlite:///(?:file:.*|.*\?.*|.*/)",
        "not an SQLite file: only its path may follow the slashes",
    ),
)
_POSTGRESQL = re.compile(r"postgresql(?:\+psycopg)?://([^?]*)(?:\?.*)?")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")
_URL_CHARACTERS = re.compile(r"[!-\[\]-~]+")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_HOST = 253
_LONGEST_ADDRESS = 254
_LONGEST_LOCAL = 64
_LONGEST_SENDER = 500
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/@\s]+)):([0-9]{1,5})")
_MOST_PORT = 65_535
_SENDER = re.compile(r'(?:"[^"\\<>]*"|[^"\\<>@,;:()\[\]]*?)\s*<([^<>]*)>')


class Listen(NamedTuple):
    """Where a server listens: a host's name or address, and a port (0: any that is free)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listen(value: object) -> Listen:
    """Split the `host:port` where a server is to listen; an IPv6 address stands in brackets."""
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    host = (match[1] or match[2]).lower() if match else ""
    if match is None or not _is_host(host) or int(match[3]) > _MOST_PORT:
        raise InvalidValueError(
            "not a host and a port",
            value=value,
            allowed='host:port, such as "127.0.0.1:8420" or "[::1]:8420"',
        )
    return Listen(host, int(match[3]))


def server(value: object) -> str:
    """Normalize a server's base URL, which is part of an organization's identity.

    Scheme and host in lower case, without the default port and without a slash at the end.
    """
    text = value if isinstance(value, str) else ""
    if "@" in text:
        raise InvalidValueError(
            "the URL holds a user or password, readable by anyone; use api_key for the credential"
        )
    try:
        parts = _split(text)
    except ValueError as error:
        example = f'an http or https URL such as "{CLOUD}"'
        raise InvalidValueError(f"not a base URL: {error}", value=value, allowed=example) from None
    if "?" in text or "#" in text:
        raise InvalidValueError("a base URL has no query (?…) and no fragment (#…)")
    return f"{parts.scheme}://{parse_url(text).authority}{parts.path.rstrip('/')}"


def web_url(value: str) -> None:
    """Refuse a URL that nothing can be posted to, without showing it."""
    try:
        _split(value)
    except ValueError as error:
        allowed = '"http://…" or "https://…"'
        raise InvalidValueError(f"not a URL: {error}", allowed=allowed) from None


def any_url(value: str) -> None:
    """Refuse what is no URL of any kind, without showing it."""
    if not _ANY_URL.fullmatch(value) or has_unseen(value):
        raise InvalidValueError("not a URL", allowed='"SERVICE://…" as apprise has it')


def proxy_url(value: str) -> None:
    """Refuse a URL that is no HTTP proxy's, without showing it."""
    with suppress(ValueError):
        if _split(value).scheme == "http":
            return
    raise InvalidValueError(
        "not the URL of a proxy", allowed='"http://HOST:PORT", as TLS to it is not supported'
    )


def mailto(value: str) -> str | None:
    """Extract the address from an entry such as `mailto:anna@example.com`; None for any other.

    Raises `InvalidValueError` where it is none.
    """
    return mail_address(value.removeprefix(MAILTO)) if value.startswith(MAILTO) else None


def sender(value: object) -> str:
    """Validate a mail address with or without a name before it."""
    text = value if isinstance(value, str) and len(value) <= _LONGEST_SENDER else ""
    match = _SENDER.fullmatch(text)
    if has_unseen(text) or not _is_address(match[1] if match else text):
        raise InvalidValueError(
            "not a mail address",
            value=value,
            allowed='"anna@example.com" or "Anna <anna@example.com>"; a name with commas in quotes',
        )
    return text


def _split(text: str) -> SplitResult:
    """Split an http(s) URL; raises `ValueError` whose words hold nothing of it."""
    if not text:
        raise ValueError("it is empty or not a string")
    if not _URL_CHARACTERS.fullmatch(text):
        raise ValueError("it holds spaces, backslashes or characters outside ASCII")
    if not re.match(r"https?://", text, re.IGNORECASE):
        raise ValueError("it must begin with http:// or https://")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("its host or port is wrong") from None
    if not _is_host(parts.hostname or "") or port == 0:
        raise ValueError("its host or port is wrong")
    return parts


def _is_host(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    if ":" in host or labels[-1].isdigit():
        return ip_address(host) is not None and "%" not in host
    return len(host) <= _LONGEST_HOST and all(_LABEL.fullmatch(label) for label in labels)


def _is_address(text: str) -> bool:
    local, _, name = text.rpartition("@")
    try:  # a domain of other letters goes out as ASCII, as mail servers want it
        domain = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return False
    return (
        len(text) <= _LONGEST_ADDRESS
        and len(local) <= _LONGEST_LOCAL
        and _LOCAL.fullmatch(local) is not None
        and not domain.startswith("[")
        and _is_host(domain)
    )


def database_url(url: str) -> None:
    """Refuse a URL that no store can be opened with, without showing it."""
    if not url.isprintable():
        what = "not a database URL: it holds control characters"
        raise InvalidValueError(what, allowed=_DATABASES)
    for pattern, what in _SQLITE_MISTAKES:
        if re.fullmatch(pattern, url):
            raise InvalidValueError(what, allowed=_DATABASES)
    if url.startswith("sqlite"):
        return
    match = _POSTGRESQL.fullmatch(url)
    if match is None:
        what = "not a database URL of a kind that is supported"
        meant = "postgresql://" if url.startswith("postgres") else None
        raise InvalidValueError(what, allowed=_DATABASES, meant=meant)
    if match[1].count("@") > 1:
        raise InvalidValueError("in a URL, write an @ of the password as %40")
    port = _PORT.fullmatch(match[1].rpartition("@")[2].partition("/")[0])
    if port is None or (port[1] is not None and not 0 < int(port[1]) <= _MOST_PORT):
        what = "not a database URL: its host or port is wrong"
        raise InvalidValueError(what, allowed=_DATABASES)


def holds_password(url: str) -> bool:
    """Whether a database's URL may have a password in it."""
    user, _, _ = url.partition("://")[2].rpartition("@")
    return ":" in user or "password" in url.lower()


host_name = partial(
    fitting,
    fits=_is_host,
    what="a host",
    allowed='a name or an address, such as "smtp.example.com"',
)
mail_address = partial(
    fitting,
    fits=_is_address,
    what="a mail address",
    allowed='a bare one, such as "anna@example.com"',
)
