"""Validators of single values: what comes out is a domain value, or an `InvalidValueError`."""

import re
import zoneinfo
from collections.abc import Callable
from datetime import time, timedelta
from typing import Literal, TypeVar

from quota_watch.config.problems import InvalidValueError, closest, quoted
from quota_watch.lib.text import has_unseen
from quota_watch.model.watch import Rule, Severity

LONGEST = timedelta(days=36_500)
"""The longest duration that can be written."""

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PATTERN = re.compile(r"([0-9]{1,12})([smhd])")
_ALLOWED = 'a number and a unit (s, m, h, d), for example "15m"'
_LONGEST_TEXT = 200
T = TypeVar("T")


def whole(least: int, most: int) -> Callable[[object], int]:
    """Return a validator of whole numbers from `least` to `most`."""
    allowed = f"a whole number from {least} to {most:_}"

    def validate(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidValueError("not a whole number", value=value, allowed=allowed)
        if not least <= value <= most:
            complaint = "too small" if value < least else "too large"
            raise InvalidValueError(complaint, value=value, allowed=allowed)
        return value

    return validate


def text(value: object) -> str:
    """Validate a text of one line that says something."""
    if not isinstance(value, str):
        raise InvalidValueError("not a string", value=value)
    if not value.strip():
        raise InvalidValueError("empty", value=value)
    if has_unseen(value):
        raise InvalidValueError("holds line breaks or other invisible characters", value=value)
    if len(value) > _LONGEST_TEXT:
        raise InvalidValueError(f"longer than {_LONGEST_TEXT} characters", value=value)
    return value


def matching(pattern: str, *, what: str, allowed: str) -> Callable[[object], str]:
    """Return a validator of names that match `pattern` as a whole."""

    def validate(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise InvalidValueError(f"not {what}", value=value, allowed=allowed)
        return value

    return validate


def flag(value: object) -> bool:
    """Validate a yes or no."""
    if not isinstance(value, bool):
        raise InvalidValueError("not true or false", value=value, allowed="true, false")
    return value


def one_of(*words: str) -> Callable[[object], str]:
    """Return a validator of one of some words."""

    def validate(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            meant = closest(value, words)
            raise InvalidValueError(
                "not one of the allowed words",
                value=value,
                allowed=quoted(words),
                meant=meant,
            )
        return value

    return validate


def severity(value: object) -> Severity:
    """Validate the name of a severity."""
    return Severity.of(one_of(*(each.label for each in Severity))(value))


def rule(value: object) -> Rule:
    """Validate the name of a rule."""
    return Rule(one_of(*Rule)(value))


def time_of_day(value: object) -> time:
    """Validate a time of day such as `22:00`."""
    shape = re.fullmatch(
        r"([01][0-9]|2[0-3]):([0-5][0-9])", value if isinstance(value, str) else ""
    )
    if shape is None:
        raise InvalidValueError("not a time of day", value=value, allowed='such as "22:00"')
    return time(int(shape[1]), int(shape[2]))


def duration(
    least: timedelta = timedelta(0), most: timedelta = LONGEST
) -> Callable[..., timedelta]:
    """Return a validator of durations from `least` to `most`."""
    return lambda value: parse_duration(value, least=least, most=most)


def or_off(validate: Callable[[object], T]) -> Callable[[object], T | Literal[False]]:
    """Return a validator that takes `false` beside what `validate` takes."""

    def either(value: object) -> T | Literal[False]:
        if value is False:
            return False
        if not isinstance(value, str):
            raise InvalidValueError(
                "neither a duration nor false", value=value, allowed='such as "2h", or false'
            )
        return validate(value)

    return either


def time_zone(value: object) -> str:
    """Validate the name of a time zone that this machine knows."""
    name = value if isinstance(value, str) else ""
    # "UTC" must do on a machine without a time zone database too.
    if name != "UTC" and not _is_zone(name):
        known = zoneinfo.available_timezones()
        raise InvalidValueError(
            "not a time zone known to this machine"
            + ("" if known else ": it has no time zone database; install the package tzdata"),
            value=value,
            allowed='"UTC" or a name such as "Europe/Berlin"',
            meant=closest(name, known),
        )
    return name


def fold(values: tuple[T, ...]) -> tuple[T, ...]:
    """Drop what stands there a second time."""
    return tuple(dict.fromkeys(values))


def some(values: tuple[T, ...]) -> tuple[T, ...]:
    """Refuse an empty list."""
    if not values:
        raise InvalidValueError("an empty list; name at least one")
    return values


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


def parse_duration(
    value: object, *, least: timedelta = timedelta(0), most: timedelta = LONGEST
) -> timedelta:
    """Return the duration that `value` says; raises `ValueError` in words for a person."""
    match = _PATTERN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InvalidValueError("not a duration", value=value, allowed=_ALLOWED)
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not least.total_seconds() <= seconds <= most.total_seconds():
        complaint = "too short" if seconds < least.total_seconds() else "too long"
        allowed = f"{format_duration(least)} to {format_duration(most)}"
        raise InvalidValueError(complaint, value=value, allowed=allowed)
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """Return the shortest way to write `duration`; fractions of a second are dropped."""
    seconds = int(duration.total_seconds())
    unit = next(u for u, size in _SECONDS.items() if seconds % size == 0 and (seconds or u == "s"))
    return f"{seconds // _SECONDS[unit]}{unit}"
