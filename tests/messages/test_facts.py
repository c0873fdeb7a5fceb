import json
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.messages import freeze as module
from quota_watch.messages.facts import Facts
from quota_watch.rules.verdict import Reason
from support.domain import NOON, trouble, usage
from support.samples import sample_facts
from support.telling import BIG, STARTED, fired, resolved, tell


def test_a_fired_level_is_told_in_the_shape_of_the_contract():
    transition = fired()
    facts = tell(transition).to_json()
    texts = ("title", "summary", "next_step", "preheader", "lead", "heading", "steps")
    words = {key: facts["alert"].pop(key) for key in texts}
    assert all(words.values())
    assert facts == {
        "version": 1,
        "type": "alert.fired",
        "id": transition.id,
        "timestamp": "2026-03-15T12:00:00Z",
        "alert": {
            "id": transition.story.id,
            "rule": "threshold",
            "level": 90,
            "severity": "warning",
            "reason": "level_reached",
            "started_at": "2026-03-15T12:00:00Z",
            "ended_at": None,
            "dropping": False,
            "note": "",
        },
        "organization": {
            "id": "org_acme",
            "name": "Acme",
            "plan": "standard100k",
            "server": "https://app.rybbit.io",
            "drops": True,
        },
        "period": {
            "start": "2026-03-01",
            "end": "2026-03-31",
            "resets_at": "2026-04-01T00:00:00Z",
        },
        "usage": {
            "used": 91_234,
            "limit": 100_000,
            "percent": 91.2,
            "by_type": {"pageview": 91_234},
            "measured_at": "2026-03-15T12:00:00Z",
        },
        "forecast": None,
        "daily": None,
        "lost": None,
        "advice": None,
        "report": None,
        "links": {
            "organization": None,
            "plan": "https://app.rybbit.io/settings/organization/subscription",
            "why": None,
            "silence": None,
        },
        "time_zone": "UTC",
    }


def test_an_end_bears_the_storys_id_and_both_its_times():
    transition = resolved(Reason.LIMIT_CHANGED)
    alert = tell(transition, of=replace(BIG, limit=250_000)).alert
    assert alert.id == transition.story.id
    assert (alert.started_at, alert.ended_at) == (STARTED, NOON)
    assert alert.reason == "limit_changed"


def test_the_usage_of_an_end_is_against_the_new_limit():
    facts = tell(resolved(Reason.LIMIT_CHANGED), of=replace(BIG, limit=250_000))
    assert (facts.usage.limit, facts.usage.percent) == (250_000, 36.4)


@pytest.mark.parametrize(
    ("used", "drops", "dropping"),
    [
        (99_999, True, False),
        (100_000, True, False),
        (100_001, True, True),
        (100_001, False, False),
    ],
)
def test_dropping_means_over_the_limit_where_events_are_dropped(used, drops, dropping):
    facts = tell(fired(100), used, of=replace(BIG, drops=drops))
    assert facts.alert.dropping is dropping


def test_blindness_with_nothing_known_has_no_usage_but_a_period():
    facts = tell(fired(None), None, trouble=trouble(STARTED), measured_at=None)
    assert facts.usage is None
    assert facts.period.start == date(2026, 3, 1)


def test_blindness_tells_what_was_last_known_and_when():
    facts = tell(fired(None), trouble=trouble(STARTED), measured_at=NOON - timedelta(hours=3))
    assert facts.usage.used == 91_234
    assert facts.usage.measured_at == NOON - timedelta(hours=3)


def test_an_unknown_limit_is_null():
    facts = tell(fired(None), of=replace(BIG, limit=None), trouble=trouble(STARTED))
    assert (facts.usage.limit, facts.usage.percent) == (None, None)


def test_a_test_message_is_about_no_organization():
    facts = module.test_facts(id="test_1", now=NOON, time_zone="UTC", channel="ops")
    assert facts.type == "test"
    assert facts.id == facts.alert.id == "test_1"
    assert facts.organization is facts.period is facts.usage is None


def test_every_message_has_the_same_keys():
    shapes = [facts.to_json() for facts in sample_facts(now=NOON).values()]
    assert len({tuple(facts) for facts in shapes}) == 1
    assert len({tuple(facts["alert"]) for facts in shapes}) == 1


@pytest.mark.parametrize("shape", sample_facts(now=NOON))
def test_facts_survive_being_stored_as_json(shape):
    facts = sample_facts(now=NOON)[shape]
    assert Facts.from_json(json.loads(json.dumps(facts.to_json(), allow_nan=False))) == facts


def test_what_an_older_version_kept_is_read_into_the_same_type():
    body = tell(fired()).to_json()
    for key in ("preheader", "lead", "heading", "steps", "note"):
        del body["alert"][key]
    for key in ("daily", "advice", "report"):
        del body[key]
    body["links"] = {"organization": None}
    facts = Facts.from_json(body)
    assert facts.alert.lead == facts.alert.summary
    assert facts.alert.steps == (facts.alert.next_step,)
    assert facts.daily is None


def test_the_page_and_the_alert_on_it_are_linked_where_there_is_one():
    links = tell(fired(), public_url="https://q.example/").links
    assert links.organization == "https://q.example/organizations/org_acme"
    assert links.why == f"{links.organization}#{fired().story.id}"
    assert tell(fired()).links.organization is None


def test_only_the_cloud_is_known_to_sell_plans():
    home = replace(BIG, organization=replace(BIG.organization, server="https://a.example"))
    assert tell(fired(), of=home).links.plan is None


@given(st.text(), st.dictionaries(st.text(), st.integers(1, 10**12)))
def test_names_of_others_are_stored_printable_and_the_sum_stays(name, by_type):
    counted = replace(usage(sum(by_type.values())), by_type=by_type)
    facts = tell(fired(), of=replace(BIG, name=name), counted=counted)
    assert sum(facts.usage.by_type.values()) == facts.usage.used
    text = json.dumps(facts.to_json(), ensure_ascii=False)
    assert not set(text) & set("\x00\n\r\u202e\u2028")
    text.encode()
