"""What is wrong with a config, said so that a person can put it right."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path

from quota_watch.lib import QuotaWatchError
from quota_watch.lib.text import escape

_LONGEST = 60
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HIDDEN = object()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the key where it stands (empty: the file as a whole)."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class ConfigError(QuotaWatchError):
    """A config that can't be used, with all its problems at once; none shows a secret.

    `path` is None where no file was found at all.
    """

    def __init__(self, path: Path | None, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = tuple(dict.fromkeys(problems))
        place = "" if path is None else f"{escape(str(path))}: "
        super().__init__("\n".join(f"{place}{problem}" for problem in self.problems))


class InvalidValueError(ValueError):
    """A value that is refused. It is shown only if it is given here: secrets are not."""

    def __init__(
        self, what: str, *, value: object = _HIDDEN, allowed: str = "", meant: str | None = None
    ) -> None:
        text = what if value is _HIDDEN else f"{what} (value {shown(value)})"
        text += f"; allowed: {allowed}" if allowed else ""
        super().__init__(text + (f'; did you mean "{meant}"?' if meant else ""))


def shown(value: object) -> str:
    """Return a TOML value as it may stand in one line of a message; long ones are cut."""
    if isinstance(value, str):
        cut = value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
        return f'"{escape(cut)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | time):
        return value.isoformat()
    # Python refuses to print integers of many thousand digits, which TOML can write in hex.
    if isinstance(value, int) and value.bit_length() > _LONGEST * 3:
        return "a huge number"
    return str(value) if isinstance(value, int | float) else kind_of(value)


def kind_of(value: object) -> str:
    """Return what sort of TOML value this is, in words."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (str, "a string"),
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        ((datetime, date, time), "a date or time"),
        (list, "a list"),
    )
    return next((word for kind, word in kinds if isinstance(value, kind)), "a table")


def closest(word: object, known: Iterable[str]) -> str | None:
    """Return the one of `known` that was probably meant by `word`, or None."""
    if not isinstance(word, str) or len(word) > _LONGEST:
        return None
    import difflib  # noqa: PLC0415  only where something is wrong

    names = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), names, n=1)
    return names[matches[0]] if matches else None


def quoted(words: Iterable[str]) -> str:
    """Return the words in quotes, with commas between."""
    return ", ".join(f'"{word}"' for word in words)


def listed(words: Sequence[str], most: int = 4) -> str:
    """Return the words with commas between, and only a count of those past `most`."""
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")


def key_path(location: Iterable[str | int], document: Mapping[str, object]) -> str:
    """Return the path of a key as messages name it: `organizations[2] (org_abc).plan`."""
    path = ""
    parts = tuple(location)
    for depth, part in enumerate(parts):
        if isinstance(part, int):
            path += f"[{part}]"
            if parts[:depth] == ("organizations",):
                path += _id_label(document, part)
        else:
            path += ("." if path else "") + _key(part)
    return path


def organization_key(index: int, identity: object) -> str:
    """Return the path of an organization's table, with its id if that is a plain one."""
    return _organization_key(index, identity if isinstance(identity, str) else "")


@lru_cache(4_096)  # each check asks for those of all organizations
def _organization_key(index: int, identity: str) -> str:
    is_plain = len(identity) <= _LONGEST and _is_bare(identity)
    return f"organizations[{index}]" + (f" ({identity})" if is_plain else "")


def _id_label(document: Mapping[str, object], index: int) -> str:
    tables = document.get("organizations")
    table = tables[index] if isinstance(tables, list) and index < len(tables) else None
    identity = table.get("id") if isinstance(table, dict) else None
    return organization_key(index, identity).removeprefix(f"organizations[{index}]")


def _is_bare(key: str) -> bool:
    return _BARE.fullmatch(key) is not None


def _key(key: str) -> str:
    return key if len(key) <= _LONGEST and _is_bare(key) else shown(key)
