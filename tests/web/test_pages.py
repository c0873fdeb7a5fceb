import re
from dataclasses import replace
from datetime import date, timedelta

import pytest
from markupsafe import escape
from sqlalchemy import update

from quota_watch.storage import stories
from quota_watch.storage.schema import organization
from support.pages import DAY, NOW, SITE, Filler, running_page

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
    error = {"kind": "forbidden", "message": message, "status": 401}
    watched = page.filler.organization("gone", daily=[DAY], error=error)
    page.filler.alert(watched, rule="blind", level=None)
    page.show(watched)
    for path in ("/", "/organizations/org_gone"):
        text = page.get(path).text
        assert "Can't read it." in text
        assert "the key was refused. Make a new one." in text


def test_an_organization_without_a_limit_has_a_page(page):
    page.show(page.filler.organization("free", daily=[DAY], limit=None))
    assert "No limit is known" in page.get("/").text
    assert "No limit is known" in page.get("/organizations/org_free").text


def test_over_the_limit_events_are_being_dropped(page):
    page.show(page.filler.organization("over", daily=[{"pageview": 10_001}] * 10))
    assert "dropping events" in page.get("/").text
    assert "New events are dropped" in page.get("/organizations/org_over").text


def test_sites_are_shown_with_their_shares_and_what_collects_nothing(page):
    page.show(page.filler.organization("acme", daily=[DAY] * 20))
    seen = {"as_of": NOW.isoformat(), "before": None}
    sites = {
        "1": {"name": "shop.example", "used": 750, **seen},
        "2": {"name": HOSTILE, "used": 250, "requires_plan": True, **seen},
    }
    with page.filler.database.write() as connection:
        connection.execute(update(organization).values(sites=sites))
    text = page.get("/organizations/org_acme").text
    assert 'shop.example</th><td class="n">750</td><td class="n">75.0 %</td>' in text
    assert "Nothing is collected without a plan" in text
    assert "<script>alert(1)" not in text


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
    assert "Cut traffic by 40 %" in shown["help"][1]
    assert all(str(escape(sentence)) in text for sentence in shown["help"])
    assert shown["advice"]["likely"]["cut_percent"] == 40


def test_without_a_forecast_nothing_would_help(page):
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
    assert 'February 2026</a></th><td class="n">280</td>' in text
    assert 'April 2025</a></th><td class="n">not kept</td>' in text


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
    assert "Nobody gets alerts about org_mute" in page.get("/").text


def test_a_template_of_the_users_own_replaces_ours(tmp_path, sqlite):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "alerts.html.j2").write_text("<p>mine</p>")
    with running_page(sqlite, replace(SITE, templates=tmp_path)) as page:
        assert page.get("/alerts").text == "<p>mine</p>"


def test_numbers_older_than_two_intervals_are_unknown_and_say_since_when(page):
    watched = page.filler.organization("acme", daily=[DAY] * 20)
    page.filler.forecast(watched, p10=80_000, p50=90_000, p90=95_000)
    page.show(watched, interval=timedelta(minutes=1))
    text = page.get("/").text
    assert "Nothing has been polled since 20 Mar, 14:25 UTC (4 min ago)" in text
    assert "forecast of 19 Mar" in text
    assert "probably not" not in text
    assert "1 unknown" in text
    assert "It has not been polled since" in page.get("/organizations/org_acme").text


def test_the_headline_begins_with_what_is_not_seen(page):
    before = Filler(page.filler.database, NOW - timedelta(hours=30))
    old = [before.organization(f"old{n}", daily=[DAY] * 19) for n in range(3)]
    page.show(*old, page.filler.organization("new", daily=[DAY] * 20))
    text = page.get("/").text
    assert "3 of 4 not seen for up to 1 d 6 h</b>; <b>1 counted 4 min ago</b>" in text
    assert "seen 1 d ago" in text


def test_the_headline_says_how_old_the_oldest_count_is(page):
    before = Filler(page.filler.database, NOW - timedelta(minutes=10))
    page.show(
        before.organization("old", daily=[DAY] * 20), page.filler.organization("new", daily=[DAY])
    )
    assert "<b>Counted 14 min ago or less</b>" in page.get("/").text


def test_the_page_of_an_organization_that_is_not_polled_says_so_first(page):
    before = Filler(page.filler.database, NOW - timedelta(hours=30))
    old = before.organization("old", daily=[DAY] * 19)
    before.forecast(old, p10=80_000, p50=90_000, p90=95_000)
    page.show(old)
    text = page.get("/organizations/org_old").text
    assert "It has not been polled since 19 Mar, 08:25 UTC (1 d ago)." in text
    assert text.index("not been polled") < text.index("Used")
    assert "What would help" not in text
    assert "probably not" not in text


def test_where_no_limit_is_known_no_day_is_promised(page):
    watched = page.filler.organization("free", daily=[DAY] * 20, limit=None)
    page.filler.forecast(watched, p10=80_000, p50=90_000, p90=95_000)
    page.show(watched)
    text = page.get("/").text
    assert "no limit known" in text
    assert "probably not" not in text


@pytest.fixture
def three(page):
    """Three organizations: one calm, one busy, one never polled."""
    calm = page.filler.organization("calm", daily=[DAY])
    busy = page.filler.organization("busy", daily=[DAY] * 20)
    page.filler.alert(busy, severity="critical", level=100)
    page.show(calm, busy, page.filler.organization("new"))
    return page


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["busy", "new", "calm"]),
        ("?q=BUS", ["busy"]),
        ("?q=org_+calm", ["calm"]),
        ("?state=unknown", ["new"]),
        ("?sort=name", ["busy", "calm", "new"]),
        ("?sort=used", ["busy", "calm", "new"]),
        ("?state=nonsense&sort=nonsense", ["busy", "new", "calm"]),
        ("?q=nobody", []),
    ],
)
def test_the_overview_is_searched_filtered_and_sorted(three, query, names):
    found = re.findall(r'<th scope="row"><a href="[^"]*org_(\w+)"', three.get(f"/{query}").text)
    assert found == names
    rows = three.get(f"/organizations.csv{query}").text.splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == names


