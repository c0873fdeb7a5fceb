"""The charts of an organization: positions and labels for the templates that draw them.

Every number comes from the views.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from quota_watch.forecast.forecast import DayAhead
from quota_watch.lib.text import short_day
from quota_watch.model.period import ONE_DAY, each_day
from quota_watch.views.alerts import Alert, Step
from quota_watch.views.periods import DayRecord, PeriodSum
from quota_watch.views.status import Status

_MOST_TYPES, _REST = 5, "other types"
_DROPPED = ("", "events were dropped")
_DRAWN_FIRST = ("resolved", "info", "warning", "critical")
_STEPS, _MOST_TICKS = (1, 2, 2.5, 5, 10), 4

Place = tuple[float, float]
"""How many columns from the left, and the value there."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line of a chart, and its value."""

    y: float
    value: int


@dataclass(frozen=True, slots=True)
class Scale:
    """`columns` of equal width, and 0 to `top` from the bottom to the top."""

    columns: int
    top: float

    def x(self, place: float) -> float:
        """Place a number of columns, in percent from the left."""
        return round(100 * place / self.columns, 2)

    def y(self, value: float) -> float:
        """Place a value, in percent from the top; what is beyond the chart is put at its edge."""
        return round(100 - 100 * min(max(value, 0) / self.top, 1), 2)

    def ticks(self) -> list[Tick]:
        """Choose up to four round values within the chart, without zero."""
        least = self.top / _MOST_TICKS
        size = 10 ** math.floor(math.log10(least))
        step = max(next(size * each for each in _STEPS if size * each >= least * 0.999), 1)
        values = [step * n for n in range(1, int(self.top / step) + 1)]
        return [Tick(self.y(value), round(value)) for value in values]

    def line(self, points: Iterable[Place]) -> str:
        """Draw an SVG path through (place, value) points, in a chart of 100 by 100."""
        return "M" + "L".join(f"{self.x(place)} {self.y(value)}" for place, value in points)

    def area(self, upper: Sequence[Place], lower: Sequence[Place]) -> str:
        """Draw a closed SVG path between two lines."""
        return self.line([*upper, *reversed(lower)]) + "Z"


def scale_of(columns: int, *values: float | None) -> Scale:
    """Make a scale that holds all values, with a little room above."""
    known = [value for value in values if value is not None]
    return Scale(columns, max([*known, 1]) * 1.08)


def third(place: float, columns: int) -> str:
    """Name the third of a chart that a place is in: `left`, `middle` or `right`."""
    return ("left", "middle", "right")[min(int(3 * place / columns), 2)]


@dataclass(frozen=True, slots=True)
class Point:
    """The tip of one column: a heading, and names with values."""

    heading: str
    rows: Sequence[tuple[str, str]]
    third: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A step of an alert on the time line."""

    x: float
    severity: str
    title: str
    alert_id: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a column; `kind` is its class."""

    x: float
    width: float
    y: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Cumulative usage against the limit."""

    ticks: Sequence[Tick]
    line: str
    area: str
    now_x: float | None
    limit_y: float | None
    band: str | None
    likely: str | None
    lost: str | None
    lost_total: int | None
    crossing: tuple[float, float, float] | None
    marks: Sequence[Mark]
    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Columns of bars; `kinds` are classes and names for the legend."""

    ticks: Sequence[Tick]
    bars: Sequence[Bar]
    points: Sequence[Point]
    kinds: Sequence[tuple[str, str]] = ()
    limit_y: float | None = None


def course_chart(
    drawn: Status, days: Sequence[DayRecord], expected: Sequence[DayAhead], alerts: Sequence[Alert]
) -> Course:
    """Draw the current period: the total so far, what is to come, the limit and the alerts.

    Where events past the limit are dropped the lines end there, and what lies above is lost.
    """
    start = drawn.period.start
    so_far = _so_far(days, start, drawn.last_ok)
    last_x, last = so_far[-1]
    scale = scale_of(drawn.period.days, drawn.limit, last, *(each.p90 for each in expected))
    ahead = [
        ((each.date - start).days + 1.0, each)
        for each in expected
        if (each.date - start).days + 1 > last_x
    ]
    most = max(drawn.limit, last) if drawn.limit and drawn.drops else math.inf
    lows, likely, highs = (
        [(last_x, last), *((place, max(getattr(each, name), last)) for place, each in ahead)]
        for name in ("p10", "p50", "p90")
    )
    is_lost = bool(ahead) and likely[-1][1] > most
    steps = [step for alert in alerts for step in alert.transitions]
    return Course(
        ticks=scale.ticks(),
        line=scale.line(so_far),
        area=scale.area(so_far, [(0, 0), (last_x, 0)]),
        now_x=scale.x(last_x) if days else None,
        limit_y=None if drawn.limit is None else scale.y(drawn.limit),
        band=scale.area(_cut(highs, most), _cut(lows, most)) if ahead else None,
        likely=scale.line(_cut(likely, most)) if ahead else None,
        lost=scale.area(likely, _cut(likely, most)) if is_lost else None,
        lost_total=round(likely[-1][1] - most) if is_lost else None,
        crossing=_crossing(drawn, start, scale),
        marks=_marks(steps, drawn.period.starts_at, scale),
        points=_course_points(drawn, days, expected, steps),
    )


