"""Which proxy the environment names for a URL. Webhooks go through it; polls have a key of ours."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from quota_watch.config.addresses import is_loopback


def proxy_for(url: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names a proxy for a URL, and what it says; None where none does.

    As most programs have it: `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, else `ALL_PROXY`,
    in small letters first; not for this machine itself, nor for what `NO_PROXY` lists.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    exempt = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if is_loopback(host) or _is_listed(host, parts.port, exempt):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if environ.get(variable):
                return variable, environ[variable]
    return None


def _is_listed(host: str, port: int | None, exempt: str) -> bool:
    """Tell whether a list such as `example.com, .internal:8080, *` holds a host or its domain."""
    for entry in exempt.lower().split(","):
        name = entry.strip().removesuffix(f":{port}").lstrip(".")
        if name == "*" or (name and f".{host}".endswith(f".{name}")):
            return True
    return False
