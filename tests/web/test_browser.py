"""The pages in a real browser: nothing to scroll sideways, no complaint, usable by everyone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from support.pages import DAY, NOW, Filler

pytestmark = pytest.mark.needs("chromium")

LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 320, "height": 640}},
}
PATHS = ["/", "/organizations/org_acme", "/alerts", "/deliveries", "/organizations/none"]
LONG = "A name that is much-too-long-" + "ForItHasNoPlaceToBreak" * 8


@dataclass
class Seen:
    """A browser window, and what it complained of."""

    page: Page
    complaints: list[str]


@pytest.fixture(scope="module")
def windows(browser: Browser) -> Iterator[dict[str, BrowserContext]]:
    contexts = {look: browser.new_context(**how) for look, how in LOOKS.items()}
    yield contexts
    for context in contexts.values():
        context.close()


@pytest.fixture
def look(windows, page):
    """Open a path of a page with much on it, in one of the looks."""
    filler = page.filler
    acme = filler.organization("acme", daily=[{**DAY, LONG: 40}] * 20, shown_as="Acme & <b>Söhne")
    filler.forecast(acme, p10=90_000, p50=110_000, p90=131_000)
    for n, severity in enumerate(("info", "warning", "critical")):
        pk = filler.alert(acme, id_=f"alert-{n}", severity=severity, title=f"{LONG} {n}")
        filler.deliveries(pk, [{"recipient": LONG, "state": "failed", "last_error": LONG}])
    filler.alert(acme, id_="old", ended=NOW)
    error = {"kind": "forbidden", "message": f"{LONG}: refused. {LONG}", "status": 401}
    over = filler.organization("over", daily=[{"pageview": 60_000}] * 2, error=error)
    new = filler.organization("new", shown_as=LONG)
    before = Filler(filler.database, NOW - timedelta(days=3))
    old = before.organization("old", daily=[DAY] * 17)
    before.forecast(old, p10=90_000, p50=95_000, p90=99_000)
    page.show(acme, over, new, old, filler.organization("free", daily=[DAY], limit=None))
    opened = []

    def look(name: str, path: str) -> Seen:
        window = windows[name].new_page()
        opened.append(window)
        seen = Seen(window, [])
        window.on("console", lambda message: seen.complaints.append(message.text))
        window.on("pageerror", lambda error: seen.complaints.append(str(error)))
        window.goto(page.server.url + path)
        return seen

    yield look
    for window in opened:
        window.close()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOOKS)
def test_a_page_fits_and_everyone_can_use_it(look, name, path):
    seen = look(name, path)
    width = seen.page.evaluate("document.documentElement.scrollWidth")
    found = Axe().run(seen.page)
    assert width <= LOOKS[name]["viewport"]["width"]
    assert found.violations_count == 0, found.generate_report()
    assert [each for each in seen.complaints if "404" not in each] == []


@pytest.mark.parametrize("place", [1, 16, 31])
def test_a_tip_opens_on_hover_and_on_focus_and_fits(look, place):
    window = look("phone", "/organizations/org_acme").page
    point = window.locator(".plot.tall .point").nth(place - 1)
    tip = point.locator(".tip")
    assert not tip.is_visible()
    point.hover()
    assert tip.is_visible()
    assert window.evaluate("document.documentElement.scrollWidth") <= 320
    window.mouse.move(0, 0)
    point.focus()
    assert tip.is_visible()


def test_the_first_tab_leads_to_the_content(look):
    window = look("light", "/").page
    window.keyboard.press("Tab")
    assert window.evaluate("document.activeElement.textContent") == "Skip to the content"
    window.keyboard.press("Enter")
    assert window.evaluate("document.activeElement.id") == "main"


def test_what_has_the_focus_is_seen(look):
    window = look("light", "/").page
    for _ in range(3):
        window.keyboard.press("Tab")
    style = "getComputedStyle(document.activeElement).outlineStyle"
    assert window.evaluate(style) == "solid"


def test_the_script_refreshes_the_page_until_it_is_stopped(windows, look, page):
    window = windows["light"].new_page()
    window.clock.install()
    window.goto(page.server.url + "/")
    watched = page.server.site.watches[0]
    page.show(watched)
    window.clock.run_for(61_000)
    expect(window.locator("tbody th")).to_have_count(1)
    window.get_by_role("button", name="Stop refreshing").click()
    page.show()
    window.clock.run_for(61_000)
    assert window.locator("tbody th").count() == 1
    window.close()


def test_a_click_in_the_content_does_not_stop_the_refresh(windows, look, page):
    window = windows["light"].new_page()
    window.clock.install()
    window.goto(page.server.url + "/organizations/org_acme")
    window.locator("summary").first.click()
    page.filler.alert(page.server.site.watches[0], id_="late", title="Something new")
    window.clock.run_for(61_000)
    expect(window.locator("#late")).to_have_count(1)
    assert window.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert window.locator("details").first.evaluate("each => each.open")
    window.close()


def test_a_lost_connection_is_told_and_the_page_goes_on_when_it_is_back(windows, look, page):
    window = windows["light"].new_page()
    window.clock.install()
    window.goto(page.server.url + "/")
    assert "Updated 0 s ago." in window.locator("#refresh").inner_text()
    window.context.set_offline(True)
    window.clock.run_for(61_000)
    expect(window.locator("#lost")).to_contain_text("Connection lost since")
    window.context.set_offline(False)
    window.clock.run_for(61_000)
    expect(window.locator("#lost")).to_be_hidden()
    window.close()


def test_a_page_with_charts_has_few_tab_stops_and_arrows_lead_through_a_chart(look):
    window = look("light", "/organizations/org_acme").page
    stops = 0
    window.keyboard.press("Tab")
    while window.evaluate("document.activeElement !== document.body") and stops < 60:
        stops += 1
        window.keyboard.press("Tab")
    assert stops <= 25
    points = window.locator(".plot.tall .point")
    points.first.focus()
    window.keyboard.press("ArrowRight")
    assert points.nth(1).evaluate("each => each === document.activeElement")


@pytest.mark.parametrize("width", [320, 390, 740, 768, 860, 900, 980, 1200])
@pytest.mark.parametrize("path", ["/", "/organizations/org_acme", "/alerts", "/deliveries"])
def test_nothing_overflows_at_any_width(look, width, path):
    window = look("light", path).page
    window.set_viewport_size({"width": width, "height": 800})
    assert window.evaluate("document.documentElement.scrollWidth") <= width


def test_without_the_script_the_page_is_whole(browser, page):
    page.show(page.filler.organization("acme", daily=[DAY] * 20))
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(page.server.url)
    assert window.get_by_role("link", name="acme").is_visible()
    assert window.locator("footer button").count() == 0
    context.close()


def test_sixty_organizations_are_leafed_through_without_the_script(browser, page):
    page.show(*(page.filler.organization(f"n{n:02}", daily=[DAY]) for n in range(60)))
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(f"{page.server.url}/?sort=name")
    assert not window.get_by_role("link", name="n59").is_visible()
    window.get_by_role("link", name="Next").click()
    assert window.get_by_role("link", name="n59").is_visible()
    window.get_by_role("link", name="Previous").click()
    assert window.get_by_role("link", name="n00").is_visible()
    context.close()


@pytest.mark.parametrize("name", LOOKS)
def test_a_page_of_many_fits_and_everyone_can_use_it(windows, page, name):
    page.show(*(page.filler.organization(f"n{n:02}", daily=[DAY]) for n in range(60)))
    window = windows[name].new_page()
    window.goto(f"{page.server.url}/?page=2")
    found = Axe().run(window)
    width = window.evaluate("document.documentElement.scrollWidth")
    window.close()
    assert found.violations_count == 0, found.generate_report()
    assert width <= LOOKS[name]["viewport"]["width"]
