"""The page behind a mail's "Silence it", over real HTTP."""

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from quota_watch.config.secrets import Secret
from quota_watch.lib.text import plain
from quota_watch.messages.silence_link import SilenceLink, SilenceLinks
from quota_watch.model.period import month_of
from quota_watch.model.watch import Rule
from quota_watch.views.alerts import silences_shown
from support.pages import NOW

NEXT_MONTH = "2026-04-01T00:00:00Z"


@pytest.fixture
def link(acme):
    (watch,) = acme.server.site.watches
    return SilenceLink(
        organization=watch.organization,
        rule=Rule.SPIKE,
        period=month_of(NOW.date()),
        address="anna@example.com",
    )


@pytest.fixture
def links(acme, link):
    made = SilenceLinks(
        public_url=acme.server.url,
        credentials={link.organization: Secret("rb_0123456789abcdefghijklmnop")},
    )
    acme.show(*acme.server.site.watches, silence_links=made, token="canary-token-0123456789")
    return made


@pytest.fixture
def path(links, link):
    return f"/silence/{links.token(link)}"


def in_force(page):
    with page.filler.database.read() as connection:
        return plain(silences_shown(connection, now=NOW + timedelta(minutes=4)))


def press(page, path, choice):
    return httpx.post(page.server.url + path, data={"for": choice}, follow_redirects=True)


def test_following_the_link_changes_nothing(acme, path):
    for _ in range(2):
        answer = acme.get(path)
        assert answer.status_code == 200
        assert "Silence acme?" in answer.text
    assert httpx.head(acme.server.url + path).status_code == 200
    assert in_force(acme) == []


def test_the_answer_silences_that_rule_of_that_organization_alone(acme, path):
    answer = press(acme, path, "period")
    assert "acme is silenced" in answer.text
    (silence,) = in_force(acme)
    assert (silence["organization"], silence["rule"]) == ("org_acme", "spike")
    assert silence["ends_at"] == NEXT_MONTH
    assert silence["author"] == "anna@example.com"


def test_a_day_is_24_hours(acme, path):
    press(acme, path, "24h")
    assert in_force(acme)[0]["ends_at"] == "2026-03-21T14:29:00Z"


def test_the_last_answer_holds_and_there_is_one_silence(acme, path):
    for choice in ("period", "24h", "period"):
        press(acme, path, choice)
    (silence,) = in_force(acme)
    assert silence["ends_at"] == NEXT_MONTH


def test_it_can_be_taken_back(acme, path):
    press(acme, path, "period")
    assert "Silence acme?" in press(acme, path, "end").text
    assert in_force(acme) == []


def test_taking_back_leaves_the_silences_of_others(acme, path, links, link):
    press(acme, path, "period")
    other = links.token(replace(link, address="ben@example.com"))
    press(acme, f"/silence/{other}", "end")
    assert [each["author"] for each in in_force(acme)] == ["anna@example.com"]


@pytest.mark.parametrize("choice", ["", "100y"])
def test_any_other_answer_is_refused(acme, path, choice):
    assert press(acme, path, choice).status_code == 400
    assert in_force(acme) == []


def test_organizations_of_two_servers_may_have_the_same_id(links, link):
    other = replace(link.organization, server="https://other.example")
    key = Secret("rb_another_key_0123456789")
    both = replace(links, credentials={other: key, **links.credentials})
    assert both.read(both.token(link)) == link
    assert both.read(both.token(replace(link, organization=other))).organization == other


def test_a_link_that_was_changed_is_not_valid(acme, path):
    for changed in (path[:-1], f"/silence/x{path[9:]}"):
        assert acme.get(changed).status_code == 404
        assert press(acme, changed, "24h").status_code == 404
    assert in_force(acme) == []


def test_it_ends_with_its_period(acme, links, link):
    old = links.token(replace(link, period=month_of(NOW.date() - timedelta(days=40))))
    assert acme.get(f"/silence/{old}").status_code == 410
    assert press(acme, f"/silence/{old}", "24h").status_code == 410
    assert in_force(acme) == []


def test_what_is_not_watched_any_more_can_not_be_silenced(acme, path):
    acme.show(silence_links=acme.server.site.silence_links)
    assert press(acme, path, "24h").status_code == 404


def test_the_link_needs_no_token_and_opens_nothing_else(acme, path):
    assert acme.get(path).status_code == 200
    assert acme.get("/static/style.css").status_code == 200
    for other in ("/", "/alerts", "/metrics", "/api/v1/alerts"):
        assert acme.get(other).status_code == 401


def test_another_host_is_misdirected_here_too(acme, path):
    assert acme.get(path, headers={"Host": "evil.example"}).status_code == 421


def test_without_actions_nothing_can_be_changed(acme, path):
    acme.show(*acme.server.site.watches, silence_links=None, token=None)
    assert acme.get(path).status_code == 404
    assert press(acme, path, "24h").status_code == 405


def test_a_form_elsewhere_is_not_told_the_link(acme, path):
    assert acme.get(path).headers["Referrer-Policy"] == "no-referrer"


def test_the_log_of_a_defect_does_not_hold_the_link(acme, path, caplog):
    acme.server.site = replace(acme.server.site, watches=(None,))
    assert acme.get(path).status_code == 500
    assert path not in str([record.__dict__ for record in caplog.records])
