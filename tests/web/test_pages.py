from dataclasses import replace
from datetime import date, timedelta

import pytest

from support.pages import DAY, NOW, SITE, running_page

PATHS = ["/", "/organizations/org_acme", "/alerts", "/deliveries"]
HOSTILE = "<script>alert(1)</script>\" onload='x' & \u202eevil"


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_there_though_nothing_is_watched(page, path):
    assert page.get(path).status_code == (404 if "org_acme" in path else 200)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_shows_the_organization(acme, path):
    answer = acme.get(path)
    assert answer.status_code == 200
    assert "acme" in answer.text.lower()


def test_the_overview_shows_usage_and_limit_and_when_it_was_seen(acme):
    text = acme.get("/").text
    assert "74.0 %" in text
    assert "74k of 100k" in text
    assert "4 min ago" in text


def test_the_most_urgent_comes_first(page):
    calm = page.filler.organization("calm", daily=[DAY])
    busy = page.filler.organization("busy", daily=[DAY] * 20)
    page.filler.alert(busy, severity="critical", level=100)
    page.show(calm, busy)
    text = page.get("/").text
    assert text.index(">busy<") < text.index(">calm<")


def test_what_was_never_polled_is_unknown_and_not_zero(page):
    page.show(page.filler.organization("new"))
    text = page.get("/").text
    assert "Not polled yet." in text
    assert "0.0 %" not in text
    assert page.get("/organizations/org_new").status_code == 200


def test_a_blind_organization_says_why_and_what_to_do(page):
    message = "app.rybbit.io: the key was refused. Make a new one."
    error = {"kind": "unauthorized", "message": message, "status": 401}
    watched = page.filler.organization("gone", daily=[DAY], error=error)
    page.filler.alert(watched, rule="blind", level=None)
    page.show(watched)
    for path in ("/", "/organizations/org_gone"):
        text = page.get(path).text
        assert "Blind." in text
        assert "the key was refused. Make a new one." in text


def test_an_organization_without_a_limit_has_a_page(page):
    page.show(page.filler.organization("free", daily=[DAY], limit=None))
    assert "No limit is known" in page.get("/").text
    assert "No limit is known" in page.get("/organizations/org_free").text


def test_over_the_limit_events_are_being_dropped(page):
    page.show(page.filler.organization("over", daily=[{"pageview": 10_001}] * 10))
    assert "dropping events" in page.get("/").text
    assert "Events are being dropped" in page.get("/organizations/org_over").text


@pytest.mark.parametrize("path", PATHS)
def test_a_hostile_name_is_only_text(page, path):
    watched = page.filler.organization("acme", shown_as=HOSTILE, daily=[{HOSTILE: 5, **DAY}])
    pk = page.filler.alert(watched, title=HOSTILE)
    page.filler.deliveries(pk, [{"recipient": HOSTILE, "state": "failed", "last_error": HOSTILE}])
    page.show(watched)
    text = page.get(path).text
    assert "<script>alert" not in text
    assert "onload='x'" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;" in text


def test_the_days_stand_in_a_table_too(acme):
    text = acme.get("/organizations/org_acme").text
    assert '<th scope="row">20 March 2026</th><td class="n">3,700' in text


def test_a_forecast_is_drawn_as_a_band(page):
    watched = page.filler.organization("acme", daily=[DAY] * 20)
    page.filler.forecast(watched, p10=100_000, p50=110_000, p90=125_000)
    page.show(watched)
    text = page.get("/organizations/org_acme").text
    assert 'class="band" d="M' in text
    assert "(100,000 – 125,000)" in text  # noqa: RUF001  what the last day comes to


def test_what_would_help_stands_there_as_forecast_says_it(page):
    watched = page.filler.organization("acme", daily=[DAY] * 20)
    page.show(watched)
    text = page.get("/organizations/org_acme").text
    (shown,) = page.get("/api/v1/organizations/org_acme").json()["organizations"]
    assert "40 % less has to come" in shown["help"][0]
    assert all(sentence in text for sentence in shown["help"])
    assert shown["advice"]["likely"]["cut_percent"] == 40


def test_where_nothing_is_foretold_nothing_would_help(page):
    page.show(page.filler.organization("new"))
    assert "What would help" not in page.get("/organizations/org_new").text


def test_without_a_forecast_the_page_says_so(acme):
    text = acme.get("/organizations/org_acme").text
    assert "no forecast yet" in text
    assert 'class="band"' not in text


def test_twelve_periods_are_shown_with_those_not_kept(page):
    first = date(2026, 2, 1)
    days = [{"pageview": 10}] * ((NOW.date() - first).days + 1)
    page.show(page.filler.organization("acme", daily=days, first=first))
    text = page.get("/organizations/org_acme").text
    assert '<th scope="row">February 2026</th><td class="n">280</td>' in text
    assert '<th scope="row">April 2025</th><td class="n">not kept</td>' in text


def test_an_alert_stands_on_the_time_line_and_in_its_days_tip(acme):
    text = acme.get("/organizations/org_acme").text
    assert 'class="mark warning"' in text
    assert "14:25 Acme has used 90 % of its limit" in text


def test_a_story_tells_its_steps_and_deliveries(acme):
    text = acme.get("/alerts").text
    assert "level reached" in text
    assert "503 of hook" in text
    assert 'id="alert-1"' in text


def test_only_open_alerts_on_demand(page):
    watched = page.filler.organization("acme", daily=[DAY])
    page.filler.alert(watched, ended=NOW, at=NOW - timedelta(days=1))
    page.show(watched)
    assert 'id="alert-1"' in page.get("/alerts").text
    assert "No alert is open." in page.get("/alerts?state=open").text


@pytest.mark.parametrize(("state", "shown"), [("failed", 1), ("done", 1), ("pending", 0), ("x", 2)])
def test_deliveries_by_outcome(acme, state, shown):
    assert acme.get(f"/deliveries?state={state}").text.count("<time") == shown


def test_an_unknown_organization_is_not_found(acme):
    answer = acme.get("/organizations/org_<b>")
    assert answer.status_code == 404
    assert "The overview lists them all." in answer.text
    assert "<b>" not in answer.text


def test_nobody_to_tell_is_told(page):
    page.show(page.filler.organization("mute", daily=[DAY], channels=()))
    assert "Nobody hears of alerts about org_mute" in page.get("/").text


def test_a_template_of_the_users_own_replaces_ours(tmp_path, sqlite):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "alerts.html.j2").write_text("<p>mine</p>")
    with running_page(sqlite, replace(SITE, templates=tmp_path)) as page:
        assert page.get("/alerts").text == "<p>mine</p>"
