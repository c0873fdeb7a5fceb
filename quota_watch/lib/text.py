"""Words of others made fit to be shown: on one line, with nothing in them that steers."""

import unicodedata
from collections.abc import Iterable

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
