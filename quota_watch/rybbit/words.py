"""Words of others made fit for our sentences: short, and on one line."""

from typing import Any

from quota_watch.lib.text import one_line

_SHORT = 40
_SENTENCE = 200


def excerpt(value: Any) -> str:
    """Return how a JSON value looks, in at most about forty characters."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return f'"{one_line(value, _SHORT)}"'
    names = {None: "null", True: "true", False: "false"}
    is_name = value is None or isinstance(value, bool)
    return names[value] if is_name else one_line(str(value), _SHORT)


def quotable(text: Any) -> str | None:
    """Return upstream's own words on one line, or None where they are none or too many."""
    line = one_line(text, None) if isinstance(text, str) else ""
    return line if 0 < len(line) <= _SENTENCE else None


def place(server: str, organization: str | None) -> str:
    """Return which organization on which server, without a password in the server's URL.

    `organization` None: the server as such.
    """
    scheme, slashes, rest = one_line(server, None).rpartition("://")
    host, slash, path = rest.partition("/")
    shown = f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"
    if organization is None:
        return shown
    return f"organization {one_line(organization, None) or '(no id)'} at {shown}"


def looks_like_html(body: bytes) -> bool:
    """Tell whether the body is a web page or XML; no JSON begins so."""
    return body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
