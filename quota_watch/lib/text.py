"""Formats values for people and for JSON: one safe line of text, numbers, dates, durations.

Pure, and independent of locale.
"""

import math
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SENTENCE = 400
NAME = 40
"""How much of a name fits into a title."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # they shape words of Persian and Hindi, and emoji
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TO = "\N{EN DASH}"
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_JUST_NOW = 10  # seconds
_SURE, _PROBABLE, _RULED_OUT = 0.97, 0.85, 0.03


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated number: the likely one and its 80 % range."""

    low: int
    likely: int
    high: int


def one_line(text: str, longest: int | None = 200) -> str:
    """Return `text` as one line that can't break out of a header or turn the reading direction.

    Control and formatting characters become spaces, runs of space one; cut to `longest`
    characters, or not at all where that is None.
    """
    # Most texts are plain ASCII, and a page shows hundreds.
    if not (text.isascii() and text.isprintable()):
        text = "".join(" " if _is_unseen(char) else char for char in text)
    line = " ".join(text.split())
    return line if longest is None or len(line) <= longest else line[: longest - 1].rstrip() + "…"


def csv_text(text: str) -> str:
    """Return `text` as one line that no spreadsheet reads as a formula."""
    line = one_line(text, None)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def join(sentences: Iterable[str]) -> str:
    """Return sentences as one text; empty ones are left out."""
    return " ".join(part for part in sentences if part)


def has_unseen(text: str) -> bool:
    """Whether `text` holds a line end, control or formatting character."""
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
    """Convert a value to dicts, lists, texts and numbers; dates ISO 8601, times in UTC with `Z`.

    A class whose JSON is not that of its fields has a method `to_json`.
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
    """Convert the fields of a dataclass, each as `plain` does."""
    names = (each.name for each in fields(fact) if each.name not in without)
    return {name: plain(getattr(fact, name)) for name in names}


def shallow(fact: Any) -> dict[str, Any]:
    """Take the fields of a dataclass as they are, to make one that has more of them."""
    return {each.name: getattr(fact, each.name) for each in fields(fact)}


def iso(moment: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC with `Z`; milliseconds only where there are some."""
    if moment is None:
        return None
    moment = moment.astimezone(UTC)
    whole = moment.microsecond == 0
    text = moment.isoformat(timespec="seconds" if whole else "milliseconds")
    return text.replace("+00:00", "Z")


def sentence(text: str) -> str:
    """Return `text` as one line that ends like a sentence."""
    line = one_line(text, _SENTENCE)
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def number(value: int) -> str:
    """Return a count with thousands separators: `100,000`."""
    return f"{value:,}"


def events(value: int) -> str:
    """Return a count with its unit: `1 event`, `8,766 events`."""
    return f"{value:,} event" if value == 1 else f"{value:,} events"


def plural(n: int, thing: str, things: str = "") -> str:
    """Write a count of things: `1 day`, `3 days`; `things` where it does not just take an s."""
    return f"{n:,} {thing if n == 1 else things or f'{thing}s'}"


def rough(value: float) -> str:
    """Return a number that is only estimated, to three digits: `131,482` as `131,000`."""
    whole = round(value)
    digits = max(len(str(abs(whole))) - 3, 0)
    return number(round(whole, -digits))


def estimate(value: Estimate) -> str:
    """Return an estimate with its band: `an estimated 12,000 (9,000-15,000) events`."""
    likely, low, high = rough(value.likely), rough(value.low), rough(value.high)
    band = "" if low == high else f" ({low}{_TO}{high})"
    return f"an estimated {likely}{band} {'event' if likely == '1' else 'events'}"


def certainty(probability: float) -> str:
    """Write a probability in whole percent; above 97 and below 3 only as `over` and `under`."""
    if probability > _SURE:
        return f"over {round(_SURE * 100)} %"
    if probability < _RULED_OUT:
        return f"under {round(_RULED_OUT * 100)} %"
    return f"{round(probability * 100)} %"


def verb(probability: float) -> str:
    """Choose the verb for a probability, the same in every title, text and page."""
    if probability > _SURE:
        return "will"
    return "will probably" if probability >= _PROBABLE else "might"


def band(low: float, high: float) -> str:
    """Write two estimated bounds: `48,600-65,600`, with a proper dash; once where they agree."""
    first, last = rough(low), rough(high)
    return first if first == last else f"{first}{_TO}{last}"


def aside(low: float, high: float, name: str = "") -> str:
    """Write bounds behind the value they are of: ` (48,600-65,600)`; nothing where they agree."""
    return "" if rough(low) == rough(high) else f" ({name}{band(low, high)})"


def about(value: Estimate) -> str:
    """Write an estimate in short: `about 58,000 (56,000-62,000)`."""
    return f"about {rough(value.likely)}{aside(value.low, value.high)}"


