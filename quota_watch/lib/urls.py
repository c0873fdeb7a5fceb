"""URLs, parsed, and the proxy that the environment names for one.

Webhooks and the heartbeat use that proxy. Polls don't: theirs is a key of the config.
"""

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import SplitResult, quote, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}
_AS_IT_IS = "!$%&'()*+,/:;=?@[]~"
"""What a path or query may hold unquoted beside letters, digits and `-._`."""
_ENTRY = re.compile(r"(?P<host>\[[^]]*\]|[^:]*|[^:]*:[^:]*:.*?)(?::(?P<port>[0-9]+))?")
"""A host, an address or a network, perhaps with a port; IPv6 only in brackets with one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """What a request needs of an http or https URL; `host` has no brackets, `authority` has.

    `target` is path and query as they are sent, `login` what basic authentication sends.
    """

    scheme: str
    host: str
    port: int
    authority: str
    target: str = field(repr=False)
    login: bytes | None = field(repr=False)


@lru_cache(maxsize=64)
def parse_url(text: str) -> Url:
    """Parse an http or https URL; raises `ValueError`."""
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("the address does not begin with http:// or https://")
    if not parts.netloc.isprintable():
        raise ValueError("the host has characters that no host has")
    usual = _PORTS[parts.scheme]
    port = parts.port or usual
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    query = f"?{quote(parts.query, safe=_AS_IT_IS)}" if parts.query else ""
    return Url(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port,
        authority=host if port == usual else f"{host}:{port}",
        target=quote(parts.path or "/", safe=_AS_IT_IS) + query,
        login=b"Basic " + base64.b64encode(user.encode()) if user != ":" else None,
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    address = ip_address(host)
    return address.is_loopback if address else f".{host}".endswith(".localhost")


def is_everywhere(host: str) -> bool:
    """Whether listening at this host means every address of this machine."""
    address = ip_address(host)
    return address is not None and address.is_unspecified


def ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse a host that is an address; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def proxy_for(url: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names a proxy for a URL, and the proxy's URL; None where none does.

    As in most programs: `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, else `ALL_PROXY`,
    lower case first; not for this machine itself, nor for what `NO_PROXY` lists.
    """
    parts = urlsplit(url)
    if _is_exempt(parts, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            proxy = environ.get(variable, "").strip()
            if proxy:
                return variable, proxy if "://" in proxy else f"http://{proxy}"
    return None


def _is_exempt(url: SplitResult, no_proxy: str) -> bool:
    host = _plain(url.hostname or "")
    if is_loopback(host):
        return True
    port = url.port or _PORTS[url.scheme]
    return any(_covers(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry such as `*.corp`, `10.0.0.0/8` or `[::1]:8080` covers a host."""
    match = _ENTRY.fullmatch(entry)
    if match is None or match["port"] not in {None, str(port)}:
        return False
    name = _plain(match["host"].strip("[]").removeprefix("*").removeprefix("."))
    if entry == "*":
        return True
    address = ip_address(host)
    if address is None:
        return bool(name) and f".{host}".endswith(f".{name}")
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _plain(host: str) -> str:
    return host.lower().removesuffix(".")
