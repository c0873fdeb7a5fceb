"""Secrets blanked out of text that leaves the program, however they are written there."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from quota_watch.lib.text import escape

_MASK = "***"
_SHORTEST_SECRET = 4


class Redactor:
    """Replaces every known secret, plain or encoded, by `***`.

    Known are also its forms in URLs, in Base64 (alone or inside `user:password`), in JSON and in
    `repr`. A secret under 4 characters is left: it would blank out half of every line.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know these from now on as well; nothing is ever forgotten."""
        forms = self._forms.union(*(_forms(secret) for secret in secrets))
        if forms:
            longest_first = sorted(forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        self._forms = forms

    def __call__(self, text: str) -> str:
        """Return `text` without secrets."""
        return self._pattern.sub(_MASK, text) if self._pattern else text


def _forms(secret: str) -> set[str]:
    """Return all that `secret` may look like in a log."""
    lines = {part for part in (secret, *secret.splitlines()) if len(part) >= _SHORTEST_SECRET}
    return {form for line in lines for form in _forms_of_line(line)}


def _forms_of_line(line: str) -> Iterator[str]:
    data = line.encode(errors="surrogateescape")  # as the environment decodes what is not UTF-8
    json_text = json.dumps(line, ensure_ascii=False)[1:-1]
    yield from (line, escape(line), repr(line)[1:-1], repr(data)[2:-1])
    yield from (json_text, escape(json_text), json.dumps(line)[1:-1])
    for quoted in (quote(data), quote(data, safe=""), quote_plus(data)):
        yield quoted
        yield re.sub("%..", lambda match: match[0].lower(), quoted)
    yield from _base64_forms(data)


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield what Base64 makes of `data` at each place where it can begin in a longer text.

    Characters that depend on the neighbours too are left out.
    """
    for shift, mixed_before in enumerate((0, 2, 3)):
        encoded = base64.b64encode(bytes(shift) + data).decode().rstrip("=")
        mixed_after = 1 if (shift + len(data)) % 3 else 0
        own = encoded[mixed_before : len(encoded) - mixed_after]
        yield own
        yield own.translate(str.maketrans("+/", "-_"))
