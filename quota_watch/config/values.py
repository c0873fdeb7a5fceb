"""Validators of single values, and the problems that people read where a value is wrong.

A validator converts what is in the file, or raises `InvalidValueError`. What it allows, where
that differs from key to key, are its keyword arguments: the tables use it as a `partial`.
"""

import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from quota_watch.lib import QuotaWatchError
from quota_watch.lib.text import escape, has_unseen

LONGEST = timedelta(days=36_500)
"""The longest duration that can be written."""

_LONGEST = 60
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HIDDEN = object()
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"([0-9]{1,12})([smhd])")
_DURATIONS = 'a number and a unit (s, m, h, d), for example "15m"'
_LONGEST_TEXT = 200
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the key that has it (empty: the file as a whole)."""

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
    """Write a TOML value for one line of a message; long ones are cut."""
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
    """Name the type of a TOML value."""
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (str, "a string"),
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        ((datetime, date, time), "a date or time"),
        (list, "a list"),
    )
    return next((word for kind, word in kinds if isinstance(value, kind)), "a table")


_SYNONYMS = dict.fromkeys(
    ("level", "levels", "limits", "percent", "percents", "percentages", "percentage"), "thresholds"
)
"""Words for a key that are not spelled like it."""


def closest(word: object, known: Iterable[str]) -> str | None:
    """Guess which of `known` was meant by `word`; None where none is close."""
    if not isinstance(word, str) or len(word) > _LONGEST:
        return None
    import difflib  # noqa: PLC0415  only where something is wrong

    names = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), names, n=1)
    return names.get(matches[0] if matches else _SYNONYMS.get(word.lower(), ""))


def quoted(words: Iterable[str]) -> str:
    """Join words in quotes, with commas between."""
    return ", ".join(f'"{word}"' for word in words)


def abridged(words: Sequence[str], most: int = 4) -> str:
    """Join words with commas, and only count those past `most`."""
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")


def key_path(location: Iterable[str | int], document: Mapping[str, Any]) -> str:
    """Write the path of a key for messages: `organizations[2] (org_abc).plan`."""
    path = ""
    for part in location:
        if isinstance(part, str):
            path += ("." if path else "") + (part if _is_plain(part) else shown(part))
        elif path == "organizations":
            table = document[path][part]
            path = organization_key(part, table.get("id") if isinstance(table, dict) else None)
        else:
            path += f"[{part}]"
    return path


def organization_key(index: int, identity: object) -> str:
    """Write the path of an organization's table, with its id if that is a plain one."""
    is_plain = isinstance(identity, str) and _is_plain(identity)
    return f"organizations[{index}]" + (f" ({identity})" if is_plain else "")


def _is_plain(key: str) -> bool:
    return len(key) <= _LONGEST and _BARE.fullmatch(key) is not None


def whole(value: object, *, least: int, most: int) -> int:
    """Validate a whole number from `least` to `most`."""
    allowed = f"a whole number from {least} to {most:_}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidValueError("not a whole number", value=value, allowed=allowed)
    if not least <= value <= most:
        complaint = "too small" if value < least else "too large"
        raise InvalidValueError(complaint, value=value, allowed=allowed)
    return value


def text(value: object) -> str:
    """Validate a text of one line that is not blank."""
    if not isinstance(value, str):
        raise InvalidValueError("not a string", value=value)
    if not value.strip():
        raise InvalidValueError("empty", value=value)
    if has_unseen(value):
        raise InvalidValueError("holds line breaks or other invisible characters", value=value)
    if len(value) > _LONGEST_TEXT:
        raise InvalidValueError(f"longer than {_LONGEST_TEXT} characters", value=value)
    return value


def fitting(value: object, *, fits: Callable[[str], object], what: str, allowed: str) -> str:
    """Validate a text that `fits`, such as a name that matches a pattern."""
    if not isinstance(value, str) or not fits(value):
        raise InvalidValueError(f"not {what}", value=value, allowed=allowed)
    return value


def flag(value: object) -> bool:
    """Validate a yes or no."""
    if not isinstance(value, bool):
        raise InvalidValueError("not true or false", value=value, allowed="true, false")
    return value


def one_of(value: object, *, words: Sequence[str]) -> str:
    """Validate one of some words."""
    if not isinstance(value, str) or value not in words:
        raise InvalidValueError(
            "not one of the allowed words",
            value=value,
            allowed=quoted(words),
            meant=closest(value, words),
        )
    return value


def time_of_day(value: object) -> time:
    """Validate a time of day such as `22:00`."""
    shape = re.fullmatch(
        r"([01][0-9]|2[0-3]):([0-5][0-9])", value if isinstance(value, str) else ""
    )
    if shape is None:
        raise InvalidValueError("not a time of day", value=value, allowed='such as "22:00"')
    return time(int(shape[1]), int(shape[2]))


def duration_or_off(value: object) -> timedelta | Literal[False]:
    """Validate a duration of at least a second, or `false`."""
    if value is False:
        return False
    if not isinstance(value, str):
        raise InvalidValueError(
            "neither a duration nor false", value=value, allowed='such as "2h", or false'
        )
    return parse_duration(value, least=timedelta(seconds=1))


def time_zone(value: object) -> str:
    """Validate the name of a time zone that this machine knows."""
    name = value if isinstance(value, str) else ""
    if name == "UTC":  # it must do on a machine without a time zone database too
        return name
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        known = {zone for zone in zoneinfo.available_timezones() if "/" in zone}
        raise InvalidValueError(
            "not a time zone known to this machine"
            + ("" if known else ": it has no time zone database; install the package tzdata"),
            value=value,
            allowed='"UTC" or a name such as "Europe/Berlin"',
            meant=closest(name, known),
        ) from None
    return name


def fold(values: tuple[T, ...]) -> tuple[T, ...]:
    """Drop duplicates, in order."""
    return tuple(dict.fromkeys(values))


def some(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse an empty list."""
    if not values:
        raise InvalidValueError("an empty list; name at least one")
    return values


def parse_duration(
    value: object, *, least: timedelta = timedelta(0), most: timedelta = LONGEST
) -> timedelta:
    """Parse a duration such as `15m`; raises `InvalidValueError`."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidValueError("not a duration", value=value, allowed=_DURATIONS)
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not least.total_seconds() <= seconds <= most.total_seconds():
        complaint = "too short" if seconds < least.total_seconds() else "too long"
        allowed = f"{format_duration(least)} to {format_duration(most)}"
        raise InvalidValueError(complaint, value=value, allowed=allowed)
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Write a duration in the largest unit that fits; fractions of a second are dropped."""
    seconds = int(duration.total_seconds())
    unit = next(u for u, size in _SECONDS.items() if seconds % size == 0 and (seconds or u == "s"))
    return f"{seconds // _SECONDS[unit]}{unit}"
