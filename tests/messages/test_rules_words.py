"""What is said of the rules that are not about a level: each says what it is about, in numbers."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from quota_watch.lib.figures import Estimate
from quota_watch.messages import made_up
from quota_watch.messages.wording import subject
from quota_watch.model.period import Period
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.source import ErrorKind
from quota_watch.rules.known import ClosedPeriod
from quota_watch.rules.reason import Reason
from quota_watch.rules.story import TransitionType
from support.domain import NOON, trouble
from support.telling import BIG, STARTED, about, ended, later, tell

FEBRUARY = Period(date(2026, 2, 1), date(2026, 3, 1))
SPIKE = about(Rule.SPIKE, Reason.ABOVE_EXPECTED, detail=made_up.spike(NOON))
STALLED = about(Rule.STALLED, Reason.NO_EVENTS, detail=made_up.stall(NOON))
SMALL = {"limit": 100_000, "plan": "standard100k", "status": "active"}
LARGE = {"limit": 250_000, "plan": "standard250k", "status": "active"}
NONE = {"limit": None, "plan": None, "status": None}
LOST = Estimate(low=9_000, likely=12_000, high=15_000)
CLOSED_OVER = about(
    Rule.THRESHOLD,
    Reason.CLOSED_OVER,
    Severity.INFO,
    level=100,
    subject="closed",
    period=FEBRUARY,
    detail={"used": 104_310, "limit": 100_000},
)
ALL_FAIL = about(
    Rule.BLIND,
    Reason.ALL_POLLS_FAIL,
    organization=None,
    subject="https://app.rybbit.io",
    detail={
        "organizations": 40,
        "names": ["Acme", "Beta"],
        "since": "2026-03-15T10:00:00Z",
        "kind": "forbidden",
        "error": "the server refuses the API key",
    },
)
FAILS = about(
    Rule.DELIVERY,
    Reason.CHANNEL_FAILS,
    organization=None,
    subject="ops",
    detail={"since": "2026-03-15T11:00:00Z", "attempts": 7, "last_error": "refused"},
)
REFUSED = about(
    Rule.CONFIG,
    Reason.CONFIG_REFUSED,
    organization=None,
    detail={"problems": [f"key{n}: wrong" for n in range(7)]},
)
FOUND = {"name": "Beta", "plan": "pro1m", "limit": 1_000_000, "server": "https://x.example"}


def said(transition, used=91_234, **more) -> dict[str, str]:
    return tell(transition, used, **more)["alert"]


def changed(reason, before, after, severity=Severity.INFO):
    detail = {"before": before, "after": after}
    return about(Rule.LIMIT, reason, severity, detail=detail)


def test_a_spike_says_how_far_above_and_which_type_grew():
    alert = said(SPIKE)
    assert alert["title"] == (
        "Acme has 4.2 times the usual events: 19,400 instead of 4,600, mostly custom_event"
    )
    assert "The 14,800 too many are 14.8 % of the limit." in alert["summary"]
    assert "What grew: custom_event 15,200 instead of 1,100." in alert["summary"]
    assert "Look at custom_event" in alert["next_step"]


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("pageview", "bots are not: block them"),
        ("performance", "switch off Web Vitals"),
        ("custom_event", "A release that sends an event too often"),
        ("new_type", "A release that sends an event too often"),
    ],
)
def test_what_to_do_of_a_spike_depends_on_the_type(type_, expected):
    grown = [{"type": type_, "counted": 9, "expected": 1, "excess": 8}]
    spike = about(Rule.SPIKE, Reason.ABOVE_EXPECTED, detail=made_up.spike(NOON) | {"types": grown})
    assert expected in said(spike)["next_step"]


def test_a_spike_that_moves_the_period_over_its_limit_says_so():
    spike = about(
        Rule.SPIKE, Reason.ABOVE_EXPECTED, detail=made_up.spike(NOON) | {"moves_over": True}
    )
    assert "Without this the period would probably have stayed" in said(spike)["summary"]


def test_a_silence_of_events_says_since_when_and_what_was_due():
    alert = said(STALLED)
    assert alert["title"] == "Acme has had no events for 1 d 2 h, about 5,230 were due"
    assert "since 14 March 2026, 10:00 UTC" in alert["summary"]
    assert "quota-watch silence org_acme --rule stalled" in alert["next_step"]


def test_a_few_events_are_not_called_none():
    few = about(
        Rule.STALLED,
        Reason.NO_EVENTS,
        detail=made_up.stall(NOON) | {"counted": 1, "last_seen": "2026-03-14T12:00:00Z"},
    )
    alert = said(few)
    assert alert["title"].startswith("Acme has had only 1 event for 1 d 2 h")
    assert "last seen to rise on 14 March 2026, 12:00 UTC" in alert["summary"]


@pytest.mark.parametrize(
    ("fired", "reason", "title"),
    [
        (SPIKE, Reason.AS_EXPECTED_AGAIN, "The events of Acme are as usual again: 91.2 % of"),
        (STALLED, Reason.EVENTS_AGAIN, "Events of Acme come again: 91,234 today"),
        (ALL_FAIL, Reason.POLLS_WORK_AGAIN, "Polls at https://app.rybbit.io work again"),
        (FAILS, Reason.CHANNEL_WORKS_AGAIN, "The channel ops works again"),
        (REFUSED, Reason.CONFIG_ACCEPTED, "A good config was taken; it is in force"),
        (SPIKE, Reason.COUNTS_AGREE_AGAIN, "Our count of Acme and Rybbit's agree again: 91.2"),
        (SPIKE, Reason.OVERTAKEN, "Acme has reached its limit, as foretold"),
        (SPIKE, Reason.STILL_TRUE, "The alert about Acme (spike) is over"),
    ],
)
def test_every_end_says_what_is_over(fired, reason, title):
    alert = said(ended(fired, reason))
    assert alert["title"].startswith(title)
    assert alert["next_step"]


@pytest.mark.parametrize(
    ("reason", "before", "after", "limit", "title"),
    [
        (
            Reason.LIMIT_RAISED,
            SMALL,
            LARGE,
            250_000,
            "The limit of Acme was raised from 100,000 to 250,000 events: 36.4 % used",
        ),
        (
            Reason.LIMIT_LOWERED,
            LARGE,
            SMALL,
            100_000,
            "The limit of Acme was lowered from 250,000 to 100,000 events: 91.2 % used",
        ),
        (
            Reason.LIMIT_FOUND,
            NONE,
            SMALL,
            100_000,
            "A limit of 100,000 events was found for Acme: 91.2 % used",
        ),
        (
            Reason.LIMIT_REMOVED,
            SMALL,
            NONE,
            None,
            "Acme has no limit any more (it was 100,000 events)",
        ),
        (
            Reason.STATUS_CHANGED,
            SMALL | {"status": "trialing"},
            SMALL,
            100_000,
            "The subscription of Acme went from trialing to active",
        ),
    ],
)
def test_a_change_of_the_limit_says_what_was_and_what_is(reason, before, after, limit, title):
    of = replace(BIG, limit=limit)
    assert said(changed(reason, before, after), of=of)["title"] == title


def test_a_changed_limit_names_the_plans():
    assert (
        "The plan went from standard100k to standard250k."
        in (said(changed(Reason.LIMIT_RAISED, SMALL, LARGE))["summary"])
    )


def test_a_lowered_limit_that_is_passed_says_what_to_do_at_once():
    lowered = changed(Reason.LIMIT_LOWERED, LARGE, SMALL, Severity.CRITICAL)
    facts = tell(lowered, 104_310)
    assert subject(facts).startswith("Critical: The limit of Acme was lowered")
    assert facts["alert"]["next_step"].startswith("If that was not meant, look at the billing")
    assert "Rybbit is dropping its events" in facts["alert"]["summary"]


def test_a_restricted_key_is_named_with_its_remedy():
    alert = said(about(Rule.MISMATCH, Reason.KEY_SEES_LESS, detail={"ours": 60, "theirs": 80}))
    assert alert["title"] == "The key for Acme is restricted: it sees 60 of 80 events"
    assert "20 (25.0 %) are not seen" in alert["summary"]
    assert "Use an organization key" in alert["next_step"]


def test_a_lower_count_of_rybbits_is_told_with_both():
    alert = said(
        about(Rule.MISMATCH, Reason.UPSTREAM_COUNTS_LESS, detail={"ours": 80, "theirs": 60})
    )
    assert alert["title"] == "Rybbit counts 60 events for Acme, we count 80"
    assert "not_counted" in alert["next_step"]


def test_a_fall_is_told_with_before_now_and_what_explains_it():
    alert = said(about(Rule.MISMATCH, Reason.USED_FELL, detail={"before": 100_000}))
    assert alert["title"] == "The count of Acme fell from 100,000 to 91,234 events"
    assert "8,766 (8.7 %) are gone" in alert["summary"]
    assert "deleted or moved" in alert["summary"]


def test_a_closed_period_is_told_with_its_own_dates_numbers_and_loss():
    closed = ClosedPeriod(period=FEBRUARY, used=104_310, limit=100_000, lost=LOST)
    facts = tell(CLOSED_OVER, 1_204, closed=closed)
    assert subject(facts) == (
        "Info: Acme ended 1–28 February 2026 over its limit: 104,310 of 100,000 events"  # noqa: RUF001
    )
    assert "An estimated 12,000 (9,000–15,000) events were dropped" in facts["alert"]["summary"]  # noqa: RUF001
    assert facts["period"]["end"] == "2026-02-28"
    assert (facts["usage"]["used"], facts["usage"]["by_type"]) == (104_310, {})
    assert facts["lost"]["likely"] == 12_000


@pytest.mark.parametrize(
    ("of", "expected"), [(BIG, "is not known"), (replace(BIG, drops=False), "No event is lost")]
)
def test_the_loss_of_a_closed_period_may_be_unknown_or_none(of, expected):
    assert expected in said(CLOSED_OVER, 1_204, of=of)["summary"]


def test_a_closed_period_is_not_called_dropping():
    assert said(CLOSED_OVER, 104_310)["dropping"] is False


def test_blindness_of_all_is_about_the_server_and_names_who_is_hit():
    facts = tell(ALL_FAIL, trouble=trouble(STARTED, kind=ErrorKind.TIMEOUT))
    assert facts["alert"]["title"] == (
        "All polls of 40 organizations at https://app.rybbit.io have failed for 2 h"
    )
    assert "Affected: Acme, Beta and 38 more." in facts["alert"]["summary"]
    assert facts["organization"] is facts["period"] is facts["usage"] is None


def test_blindness_of_all_tells_the_remedy_of_its_error():
    assert "If the key was revoked" in said(ALL_FAIL)["next_step"]


@pytest.mark.parametrize(
    ("fired", "used", "expected"),
    [
        (about(Rule.BLIND, Reason.POLLS_FAIL), 91_234, "now: 91.2 % of the limit was used"),
        (about(Rule.BLIND, Reason.POLLS_FAIL), 50_000, "may be reached within a day."),
        (ALL_FAIL, 50_000, "one of them was near its limit"),
        (SPIKE, 50_000, "This is critical now."),
    ],
)
def test_what_became_critical_says_why(fired, used, expected):
    worse = later(fired, TransitionType.ESCALATED, Reason.BECAME_CRITICAL)
    assert expected in said(worse, used)["summary"]


def test_a_failing_channel_says_since_when_how_often_and_why():
    alert = said(FAILS)
    assert alert["title"] == "The channel ops has failed for 1 h: 7 attempts"
    assert "The last error: refused." in alert["summary"]
    assert "quota-watch deliveries retry --failed" in alert["next_step"]


def test_a_refused_config_shows_some_problems_and_says_that_the_old_one_stays():
    alert = said(REFUSED)
    assert alert["title"] == "A new config was refused (7 problems); the old one stays in force"
    assert "key4: wrong. And 2 more." in alert["summary"]
    assert "check --offline" in alert["next_step"]


def test_a_discovered_organization_is_told_with_how_to_add_it():
    found = about(Rule.DISCOVERED, Reason.DISCOVERED, subject="org_b", detail=FOUND)
    alert = said(found)
    assert alert["title"] == "Nobody watches Beta (1,000,000 events a month)"
    assert 'add `[[organizations]]` with `id = "org_b"`' in alert["next_step"]


def test_a_discovered_organization_that_is_watched_needs_nothing():
    detail = FOUND | {"watched": True}
    alert = said(about(Rule.DISCOVERED, Reason.DISCOVERED, subject="org_b", detail=detail))
    assert alert["title"] == "Beta is watched from now on"
    assert alert["next_step"].startswith("Nothing to do.")


def test_a_reminder_says_since_when_and_the_how_manieth_it_is():
    alert = said(later(FAILS, TransitionType.REMINDED, Reason.STILL_TRUE))
    assert alert["title"].startswith("Still: The channel ops has failed")
    assert alert["summary"].startswith(
        "This is reminder 3: it was first true on 15 March 2026, 10:00 UTC, 2 h ago, and still is."
    )


@pytest.mark.parametrize("type_", [TransitionType.FIRED, TransitionType.ESCALATED])
def test_the_end_of_a_silence_is_said_first(type_):
    alert = said(later(STALLED, type_, Reason.SILENCE_ENDED))
    assert alert["title"].startswith("After a silence: Acme has had no events")
    assert alert["summary"].startswith("The silence that held this message back has ended")


def test_the_link_leads_to_the_organizations_page():
    facts = tell(SPIKE, public_url="https://quota.example.com/")
    assert facts["links"] == {"organization": "https://quota.example.com/organizations/org_acme"}


def test_what_began_later_than_now_has_lasted_no_time():
    future = FAILS.condition.detail | {"since": (NOON + timedelta(hours=1)).isoformat()}
    fails = about(Rule.DELIVERY, Reason.CHANNEL_FAILS, subject="ops", detail=future)
    assert "for 0 min" in said(fails)["title"]
