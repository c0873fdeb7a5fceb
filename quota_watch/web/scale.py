"""From events and days to places in a picture, in percent of its width and height."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_STEPS = (1, 2, 2.5, 5, 10)
_MOST_TICKS = 4

Place = tuple[float, float]
"""How many columns from the left, and the value there."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across a picture, and what it stands for."""

    y: float
    value: int


@dataclass(frozen=True, slots=True)
class Scale:
    """`columns` of equal width, and 0 to `top` from the bottom to the top."""

    columns: int
    top: float

    def x(self, place: float) -> float:
        """Return where a place of so many columns lies, from the left."""
        return round(100 * place / self.columns, 2)

    def y(self, value: float) -> float:
        """Return where a value lies, from the top; what is beyond the picture is at its edge."""
        return round(100 - 100 * min(max(value, 0) / self.top, 1), 2)

    def height(self, value: float) -> float:
        """Return how high a value is."""
        return round(100 - self.y(value), 2)

    def ticks(self) -> list[Tick]:
        """Return up to four round values within the picture, without zero."""
        rough = self.top / _MOST_TICKS
        size = 10 ** math.floor(math.log10(rough))
        step = next(size * each for each in _STEPS if size * each >= rough * 0.999)
        step = max(step, 1)
        values = [step * n for n in range(1, int(self.top / step) + 1)]
        return [Tick(self.y(value), round(value)) for value in values]

    def line(self, points: Iterable[Place]) -> str:
        """Return an SVG path through (place, value) points, in a picture of 100 by 100."""
        return "M" + "L".join(f"{self.x(place)} {self.y(value)}" for place, value in points)

    def area(self, upper: Sequence[Place], lower: Sequence[Place]) -> str:
        """Return a closed SVG path between two lines."""
        return self.line([*upper, *reversed(lower)]) + "Z"


def scale_of(columns: int, *values: float | None) -> Scale:
    """Return a scale that holds all values, with a little room above."""
    known = [value for value in values if value is not None]
    return Scale(columns, max([*known, 1]) * 1.08)


def third(place: float, columns: int) -> str:
    """Tell in which third of a picture a place is: `left`, `middle` or `right`."""
    return ("left", "middle", "right")[min(int(3 * place / columns), 2)]


def sparkline(values: Sequence[int | None]) -> str | None:
    """Return days as bars in one SVG path, in a picture of as many columns by 20."""
    top = max((value for value in values if value), default=None)
    if top is None:
        return None
    heights = [(n, -(-20 * value // top)) for n, value in enumerate(values) if value]
    return "".join([f"M{n}.15 20v-{height}h.7v{height}z" for n, height in heights])
