"""The colours of the one style sheet: readable on every ground, in light and in dark."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from quota_watch import web

CSS = (Path(web.__file__).parent / "static" / "style.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
)
SCHEMES = {"light": LIGHT, "dark": {**LIGHT, **DARK}}
TEXTS = ["ink", "soft", "link", "critical", "warning", "info", "ok", "unknown"]
SHAPES = ["used", "limit", "focus", "strong-line", "critical", "type-0", "type-2", "type-4"]


def luminance(colour: str) -> float:
    parts = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ground", ["ground", "paper"])
@pytest.mark.parametrize(("names", "least"), [(TEXTS, 4.5), (SHAPES, 3.0)])
def test_what_is_read_or_looked_at_stands_out(scheme, ground, names, least):
    colours = SCHEMES[scheme]
    found = {name: contrast(colours[name], colours[ground]) for name in names}
    assert {name: ratio for name, ratio in found.items() if ratio < least} == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_neighbours_in_a_stack_differ_in_lightness_too(scheme):
    types = [SCHEMES[scheme][f"type-{n}"] for n in range(5)]
    ratios = [contrast(one, other) for one, other in pairwise(types)]
    assert min(ratios) >= 1.7


def test_both_schemes_say_the_same_colours():
    assert set(LIGHT) == set(DARK)


def test_nothing_is_loaded_from_anywhere():
    assert not re.search(r"@import|https?:|url\((?!#)", CSS)


def test_every_colour_is_used():
    assert [name for name in LIGHT if CSS.count(f"var(--{name})") == 0] == []
