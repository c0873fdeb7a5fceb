"""Words of others made fit for our sentences: short, printable, on one line."""

from typing import Any

_SHORT = 40
_SENTENCE = 200


def excerpt(value: Any) -> str:
    """Return how a JSON value looks, in at most about forty characters."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return f'"{_cut(_line(value))}"'
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else _cut(str(value))


def printable(text: Any) -> str | None:
    """Return upstream's own words on one line, or None where they are none or too many."""
    line = _line(text) if isinstance(text, str) else ""
    return line if 0 < len(line) <= _SENTENCE else None


def place(server: str, organization: str | None) -> str:
    """Return which organization on which server, without a password in the server's URL.

    `organization` None: the server as such.
    """
    scheme, slashes, rest = _line(server).rpartition("://")
    host, slash, path = rest.partition("/")
    shown = f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"
    if organization is None:
        return shown
    return f"organization {_line(organization) or '(no id)'} at {shown}"


def looks_like_html(body: bytes) -> bool:
    """Tell whether the body is a web page or XML; no JSON begins so."""
    return body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _line(text: str) -> str:
    """Drop what a terminal or mail could take for more than text: controls, bidi marks."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())


def _cut(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"
