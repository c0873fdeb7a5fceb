"""Durations as they are written: one number and one unit, `"90s" "15m" "6h" "2d"`."""

import re
from datetime import timedelta

from quota_watch.config.problems import InvalidValueError

LONGEST = timedelta(days=36_500)
"""The longest duration that can be written."""

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PATTERN = re.compile(r"([0-9]{1,12})([smhd])")
_ALLOWED = 'a number and a unit (s, m, h, d), for example "15m"'


def parse_duration(
    value: object, *, least: timedelta = timedelta(0), most: timedelta = LONGEST
) -> timedelta:
    """Return the duration that `value` says; raises `ValueError` in words for a person."""
    found = _PATTERN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidValueError("not a duration", value=value, allowed=_ALLOWED)
    seconds = int(found[1]) * _SECONDS[found[2]]
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
