"""Mails in a real browser: light, dark, on a phone, and with what Gmail takes away."""

import re
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from quota_watch.messages.render import Renderer
from support.domain import NOON
from support.samples import sample_facts
from support.telling import BIG

SHAPES = sample_facts(now=NOON)
SHOWN = ("will_exceed", "dropping", "closed_over", "never_seen", "report_weekly", "report_monthly")
_CONTRAST = {"runOnly": ["color-contrast"]}


pytestmark = pytest.mark.needs("chromium")


@pytest.fixture(scope="module")
def window(browser: Browser) -> Page:
    return browser.new_page()


def html(shape: str, *, styles: bool = True) -> str:
    whole = Renderer().email(SHAPES[shape], channel="ops").html
    return whole if styles else re.sub("<style>.*?</style>", "", whole, flags=re.DOTALL)


def show(window: Page, content: str, *, width: int = 320, scheme: str = "light") -> None:
    window.set_viewport_size({"width": width, "height": 640})
    window.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    window.set_content(content)


@pytest.mark.parametrize("styles", [True, False])
@pytest.mark.parametrize("shape", SHOWN)
def test_nothing_is_wider_than_a_phone(window: Page, shape: str, styles: bool) -> None:
    show(window, html(shape, styles=styles))
    assert window.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shape", SHOWN)
def test_all_text_stands_out(window: Page, shape: str, scheme: str) -> None:
    show(window, html(shape), width=700, scheme=scheme)
    found = Axe().run(window, options=_CONTRAST)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("styles", [True, False])
def test_the_bars_are_as_high_as_the_days(window: Page, styles: bool) -> None:
    show(window, html("spike", styles=styles), width=700)
    heights = window.evaluate(
        """[...document.querySelector('[role=img]').rows[0].cells].map(
            cell => cell.firstElementChild ? cell.firstElementChild.offsetHeight : 0)"""
    )
    assert len(heights) == 31
    assert max(heights) == heights[7] == 64
    assert heights[0] < heights[1]


@pytest.mark.parametrize(
    "name", ["Acme", "A company of a long name, which fills sixty characters, Ltd."]
)
def test_what_to_do_stands_within_the_first_250_pixels_of_a_phone(window: Page, name: str) -> None:
    for shape, facts in sample_facts(now=NOON, of=replace(BIG, name=name)).items():
        show(window, Renderer().email(facts, channel="ops").html)
        top = window.evaluate("document.querySelector('.steps')?.getBoundingClientRect().top ?? 0")
        assert top <= 250, shape


def test_the_mark_of_the_limit_stands_where_the_limit_is(window: Page) -> None:
    show(window, html("dropping"), width=700)
    mark, bar = window.evaluate(
        """(() => { const mark = document.querySelector('.limit');
            const of = mark.closest('table').getBoundingClientRect();
            const at = mark.getBoundingClientRect();
            return [[at.left - of.left, at.width], of.width]; })()"""
    )
    assert mark[1] >= 2
    assert mark[0] / bar == pytest.approx(100_000 / 116_310, abs=0.02)
