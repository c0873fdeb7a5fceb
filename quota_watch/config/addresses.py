"""URLs and mail addresses: what is a good one, and its one normal form."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from quota_watch.config.values import InvalidValueError
from quota_watch.lib.text import has_unseen

CLOUD = "https://app.rybbit.io"
"""Rybbit's own server."""

MAILTO = "mailto:"
"""How an entry begins that names a mail address instead of a channel."""

SQLITE = "sqlite:///"
"""How the URL of a SQLite file begins."""

DEFAULT_DATABASE = f"{SQLITE}quota-watch.db"

_DATABASES = 'allowed: "sqlite:///FILE", "sqlite:////FOLDER/FILE", "postgresql://USER@HOST/NAME"'
_POSTGRESQL = re.compile(r"postgresql(?:\+psycopg)?://([^?]*)(?:\?.*)?")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
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
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port not in {None, _DEFAULT_PORTS[parts.scheme]} else ""
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def web_url(value: str) -> str | None:
    """Complain about a URL that nothing can be posted to, without showing it."""
    try:
        _split(value)
    except ValueError as error:
        return f'not a URL: {error}; allowed: "http://…" or "https://…"'
    return None


def any_url(value: str) -> str | None:
    """Complain about what is no URL of any kind, without showing it."""
    if _ANY_URL.fullmatch(value) and not has_unseen(value):
        return None
    return 'not a URL; allowed: "SERVICE://…" as apprise has it'


def proxy_url(value: str) -> str | None:
    """Complain about a URL that is no HTTP proxy's, without showing it."""
    if web_url(value) is None and urlsplit(value).scheme == "http":
        return None
    return 'not the URL of a proxy; allowed: "http://HOST:PORT", as TLS to it is not supported'


def is_everywhere(host: str) -> bool:
    """Whether listening at this host means every address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def host_name(value: object) -> str:
    """Validate the name or address of a host."""
    if not isinstance(value, str) or not _is_host(value):
        raise InvalidValueError(
            "not a host", value=value, allowed='a name or an address, such as "smtp.example.com"'
        )
    return value


def mail_address(value: object) -> str:
    """Validate a mail address without a name."""
    if not isinstance(value, str) or not _is_address(value):
        raise InvalidValueError(
            "not a mail address", value=value, allowed='a bare one, such as "anna@example.com"'
        )
    return value


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
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return "%" not in host
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


def database_complaint(url: str) -> str | None:
    """Complain about a URL that no store can be opened with, without showing it."""
    if not url.isprintable():
        return f"not a database URL: it holds control characters; {_DATABASES}"
    if url.startswith("sqlite"):
        return _sqlite_complaint(url)
    return _postgresql_complaint(url)


def holds_password(url: str) -> bool:
    """Whether a database's URL may have a password in it."""
    user, _, _ = url.partition("://")[2].rpartition("@")
    return ":" in user or "password" in url.lower()


def _sqlite_complaint(url: str) -> str | None:
    file = url.removeprefix(SQLITE)
    if url == "sqlite://" or file in {"", ":memory:"}:
        return f"a database in memory forgets sent alerts when the program ends; {_DATABASES}"
    if not url.startswith(SQLITE):
        return f"not an SQLite URL: it needs three slashes before the file; {_DATABASES}"
    if "?" in file or file.startswith("file:") or file.endswith("/"):
        return f"not an SQLite file: only its path may follow the slashes; {_DATABASES}"
    return None


def _postgresql_complaint(url: str) -> str | None:
    match = _POSTGRESQL.fullmatch(url)
    if match is None:
        hint = '; did you mean "postgresql://"?' if url.startswith("postgres") else ""
        return f"not a database URL of a kind that is supported; {_DATABASES}{hint}"
    if match[1].count("@") > 1:
        return "in a URL, write an @ of the password as %40"
    authority = match[1].rpartition("@")[2].partition("/")[0]
    port = _PORT.fullmatch(authority)
    if port is None or (port[1] is not None and not 0 < int(port[1]) <= _MOST_PORT):
        return f"not a database URL: its host or port is wrong; {_DATABASES}"
    return None