def daily_chart(
    drawn: Status, days: Sequence[DayRecord], path: Mapping[date, float], *, today: date
) -> Columns:
    """Draw the days of the period by type, and what is expected of those to come.

    A day that is over and was not seen is hatched; one whose events would be dropped is crossed.
    """
    period, by_date = drawn.period, {day.date: day for day in days}
    whole = [n + (by_date[day].used if day in by_date else 0) for day, n in path.items()]
    scale = scale_of(period.days, *(day.used for day in days), *whole)
    full = drawn.reached_on if drawn.drops else None
    largest = _largest_types(days)
    stacks = {day.date: _stack(day, largest) for day in days}
    bars, points = [], []
    for place, date_ in enumerate(each_day(period.start, period.last_day)):
        day, expected = by_date.get(date_), path.get(date_)
        is_lost = full is not None and date_ > full
        if expected is not None:
            kind = "lost" if is_lost else "expected"
            bars.append(_bar(scale, place, day.used if day else 0, expected, kind))
        elif day is None and date_ < today:
            bars.append(_bar(scale, place, 0, scale.top, "unseen"))
        stack, below = stacks.get(date_, []), 0
        for kind, _, n in stack:
            bars.append(_bar(scale, place, below, n, kind))
            below += n
        if day and day.capped:
            bars.append(_bar(scale, place, 0, scale.top, "capped"))
        rows = _day_rows(day, stack, expected, is_lost=is_lost)
        points.append(_point(date_, place, period.days, rows))
    kinds = sorted({(kind, name) for stack in stacks.values() for kind, name, _ in stack})
    return Columns(ticks=scale.ticks(), bars=bars, points=points, kinds=kinds)


def periods_chart(drawn: Status, periods: Sequence[PeriodSum]) -> Columns:
    """Draw the last periods against the limit of today; the current one with its forecast."""
    expected = drawn.forecast.p50 if drawn.forecast else None
    scale = scale_of(len(periods), drawn.limit, expected, *(each.used for each in periods))
    bars: list[Bar] = []
    points = []
    for place, each in enumerate(periods):
        is_now = place == len(periods) - 1
        first = each.period.start
        rows = [("counted", "not kept" if each.used is None else f"{each.used:,}")]
        if each.used is None and bars:  # not before the first one that is kept
            bars.append(_bar(scale, place, 0, scale.top, "unseen", gap=0.2))
        if is_now and expected is not None:
            bars.append(_bar(scale, place, 0, expected, "expected", gap=0.2))
            rows.append(("expected", f"{expected:,}"))
        if each.used:
            kind = "current" if is_now else "past"
            bars.append(_bar(scale, place, 0, each.used, kind, gap=0.2))
        if each.capped:
            rows.append(_DROPPED)
        name = short_day(first).split()[1]
        points.append(Point(f"{name} {first.year}", rows, third(place, len(periods)), name[:3]))
    limit = None if drawn.limit is None else scale.y(drawn.limit)
    return Columns(ticks=scale.ticks(), bars=bars, points=points, limit_y=limit)


def _cut(points: Sequence[Place], most: float) -> list[Place]:
    """Let a rising line go on at a height, from where it reaches that."""
    cut: list[Place] = []
    for place, value in points:
        if cut and value > most > cut[-1][1]:
            before, low = cut[-1]
            cut.append((before + (place - before) * (most - low) / (value - low), most))
        cut.append((place, min(value, most)))
    return cut


def _so_far(
    days: Sequence[DayRecord], start: date, seen_at: datetime | None
) -> list[tuple[float, float]]:
    """Sum up to the start, to the end of each whole day, and to the last good poll."""
    points, total = [(0.0, 0.0)], 0
    for day in days:
        total += day.used
        place = (day.date - start).days + 1.0
        if seen_at is not None and seen_at.date() == day.date:
            midnight = datetime.combine(day.date, time.min, UTC)
            place += max((seen_at - midnight) / ONE_DAY, 0.05) - 1
        points.append((place, float(total)))
    return points


