"""Draws the plots of docs/forecast.md.

    python -m benchmarks.forecast.plots docs MEASURES.json TITLE=RESULTS.json,RESULTS.json… …

`MEASURES.json` is what `measures` wrote of real series. A further argument is one panel: its
title and the results (`--json-out` of the benchmark) of the methods to compare. The example needs
no data: it is made up here, the same each time.
"""

import json
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmarks.forecast.series import CHECK_DAYS, Question
from quota_watch.model.period import ONE_DAY, each_day, month_of

NAMES = {
    "quota-watch": "quota-watch",
    "linear": "straight line",
    "profile28": "same weekday, mean of 28 days",
}
COLOURS = ("#1f6feb", "#8a8f98", "#d97706")
Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A plot's frame, and what is drawn in it so far."""

    left: float
    title: str
    width: float = 300
    height: float = 200
    most: Point
    drawn: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> str:
        """Return a point of the data as one of the picture."""
        across = self.left + self.width * x / self.most[0]
        return f"{across:.1f},{40 + self.height * (1 - y / self.most[1]):.1f}"

    def line(self, points: Sequence[Point], colour: str, *, dashes: str = "") -> None:
        """Draw a line through the points."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.drawn.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dashed} '
            f'points="{" ".join(self.at(*point) for point in points)}"/>'
        )

    def band(self, low: Sequence[Point], high: Sequence[Point], colour: str) -> None:
        """Fill what is between two lines."""
        points = " ".join(self.at(*point) for point in [*low, *reversed(high)])
        self.drawn.append(f'<polygon fill="{colour}" fill-opacity="0.2" points="{points}"/>')

    def text(
        self, point: Point, text: str, *, colour: str = "#57606a", anchor: str = "end"
    ) -> None:
        """Write beside a point."""
        x, y = self.at(*point).split(",")
        self.drawn.append(
            f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{text}</text>'
        )

    def axes(self, across: Sequence[int], up: Sequence[int], unit: str = "") -> None:
        """Draw the scales."""
        for y in up:
            self.line([(0, y), (self.most[0], y)], "#d0d7de", dashes="2 4")
            self.text((-self.most[0] / 60, y - self.most[1] / 60), f"{y:,}{unit}")
        for x in across:
            self.text((x, -self.most[1] / 12), str(x), anchor="middle")
        self.text((0, self.most[1] * 1.07), self.title, colour="#1f2328", anchor="start")


def picture(panels: Sequence[Panel], legend: Sequence[tuple[str, str]]) -> str:
    """Return an SVG of panels side by side, with the legend below."""
    width = panels[-1].left + panels[-1].width + 30
    rows = [line for panel in panels for line in panel.drawn]
    for n, (name, colour) in enumerate(legend):
        rows.append(f'<text x="{70 + 220 * n}" y="285" fill="{colour}">{name}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} 300" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join(rows)
        + "\n</svg>\n"
    )


def error_panels(arguments: Sequence[str]) -> Iterator[Panel]:
    """Yield a panel per argument: the error of the total by day of the month."""
    for n, argument in enumerate(arguments):
        title, _, names = argument.partition("=")
        panel = Panel(left=60 + 370 * n, title=title, most=(28, 35))
        panel.axes(CHECK_DAYS, (0, 10, 20, 30), " %")
        for name, colour in zip(names.split(","), COLOURS, strict=False):
            results = json.loads(Path(name).read_text())
            warm = next(each for each in results if each["variant"] == "warm")
            panel.line([(day, warm[f"d{day}"]) for day in CHECK_DAYS], colour)
        yield panel


def date_panel(measures: Mapping[str, Any]) -> Panel:
    """Return how far off the likely day was, by how many days ahead it was asked for."""
    panel = Panel(left=60, title="Days off, by days until the limit is reached", most=(22, 4))
    panel.axes((5, 10, 15, 20), (0, 1, 2, 3))
    for figures, colour in zip(measures.values(), COLOURS, strict=False):
        by_lead = figures["date_by_lead"]
        panel.line([(int(lead), days) for lead, days in by_lead.items()], colour)
    return panel


def odds_panel(measures: Mapping[str, Any]) -> Panel:
    """Return what share came true, by the chance given."""
    panel = Panel(left=430, title="Came true, by the chance given", most=(100, 100))
    panel.axes((0, 25, 50, 75, 100), (0, 50, 100), " %")
    panel.line([(0, 0), (100, 100)], "#d0d7de")
    for figures, colour in zip(measures.values(), COLOURS, strict=False):
        bins = figures["reliability"]
        panel.line([(100 * told, 100 * came) for told, came, _ in bins], colour)
    return panel


def made_up() -> Question:
    """Return a site that grows by 3 % a week, with quiet weekends, at the 10th of a month."""
    chance = random.Random(7)  # noqa: S311 -- made-up traffic, nothing secret
    period = month_of(date(2026, 3, 10))
    counts = {}
    for n, day in enumerate(each_day(date(2025, 12, 1), period.last_day)):
        weekend = 0.5 if day.weekday() > 4 else 1.0  # noqa: PLR2004 -- Saturday is 5
        counts[day] = round(3000 * weekend * 1.03 ** (n / 7) * math.exp(chance.gauss(0, 0.12)))
    actual = sum(count for day, count in counts.items() if day in period)
    return Question(counts, period, date(2026, 3, 10), actual)


def example_panel() -> Panel:
    """Return the running total of the made-up month: counted, forecast, and what came."""
    question = made_up()
    seen, period = question.answer(), question.period
    days = list(each_day(period.start, period.last_day))
    came = list(accumulate((question.history[day] for day in days), initial=0))
    known = (question.as_of + ONE_DAY - period.start).days
    ahead = list(accumulate(seen.path, initial=0.0))
    panel = Panel(left=70, title="A month, forecast on its 10th day", width=640, most=(31, 160_000))
    panel.axes((1, 5, 10, 15, 20, 25, 31), (0, 50_000, 100_000, 150_000))

    def fan(total: int) -> list[Point]:
        stretch = (total - seen.used) / ahead[-1]
        return [(known + n, seen.used + part * stretch) for n, part in enumerate(ahead)]

    panel.band(fan(seen.p10), fan(seen.p90), COLOURS[0])
    panel.line(fan(seen.p50), COLOURS[0])
    panel.line([(n, total) for n, total in enumerate(came)][known:], COLOURS[2], dashes="4 4")
    panel.line([(n, total) for n, total in enumerate(came)][: known + 1], "#1f2328")
    return panel


def main() -> None:
    """Write the plots."""
    folder, measured, *results = sys.argv[1:]
    measures = json.loads(Path(measured).read_text())
    users = picture(
        [date_panel(measures), odds_panel(measures)],
        list(zip(measures, COLOURS, strict=False)),
    )
    (Path(folder) / "forecast-dates.svg").write_text(users)
    methods = [Path(name).read_text() for name in results[0].partition("=")[2].split(",")]
    names = [NAMES[json.loads(text)[0]["method"]] for text in methods]
    errors = picture(list(error_panels(results)), list(zip(names, COLOURS, strict=False)))
    (Path(folder) / "forecast-error.svg").write_text(errors)
    legend = [
        ("counted", "#1f2328"),
        ("forecast, with its 80 % band", COLOURS[0]),
        ("what came", COLOURS[2]),
    ]
    (Path(folder) / "forecast-example.svg").write_text(picture([example_panel()], legend))


if __name__ == "__main__":
    main()
