"""Pictures of numbers that need no image: the bar of a limit, and the days of a period. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from statistics import fmean

from quota_watch.forecast.forecast import ForecastFacts
from quota_watch.lib.text import Estimate, aside, number, rough, share, short_day, weekday
from quota_watch.messages.facts import DayFacts, Facts
from quota_watch.model.period import percent

_TALLEST = 64
_MARKS = {"used": "#", "likely": "=", "range": "-", "lost": "x", "free": ".", "limit": "|"}
_SATURDAY = 5
_DAY_CHARACTERS = 40
_ROOM_FOR_LABEL = 4
_FULL = 100


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a bar.

    It is `used`, `likely`, `range`, `lost` (above a limit past which events are dropped), `free`,
    or `limit`, which has no width.
    """

    kind: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Usage, what is likely to come, its range, and where the limit is.

    The widths are percent and add up to 100. `caption` says it in words.
    """

    parts: tuple[Stretch, ...]
    caption: str

    def text(self, width: int = 40) -> str:
        """Draw it in characters: `[####==|xx-]`."""
        drawn, start = "", 0
        for part in self.parts:
            end = start + part.width
            marks = end * width // _FULL - start * width // _FULL
            drawn += _MARKS[part.kind] * (1 if part.kind == "limit" else marks)
            start = end
        return f"[{drawn}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """One day: what it had and what more is expected, with their heights in pixels.

    `lost`: what is expected will be dropped.
    """

    day: date
    used: int | None
    more: int
    height: int
    more_height: int
    lost: bool
    label: str
    span: int

    @property
    def weekend(self) -> bool:
        """Whether it is a Saturday or Sunday."""
        return self.day.weekday() >= _SATURDAY

    @property
    def text(self) -> str:
        """The day in words."""
        return f"{weekday(self.day)}: {self._numbers}"

    @property
    def line(self) -> str:
        """The day as a line of a chart of characters."""
        marks = "#" * (self.height * _DAY_CHARACTERS // _TALLEST)
        marks += ("x" if self.lost else "=") * (self.more_height * _DAY_CHARACTERS // _TALLEST)
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


def gauge_of(
    used: int | None,
    limit: int | None,
    forecast: ForecastFacts | None,
    *,
    drops: bool | None = None,
    lost: Estimate | None = None,
) -> Gauge | None:
    """Draw a count against its limit; None where one of them is not known.

    Where events are dropped the bar is filled up to the limit, and what lies above it is lost.
    """
    if used is None or limit is None:
        return None
    dropped = 0 if lost is None else lost.likely
    likely = dropped + max(used, 0 if forecast is None else forecast.p50)
    high = max(likely, 0 if forecast is None else dropped + forecast.p90)
    end = max(limit, high, 1)
    kinds = ((used, "used"), (likely, "likely"), (high, "range"), (end, "free"))
    parts: list[Stretch] = []
    for start, stop in pairwise(sorted({0, used, likely, high, limit, end})):
        if start == limit:
            parts.append(Stretch("limit", 0))
        kind = next(kind for last, kind in kinds if stop <= last)
        is_lost = drops and kind == "likely" and start >= limit
        width = _percent(stop, end) - _percent(start, end)
        if width > 0:
            parts.append(Stretch("lost" if is_lost else kind, width))
    return Gauge(parts=tuple(parts), caption=_caption(used, limit, forecast, likely, drops=drops))


def _percent(n: int, end: int) -> int:
    """Write a share in whole percent, at least one where there is anything at all."""
    return max(n * _FULL // end, 1 if n else 0)


def _caption(
    used: int,
    limit: int,
    forecast: ForecastFacts | None,
    likely: int,
    *,
    drops: bool | None,
) -> str:
    part = percent(used, limit)
    parts = [f"{share(part)} used" if part is not None else f"{number(used)} used"]
    if forecast is not None and used <= limit:
        bounds = aside(forecast.p10, forecast.p90)
        parts.append(f"about {rough(forecast.p50)} expected{bounds}")
    if drops and likely > max(limit, used):
        when = "would be lost" if used <= limit else "lost by the end" if forecast else "lost"
        parts.append(f"about {rough(likely - max(limit, used))} {when}")
    return " · ".join(parts)


def chart_of(facts: Facts) -> Chart | None:
    """Draw the days of a period, None where fewer than two are known."""
    rows = facts.daily or ()
    known = [(row.date, row.used) for row in rows if row.used is not None]
    if len(known) < 2 or not any(used for _, used in known):  # noqa: PLR2004 - one bar is no chart
        return None
    bars = bars_of(rows, tallest=_TALLEST, full=_full_from(facts))
    text = "; ".join(bar.text for bar in bars if bar.used is not None or bar.more)
    return Chart(bars=bars, caption=_summary(known, bars), label=f"Events per day. {text}.")


def bars_of(
    rows: Sequence[DayFacts], *, tallest: int, full: date | None = None
) -> tuple[DayBar, ...]:
    """Draw days, the highest of so many pixels; what is expected after `full` will be dropped."""
    most = max((max(row.used or 0, row.expected or 0) for row in rows), default=0)
    bars = []
    for n, row in enumerate(rows):
        day, used = row.date, row.used or 0
        more = max((row.expected or 0) - used, 0)
        height = _height(used, most, tallest)
        begins_week = n == 0 or not day.weekday()
        span = min(7 - day.weekday(), len(rows) - n) if begins_week else 0
        fits = len(str(day.day)) + 4  # `1 Apr`, under four days
        bars.append(
            DayBar(
                day=day,
                used=row.used,
                more=more,
                height=height,
                more_height=min(_height(more, most, tallest), tallest - height),
                lost=full is not None and day > full,
                label=short_day(day)[:fits] if span >= _ROOM_FOR_LABEL else "",
                span=span,
            )
        )
    return tuple(bars)


def _height(n: int, most: int, tallest: int) -> int:
    return max(round(n * tallest / most), 1) if n else 0


def _full_from(facts: Facts) -> date | None:
    """Say after which day what is expected will be dropped."""
    if facts.organization is None or not facts.organization.drops:
        return None
    if facts.alert.dropping:
        return facts.timestamp.date()
    crossing = facts.forecast.crosses_on if facts.forecast else None
    return None if crossing is None else crossing.likely


def _summary(known: Sequence[tuple[date, int]], bars: Sequence[DayBar]) -> str:
    day, most = max(known, key=lambda each: each[1])
    is_over = bars[-1].used is not None
    mean = fmean(used for _, used in (known if is_over else known[:-1]))  # today is not over
    expected = [bar.more for bar in bars if bar.used is None and bar.more]
    to_come = f"; about {rough(round(fmean(expected)))} a day expected" if expected else ""
    lost = "; hatched: would be lost" if any(bar.lost and bar.more for bar in bars) else ""
    return (
        f"Most on {weekday(day)}: {number(most)}. {rough(round(mean))} a day on average"
        f"{to_come}{lost}."
    )