def _crossing(drawn: Status, start: date, scale: Scale) -> tuple[float, float, float] | None:
    """Place the early, likely and late crossing of the limit; None where it is not crossed."""
    likely = drawn.reached_on
    if likely is None:
        return None
    early = late = likely
    if drawn.crossed_on is None and drawn.forecast and drawn.forecast.crosses_on:
        crossing = drawn.forecast.crosses_on
        early, late = crossing.early or likely, crossing.late or drawn.period.last_day
    early_x, likely_x, late_x = ((day - start).days for day in (early, likely, late))
    return scale.x(early_x), scale.x(likely_x + 0.5), scale.x(late_x + 1)


def _marks(steps: Iterable[Step], midnight: datetime, scale: Scale) -> list[Mark]:
    marks = []
    for step in steps:
        place = (step.at - midnight) / ONE_DAY
        if 0 <= place <= scale.columns:
            kind = "resolved" if step.type == "alert.resolved" else step.severity
            marks.append(Mark(scale.x(place), kind, step.title, step.alert_id))
    return sorted(marks, key=lambda mark: _DRAWN_FIRST.index(mark.severity))


def _course_points(
    drawn: Status, days: Sequence[DayRecord], expected: Sequence[DayAhead], steps: Sequence[Step]
) -> list[Point]:
    period = drawn.period
    most = drawn.limit if drawn.limit and drawn.drops else math.inf
    counted = {day.date: day.used for day in days}
    to_come = {each.date: each for each in expected}
    points, total = [], 0
    for place, day in enumerate(each_day(period.start, period.last_day)):
        rows: list[tuple[str, str]] = []
        if day in counted:
            total += counted[day]
            rows += [("in all", f"{total:,}"), ("that day", f"{counted[day]:,}")]
        if day in to_come:
            rows += _expected_rows(to_come[day], most)
        rows += [(f"{step.at:%H:%M}", step.title) for step in steps if step.at.date() == day]
        points.append(_point(day, place, period.days, rows))
    return points


def _point(day: date, place: int, length: int, rows: Sequence[tuple[str, str]]) -> Point:
    label = str(place + 1) if place % 7 == 0 else ""
    return Point(short_day(day), rows or [("", "not seen")], third(place, length), label)


def _expected_rows(each: DayAhead, most: float) -> list[tuple[str, str]]:
    """Label the total expected by the end of a day; what is above `most` would be lost."""
    low, likely, high = (min(value, most) for value in (each.p10, each.p50, each.p90))
    rows = [("expected", f"{likely:,.0f}")]
    if low < high:
        rows.append(("80 % range", f"{low:,.0f} – {high:,.0f}"))  # noqa: RUF001  a range
    if each.p50 > most:
        rows.append(("would be lost", f"{each.p50 - most:,.0f}"))
    return rows


def _largest_types(days: Iterable[DayRecord]) -> list[str]:
    """Choose the types that get a class of their own; the others share one."""
    totals = Counter[str]()
    for day in days:
        totals.update(day.by_type)
    return [type_ for type_, n in totals.most_common(_MOST_TYPES) if n]


def _stack(day: DayRecord, largest: Sequence[str]) -> list[tuple[str, str, int]]:
    """List class, name and count of each piece of a day, the largest type at the bottom."""
    counts = [day.by_type.get(name, 0) for name in largest]
    pieces = zip((*largest, _REST), (*counts, day.used - sum(counts)), strict=True)
    return [(f"type-{place}", name, n) for place, (name, n) in enumerate(pieces) if n]


def _day_rows(
    day: DayRecord | None,
    stack: Sequence[tuple[str, str, int]],
    expected: float | None,
    *,
    is_lost: bool,
) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if day:
        rows += [("counted", f"{day.used:,}"), *((name, f"{n:,}") for _, name, n in stack)]
        rows += [_DROPPED] if day.capped else []
    if expected is not None:
        name = "would be lost" if is_lost else "to come" if day else "expected"
        rows.append((name, f"{expected:,.0f}"))
    return rows


def _bar(
    scale: Scale, place: int, below: float, value: float, kind: str, *, gap: float = 0.12
) -> Bar:
    return Bar(
        scale.x(place + gap),
        scale.x(1 - 2 * gap),
        scale.y(below + value),
        round(scale.y(below) - scale.y(below + value), 2),
        kind,
    )