def growth(value: float | None) -> str:
    """Return a change in percent as `up 12 %`, `down 5 %` or `steady`; nothing where unknown."""
    if value is None:
        return ""
    whole = round(value)
    if whole == 0:
        return "steady"
    return f"up {number(whole)} %" if whole > 0 else f"down {number(-whole)} %"


def listed(parts: Sequence[str]) -> str:
    """Return several things as one phrase: `a, b and c`."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def share(value: float | None) -> str:
    """Return a percentage, cut to one decimal before, as text: `91.2 %`."""
    return _TO if value is None else f"{value:,.1f} %"


def short_day(day: date) -> str:
    """Return a date without its year: `1 April`."""
    return f"{day.day} {_MONTHS[day.month - 1]}"


def month(day: date) -> str:
    """Write the name of a day's month."""
    return _MONTHS[day.month - 1]


def long_day(day: date) -> str:
    """Return a whole date: `1 April 2026`."""
    return f"{short_day(day)} {day.year}"


def days(first: date, last: date) -> str:
    """Return a range of dates, both included: `1-31 March 2026`, with a proper dash."""
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}{_TO}{long_day(last)}"
    start = short_day(first) if first.year == last.year else long_day(first)
    return f"{start} {_TO} {long_day(last)}"


def weekday(day: date) -> str:
    """Return a day of this year with its weekday: `Thu 18 March`."""
    return f"{_WEEKDAYS[day.weekday()]} {short_day(day)}"


def short_days(first: date, last: date) -> str:
    """Return a range of dates without year: `17-20 March`, with a proper dash."""
    if first == last:
        return short_day(first)
    if first.month == last.month:
        return f"{first.day}{_TO}{short_day(last)}"
    return f"{short_day(first)} {_TO} {short_day(last)}"


def moment(at: datetime, zone: str) -> str:
    """Write a time in the reader's zone and in UTC: `15 March 2026, 13:00 CET (12:00 UTC)`.

    UTC is not repeated where it is the reader's zone, nor its date where that is the same.
    """
    return f"{long_day(at.astimezone(zone_of(zone)))}, {_time(at, zone)}"


def brief(at: datetime, zone: str) -> str:
    """Write a time of these days without its year: `6 March, 04:00 CET (03:00 UTC)`."""
    return f"{short_day(at.astimezone(zone_of(zone)))}, {_time(at, zone)}"


def _time(at: datetime, zone: str) -> str:
    local, utc = at.astimezone(zone_of(zone)), at.astimezone(UTC)
    name = local.tzname() or ""
    here = f"{local:%H:%M} {'UTC' if name[:1] in {'+', '-'} else ''}{name}"
    if name == "UTC":
        return here
    day = "" if local.date() == utc.date() else f"{short_day(utc)}, "
    return f"{here} ({day}{utc:%H:%M} UTC)"


def local(at: str, zone: str) -> str:
    """Write an ISO time as `moment` does."""
    return moment(datetime.fromisoformat(at), zone)


def whole_day(day: str) -> str:
    """Write an ISO date as `long_day` does."""
    return long_day(date.fromisoformat(day))


def span(length: timedelta) -> str:
    """Write a duration in its two largest units, "37 min 54 s", rounded up to whole seconds."""
    seconds = math.ceil(length.total_seconds())
    parts: list[str] = []
    for unit, size in _UNITS:
        if seconds >= size:
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(parts[:2]) or "0 s"


def duration(length: timedelta) -> str:
    """Write a duration cut to whole minutes, from a day on to hours: `2 h 15 min`."""
    unit = timedelta(hours=1) if length >= timedelta(days=1) else timedelta(minutes=1)
    return span(length // unit * unit) if length >= unit else "less than a minute"


def ago(at: datetime | None, now: datetime) -> str:
    """Write how long ago a time was, in its largest unit."""
    if at is None:
        return "never"
    seconds = int((now - at).total_seconds())
    unit, size = next((each for each in _UNITS if seconds >= each[1]), ("s", 1))
    return f"{seconds // size} {unit} ago" if seconds >= _JUST_NOW else "just now"


def what_and_advice(message: str) -> tuple[str, str]:
    """Split a poll's error into what happened and what to do, without the place."""
    _, _, rest = message.partition(": ")
    what, _, advice = (rest or message).partition(". ")
    return what, advice


def sparkline(counts: Sequence[int | None]) -> str:
    """Draw counts as columns one cell wide; a day that is unknown is a dot."""
    most = max((n for n in counts if n is not None), default=0) or 1
    return "".join("·" if n is None else "▁▂▃▄▅▆▇█"[min(n * 8 // most, 7)] for n in counts)


def largest_first(by_type: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the types that have events, the largest first."""
    return sorted(
        ((type_, n) for type_, n in by_type.items() if n), key=lambda item: (-item[1], item[0])
    )


def zone_of(name: str) -> tzinfo:
    """Find a time zone by name; UTC where the machine does not have it, better than no message.

    UTC itself needs no time zone database: slim machines have none.
    """
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
