"""Which proxy the environment names for a URL: so leave webhooks and the heartbeat.

Polls don't: their proxy is a key of the config.
"""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import httpx

_ENTRY = re.compile(r"(?P<host>\[[^]]*\]|[^:]*|[^:]*:[^:]*:.*?)(?::(?P<port>[0-9]+))?")
"""A host, an address or a network, perhaps with a port; IPv6 only in brackets with one."""


def proxy_for(url: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names a proxy for a URL, and the proxy's URL; None where none does.

    As most programs have it: `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, else `ALL_PROXY`,
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


def parse_proxy(url: str) -> httpx.Proxy | None:
    """Parse a proxy's URL; None for what is none. TLS inside of TLS has no deadline."""
    try:
        proxy = httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL):
        return None
    return proxy if proxy.url.scheme == "http" and proxy.url.host else None


def _is_exempt(url: SplitResult, no_proxy: str) -> bool:
    host = _plain(url.hostname or "")
    address = _address(host)
    if address.is_loopback if address else f".{host}".endswith(".localhost"):
        return True
    port = url.port or (443 if url.scheme == "https" else 80)
    return any(_holds(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _holds(entry: str, host: str, port: int) -> bool:
    """Decide whether an entry such as `*.corp`, `10.0.0.0/8` or `[::1]:8080` holds a host."""
    match = _ENTRY.fullmatch(entry)
    if match is None or match["port"] not in {None, str(port)}:
        return False
    name = _plain(match["host"].strip("[]").removeprefix("*").removeprefix("."))
    if entry == "*":
        return True
    address = _address(host)
    if address is None:
        return bool(name) and f".{host}".endswith(f".{name}")
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _plain(host: str) -> str:
    return host.lower().removesuffix(".")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
