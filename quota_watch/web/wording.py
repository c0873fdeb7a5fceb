"""The filters of the pages' templates: how numbers, days and moments read there."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from quota_watch.lib.figures import (
    ago,
    days,
    duration,
    largest_first,
    local,
    number,
    rough,
    share,
    short_day,
    what_and_advice,
    whole_day,
)
from quota_watch.lib.text import one_line

_UNITS = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))
_TO = "\N{EN DASH}"
_SIGNS = {"critical": "■", "unknown": "○", "warning": "▲", "info": "◆", "ok": "●"}
_WORDS = {"ok": "OK"}


def compact(value: float) -> str:
    """Return a count in few characters: `950`, `25k`, `1.2M`."""
    for size, unit in _UNITS:
        # 999,960 is 1M, not 1000k.
        if value >= size * 0.9995:
            scaled = value / size
            text = f"{scaled:.0f}" if scaled >= 99.5 else f"{scaled:.1f}".removesuffix(".0")  # noqa: PLR2004  three digits at most
            return text + unit
    return f"{value:.0f}"


def few_words(day: str | None) -> str:
    """Return an ISO date as `23 Mar`, or a dash."""
    if day is None:
        return _TO
    parsed = date.fromisoformat(day)
    return f"{parsed.day} {short_day(parsed).split()[1][:3]}"


def month(day: str) -> str:
    """Return the month of an ISO date: `March 2026`."""
    return whole_day(day).split(" ", 1)[1]


def between(crossing: Mapping[str, str | None]) -> str:
    """Return the days between which the limit is passed: `20-28 Mar`, with a proper dash."""
    early, late = crossing["early"], crossing["late"]
    if late is None:
        return f"{few_words(early)} or later"
    return "" if early == late else f"{few_words(early)} {_TO} {few_words(late)}"


def _period_days(period: Mapping[str, str]) -> str:
    return days(date.fromisoformat(period["start"]), date.fromisoformat(period["end"]))


def _left(until: str, now: datetime) -> str:
    return duration(datetime.fromisoformat(until) - now)


def _clock(at: str) -> str:
    """Return an ISO time as `15 Mar, 12:00`, in UTC."""
    parsed = datetime.fromisoformat(at).astimezone(UTC)
    return f"{few_words(parsed.date().isoformat())}, {parsed:%H:%M}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "about": rough,
    "ago": ago,
    "between": between,
    "clock": _clock,
    "compact": compact,
    "day": whole_day,
    "few": few_words,
    "largest_first": largest_first,
    "left": _left,
    "line": one_line,
    "local": local,
    "month": month,
    "number": number,
    "period_days": _period_days,
    "share": share,
    "sign": lambda state: _SIGNS[state],
    "state": lambda state: _WORDS.get(state, state.capitalize()),
    "what": lambda message: what_and_advice(message)[0],
    "advice": lambda message: what_and_advice(message)[1],
    "words": lambda name: name.replace("_", " "),
}
"""The filters that the pages' templates have beside Jinja's own."""
