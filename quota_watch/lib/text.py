"""Text fit to be shown, on one line, with nothing in it that steers; facts fit for JSON."""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

NAME = 40
"""How much of a name fits into a title."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # they shape words of Persian and Hindi, and emoji


def one_line(text: str, longest: int | None = 200) -> str:
    """Return `text` as one line that can't break out of a header or turn the reading direction.

    Control and formatting characters become spaces, runs of space one; cut to `longest`
    characters, or not at all where that is None.
    """
    # Most texts are plain, and a page shows hundreds.
    if not (text.isascii() and text.isprintable()):
        text = "".join(" " if _is_unseen(char) else char for char in text)
    line = " ".join(text.split())
    return line if longest is None or len(line) <= longest else line[: longest - 1].rstrip() + "…"


def csv_text(text: str) -> str:
    """Return `text` as one line that no spreadsheet takes for a formula."""
    line = one_line(text, None)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def join(sentences: Iterable[str]) -> str:
    """Return sentences as one text; empty ones are left out."""
    return " ".join(part for part in sentences if part)


def has_unseen(text: str) -> bool:
    """Tell whether `text` holds a line end, control or formatting character."""
    return any(_is_unseen(char) for char in text)


def escape(text: str) -> str:
    r"""Return `text` with line ends, control and direction characters as `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _is_unseen(char: str) -> bool:
    return unicodedata.category(char) in _UNSEEN and char not in _JOINERS


def plain(fact: Any) -> Any:
    """Return a fact as dicts, lists, texts and numbers; dates ISO 8601, times in UTC with `Z`.

    What has a shape of its own says so by a method `to_json`; else it is that of the fields.
    """
    if hasattr(fact, "to_json"):
        return fact.to_json()
    if is_dataclass(fact):
        return by_field(fact)
    if isinstance(fact, Mapping):
        return {str(plain(name)): plain(value) for name, value in fact.items()}
    if isinstance(fact, (list, tuple)):
        return [plain(each) for each in fact]
    if isinstance(fact, date):
        return iso(fact) if isinstance(fact, datetime) else fact.isoformat()
    return fact.value if isinstance(fact, Enum) else fact


def by_field(fact: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass as `plain` has them."""
    names = (each.name for each in fields(fact) if each.name not in without)
    return {name: plain(getattr(fact, name)) for name in names}


def iso(moment: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC with `Z`; milliseconds only where there are some."""
    if moment is None:
        return None
    moment = moment.astimezone(UTC)
    whole = moment.microsecond == 0
    text = moment.isoformat(timespec="seconds" if whole else "milliseconds")
    return text.replace("+00:00", "Z")