def test_the_sums_are_of_what_is_known(page):
    known = page.filler.organization("one", daily=[DAY])
    page.show(known, page.filler.organization("new", limit=None))
    text = page.get("/").text
    assert "<dd>3,700 <small>1 has no data</small>" in text
    assert "<dt>Total of limits</dt><dd>100,000</dd>" in text


@pytest.fixture
def many(page):
    """A page of 120 organizations."""
    page.show(*(page.filler.organization(f"n{n:03}", daily=[DAY]) for n in range(120)))
    return page


def names_in(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a [^>]*>([^<]+)<', text)


@pytest.mark.parametrize(
    ("page_", "first", "count"), [("1", "n000", 50), ("3", "n100", 20), ("99", "n100", 20)]
)
def test_many_organizations_stand_on_several_pages(many, page_, first, count):
    names = names_in(many.get(f"/?sort=name&page={page_}").text)
    assert (names[0], len(names)) == (first, count)


@pytest.mark.parametrize("page_", ["0", "-1", "x", "1e3", "9" * 30, "²"])
def test_a_page_that_is_none_is_the_first(many, page_):
    assert names_in(many.get(f"/?sort=name&page={page_}").text)[0] == "n000"


def test_a_link_to_another_page_keeps_what_was_asked_for(many):
    text = many.get("/?q=n&sort=name&page=2").text
    assert 'rel="next" href="?q=n&amp;sort=name&amp;page=3"' in text
    assert "51 to 100 of 120" in text


def test_what_is_searched_is_found_whatever_page_it_would_be_on(many):
    assert names_in(many.get("/?q=n117").text) == ["n117"]


def test_a_csv_has_the_organizations_of_all_pages(many):
    assert len(many.get("/organizations.csv").text.splitlines()) == 121


def test_a_group_is_shown_alone(page):
    gold = page.filler.organization("rich", daily=[DAY], group="gold")
    page.show(gold, page.filler.organization("poor", daily=[DAY]))
    assert ">poor<" not in page.get("/?group=gold").text
    (shown,) = page.get("/api/v1/organizations?group=gold").json()["organizations"]
    assert (shown["id"], shown["group"]) == ("org_rich", "gold")


def test_the_state_is_in_the_title_and_the_icon(three):
    text = three.get("/").text
    assert "<title>1 critical, 1 unknown · Quota Watch</title>" in text
    assert 'href="/static/icon-critical.svg"' in text


def test_no_spreadsheet_finds_a_formula(page):
    page.show(page.filler.organization("acme", shown_as="=1+1"))
    assert ",'=1+1," in page.get("/organizations.csv").text


def test_a_past_month_is_shown_with_its_days(page):
    watched = page.filler.organization(
        "acme", daily=[{"pageview": 10}] * 48, first=date(2026, 2, 1)
    )
    page.show(watched)
    text = page.get("/organizations/org_acme?period=2026-02").text
    assert "280 counted events." in text
    assert 'href="?period=2026-01"' in text
    days = page.get("/organizations/org_acme/days.csv?period=2026-02").text.splitlines()
    assert (len(days), days[1]) == (29, "2026-02-01,10,false,10")


@pytest.mark.parametrize("period", ["nonsense", "0001-01", "9999-12"])
def test_a_period_that_is_none_does_no_harm(acme, period):
    assert acme.get(f"/organizations/org_acme?period={period}").status_code == 200


def test_alerts_stand_by_organization_the_most_severe_first(page):
    calm, busy = (page.filler.organization(name, daily=[DAY]) for name in ("calm", "busy"))
    page.filler.alert(calm, id_="new", severity="info")
    page.filler.alert(busy, id_="worst", severity="critical", at=NOW - timedelta(days=2))
    page.filler.alert(calm, id_="old", severity="warning", at=NOW - timedelta(days=1))
    page.show(calm, busy)
    assert re.findall(r'<article[^>]* id="(\w+)"', page.get("/alerts").text) == [
        "worst",
        "old",
        "new",
    ]
    assert "org_busy,threshold" in page.get("/alerts.csv").text


def test_a_mark_leads_to_its_alert(acme):
    text = acme.get("/organizations/org_acme").text
    assert '<a href="#alert-1"' in text
    assert 'id="alert-1"' in text


def test_a_silence_is_shown_with_its_end(acme):
    with acme.filler.database.write() as connection:
        stories.begin_silence(
            connection,
            organization_pk=None,
            rule=None,
            starts_at=NOW,
            ends_at=NOW + timedelta(days=1),
            reason="campaign",
            author="anna",
        )
    for path in ("/", "/organizations/org_acme", "/alerts"):
        assert "21 Mar, 14:25" in acme.get(path).text
        assert "campaign" in acme.get(path).text


def test_what_was_sent_is_there_as_csv(acme):
    assert len(acme.get("/deliveries.csv?state=failed").text.splitlines()) == 2


def test_a_delivery_says_what_it_told(page):
    watched = page.filler.organization("acme", daily=[DAY])
    pk = page.filler.alert(watched, title="Acme has used 90 %")
    page.filler.deliveries(pk, [{"transition_id": "alert-1-step"}])
    page.show(watched)
    assert "Acme has used 90 %" in page.get("/deliveries").text
