"""Pictures of numbers that need no image: the bar of a limit, and the days of a period. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from quota_watch.lib.figures import number, rough, short_day, weekday

_TALLEST = 64
_MARKS = {"used": "#", "likely": "=", "range": "-", "free": "."}
_SATURDAY = 5
_DAY_CHARACTERS = 40
_ROOM_FOR_LABEL = 4
_FULL = 100


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a bar: `used`, `likely`, `range`, `free`, or `limit`, which has no width."""

    kind: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Usage, what is likely to come, the range of that, and where the limit is.

    The widths are percent and come to 100. `forecast` says it in words, or is empty.
    """

    parts: tuple[Part, ...]
    forecast: str

    def text(self, width: int = 40) -> str:
        """Return it as characters: `[####==--|--]`."""
        drawn, start = "", 0
        for part in self.parts:
            if part.kind == "limit":
                drawn += "|"
                continue
            end = start + part.width
            marks = end * width // _FULL - start * width // _FULL
            drawn += _MARKS[part.kind] * marks
            start = end
        return f"[{drawn}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """One day: what it had and what more is expected, with their heights in pixels."""

    day: date
    used: int | None
    more: int
    height: int
    more_height: int
    weekend: bool
    label: str
    span: int

    @property
    def text(self) -> str:
        """The day in words."""
        return f"{weekday(self.day)}: {self._numbers}"

    @property
    def line(self) -> str:
        """The day as a line of a chart of characters."""
        marks = "#" * (self.height * _DAY_CHARACTERS // _TALLEST)
        marks += "=" * (self.more_height * _DAY_CHARACTERS // _TALLEST)
        name = f"{weekday(self.day)[:3]} {self.day.day:>2}"
        return f"{name}  {self._numbers:>17}  {marks}".rstrip()

    @property
    def _numbers(self) -> str:
        if self.used is None:
            return f"about {rough(self.more)}" if self.more else "unknown"
        return f"{number(self.used)} so far" if self.more else number(self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The days of a period. `caption` says the most of it, `label` all of it, in words."""

    bars: tuple[DayBar, ...]
    caption: str
    label: str
    foretold: bool


def gauge_of(usage: Mapping[str, Any] | None, forecast: Mapping[str, Any] | None) -> Gauge | None:
    """Return the bar of a count against its limit; None where one of them is not known."""
    if usage is None or usage["limit"] is None:
        return None
    used, limit = usage["used"], usage["limit"]
    low, high = (forecast["p10"], forecast["p90"]) if forecast else (used, used)
    low, high = max(low, used), max(high, used)
    end = max(limit, high, 1)
    cuts = [0, used, low, high, end]
    parts: list[Part] = []
    for kind, start, stop in zip(_MARKS, cuts, cuts[1:], strict=False):
        for first, last in _split(start, stop, limit):
            if first == limit and limit < end:
                parts.append(Part("limit", 0))
            width = _percent(last, end) - _percent(first, end)
            if width:
                parts.append(Part(kind, width))
    mark = " The mark is the limit." if limit < end else ""
    return Gauge(parts=tuple(_with_one_limit(parts)), forecast=_told(forecast, mark))


def _with_one_limit(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with the limit's mark where it comes first."""
    found: list[Part] = []
    for part in parts:
        if part.kind != "limit" or part not in found:
            found.append(part)
    return found


def _split(start: int, stop: int, at: int) -> list[tuple[int, int]]:
    return [(start, at), (at, stop)] if start < at < stop else [(start, stop)]


def _percent(n: int, end: int) -> int:
    """Return a share, at least one percent where there is anything at all."""
    return max(n * _FULL // end, 1 if n else 0)


def _told(forecast: Mapping[str, Any] | None, mark: str) -> str:
    if forecast is None:
        return mark.lstrip()
    low, likely, high = (rough(forecast[name]) for name in ("p10", "p50", "p90"))
    return f"By the end of the period probably {likely} ({low}\N{EN DASH}{high}).{mark}"


def chart_of(daily: Sequence[Mapping[str, Any]] | None) -> Chart | None:
    """Return the chart of a period's days, None where fewer than two are known."""
    rows = [
        (date.fromisoformat(each["date"]), each["used"], each["expected"]) for each in daily or ()
    ]
    known = [(day, used) for day, used, _ in rows if used is not None]
    if len(known) < 2 or not any(used for _, used in known):  # noqa: PLR2004 - one bar is no chart
        return None
    tallest = max(max(used or 0, expected or 0) for _, used, expected in rows)
    bars = tuple(_bar(row, tallest, _span(rows, n)) for n, row in enumerate(rows))
    ahead = [bar for bar in bars if bar.more]
    told = "; ".join(bar.text for bar in bars if bar.used is not None or bar.more)
    return Chart(
        bars=bars,
        caption=_caption(known, bars),
        label=f"Events per day. {told}.",
        foretold=bool(ahead),
    )


def _bar(row: tuple[date, int | None, int | None], tallest: int, span: int) -> DayBar:
    day, used, expected = row
    more = max((expected or 0) - (used or 0), 0)
    height = _height(used or 0, tallest)
    return DayBar(
        day=day,
        used=used,
        more=more,
        height=height,
        more_height=min(_height(more, tallest), _TALLEST - height),
        weekend=day.weekday() >= _SATURDAY,
        label=_short(day) if span >= _ROOM_FOR_LABEL else "",
        span=span,
    )


def _short(day: date) -> str:
    """Return a date that fits under four days: `1 Apr`."""
    return short_day(day)[: len(str(day.day)) + 4]


def _span(rows: Sequence[tuple[date, int | None, int | None]], n: int) -> int:
    """Return of how many days the week is that begins here, 0 where none begins."""
    day = rows[n][0]
    if n and day.weekday():
        return 0
    return min(7 - day.weekday(), len(rows) - n)


def _height(n: int, tallest: int) -> int:
    return max(round(n * _TALLEST / tallest), 1 if n else 0)


def _caption(known: Sequence[tuple[date, int]], bars: Sequence[DayBar]) -> str:
    day, most = max(known, key=lambda each: each[1])
    over = bars[-1].used is not None
    whole = [used for _, used in (known if over else known[:-1])]  # today is not over
    mean = sum(whole) / len(whole)
    ahead = [bar.more for bar in bars if bar.used is None and bar.more]
    to_come = (
        f"; about {rough(round(sum(ahead) / len(ahead)))} a day expected from now on"
        if ahead
        else ""
    )
    return (
        f"Most on {weekday(day)}: {number(most)}. On average {rough(round(mean))} a day{to_come}."
    )
