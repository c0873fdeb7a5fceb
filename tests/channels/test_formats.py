"""What every chat format promises, and each service's own limits and syntax."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.channels.chat import fit, plain_text, rest, section_of, units
from quota_watch.channels.services import (
    Discord,
    PagerDuty,
    Slack,
    Teams,
    discord_escape,
    slack_escape,
)
from quota_watch.channels.webhook import Form
from quota_watch.messages.facts import Facts, LinkFacts
from quota_watch.rules.reconcile import Reason
from support.domain import NOON, usage
from support.samples import sample_facts
from support.telling import BIG, fired, message, resolved, tell

SAMPLES = sample_facts(now=NOON)
CHATS = {"slack": Slack(), "discord": Discord(), "teams": Teams()}
APRIL = NOON + timedelta(days=20)
HOSTILE = (
    "<!channel> @everyone @here <@U123> <#C1> <at>Anna</at> [x](https://evil.example) "
    "*b* _i_ ~s~ `c` ||spoiler|| <https://evil.example|x>"
)


def sent(form: Form, *facts: Facts, now=NOON) -> dict[str, Any]:
    """Return the one body that a form makes of a message."""
    (post,) = form.posts(message(*facts), now)
    assert post.content_type == "application/json"
    return json.loads(post.body)


def texts(value: Any) -> list[str]:
    """Return every text in a payload."""
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def named(name: str) -> Facts:
    return tell(fired(), of=replace(BIG, name=name))


def long_story(n: int = 0) -> Facts:
    """Return facts as long as they can get."""
    organization = replace(BIG.organization, id=f"org_{n}")
    facts = tell(
        fired(), of=replace(BIG, name="&<*" * 30, plan="&" * 200, organization=organization)
    )
    texts = {"lead": "&<_ 😀" * 2_000, "preheader": "*>" * 3_000, "next_step": "*>" * 3_000}
    return replace(facts, alert=replace(facts.alert, id=f"al_{n}", **texts))


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("shape", SAMPLES)
def test_every_message_says_what_it_means_and_what_can_be_pressed(chat, shape):
    facts = SAMPLES[shape]
    told = " ".join(texts(sent(CHATS[chat], facts))).replace("\\", "")
    told = told.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
    plain = told.replace("\N{MODIFIER LETTER GRAVE ACCENT}", "`")
    assert facts.alert.title[1:] in plain
    assert facts.alert.lead in plain
    if facts.usage is not None and facts.is_going_on:
        assert f"{facts.usage.used:,} of 100,000" in plain or facts.alert.rule == "limit"
        assert "https://quota.example.com/organizations/org_example" in plain


@pytest.mark.parametrize("chat", CHATS)
def test_a_chat_gets_three_lines_and_two_buttons(chat):
    facts = SAMPLES["will_exceed"]
    section = section_of(facts, now=NOON)
    assert section.title.startswith("Warning: Example")
    assert section.lead == "After 18 March Rybbit would drop every new event until 1 April."
    assert section.figures.startswith(
        "Act in 3 days or lose about 17,400 events · 61,950 of 100,000"
    )
    assert [button.label for button in section.buttons] == ["Change plan", "Open details"]


@pytest.mark.parametrize("chat", CHATS)
def test_several_alerts_of_one_organization_are_one_section(chat):
    body = sent(CHATS[chat], SAMPLES["dropping"], SAMPLES["blind"], SAMPLES["fired"])
    told = "\n".join(texts(body)).replace("\\", "")
    assert "losing events (and 2 more)" in told
    assert "Warning: Can't read Example" in told
    assert "Warning: Example" in told


@pytest.mark.parametrize("chat", CHATS)
def test_a_critical_message_after_its_period_says_that_it_is_late(chat):
    told = " ".join(texts(sent(CHATS[chat], SAMPLES["dropping"], now=APRIL))).replace("\\", "")
    assert "Critical, late: Example" in told
    assert "Sent late: this was decided before the period ended on 31 March 2026." in told


@pytest.mark.parametrize("chat", CHATS)
def test_a_chat_is_not_told_that_a_month_began(chat):
    assert (CHATS[chat].takes_period_ends, CHATS[chat].batches) == (False, True)


@pytest.mark.parametrize("chat", CHATS)
def test_a_link_to_the_status_page_is_there_where_there_is_one(chat):
    facts = replace(tell(fired()), links=LinkFacts(organization="https://q.example/o"))
    assert "https://q.example/o" in " ".join(texts(sent(CHATS[chat], facts)))
    assert "q.example" not in " ".join(texts(sent(CHATS[chat], tell(fired()))))


def slack_sections(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in body["blocks"] if block["type"] == "section"]


@pytest.mark.parametrize("count", [1, 2, 13, 200])
def test_slacks_limits_are_kept(count):
    body = sent(Slack(), *map(long_story, range(count)))
    assert len(body["blocks"]) <= 50
    assert units(body["text"]) <= 4_000
    for section in slack_sections(body):
        assert 0 < units(section["text"]["text"]) <= 3_000


def test_slack_gets_block_kit_and_a_line_for_notifications():
    body = sent(Slack(), tell(fired()))
    title = "Warning: Acme has used 91.2 % of its 100,000 events"
    assert body["text"] == title
    assert slack_sections(body)[0]["text"]["text"].startswith(f"🟠 *{title}*\n")
    (button,) = body["blocks"][-1]["elements"]
    assert (button["text"]["text"], button["url"][:8]) == ("Change plan", "https://")


@given(st.text(max_size=80))
def test_no_name_mentions_or_links_anything_in_slack(name):
    told = texts(sent(Slack(), named(f"{HOSTILE[:30]}{name}")))
    told.append(slack_escape(HOSTILE + name))
    assert not [text for text in told if re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Q & A <b>", "Q &amp; A &lt;b&gt;"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("*b*", "\N{ASTERISK OPERATOR}b\N{ASTERISK OPERATOR}"),
        ("~b~", "\N{TILDE OPERATOR}b\N{TILDE OPERATOR}"),
        ("`b", "\N{MODIFIER LETTER GRAVE ACCENT}b"),
        ("_a custom_event", "\N{FULLWIDTH LOW LINE}a custom_event"),
        ("> b", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} b"),
    ],
)
def test_slack_shows_names_as_they_are(name, shown):
    assert slack_escape(name) == shown


def test_a_link_cannot_be_ended_early_in_discord():
    facts = replace(tell(fired()), links=LinkFacts(organization="https://q.example/a)b<c"))
    assert "(https://q.example/a%29b%3Cc)" in str(sent(Discord(), facts))


@pytest.mark.parametrize("count", [1, 2, 11, 200])
def test_discords_limits_are_kept(count):
    body = sent(Discord(), *map(long_story, range(count)))
    embeds = body["embeds"]
    assert len(embeds) <= 10
    assert units(body["content"]) <= 2_000
    total = 0
    for embed in embeds:
        fields = embed.get("fields", [])
        assert units(embed.get("title", "")) <= 256
        assert 0 < units(embed["description"]) <= 4_096
        assert len(fields) <= 25
        assert all(0 < units(field["value"]) <= 1_024 for field in fields)
        parts = [
            embed.get("title", ""),
            embed["description"],
            embed.get("footer", {}).get("text", ""),
        ]
        total += sum(map(units, [*parts, *(f["name"] + f["value"] for f in fields)]))
    assert total <= 6_000


@given(st.text(max_size=80))
def test_no_name_mentions_anybody_or_formats_in_discord(name):
    body = sent(Discord(), named(f"{HOSTILE[:30]}{name}"))
    assert body["allowed_mentions"] == {"parse": []}
    markup = re.compile(r"(?<!\\)(?:\\\\)*(?:[*_~`|<@\[\]]|^[>#-]|:(?=//))")
    for text in (body["content"], body["embeds"][0]["title"], discord_escape(HOSTILE + name)):
        assert not markup.search(text)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("@everyone", r"\@everyone"),
        ("<@&1> [x](https://e.example)", r"\<\@&1> \[x\](https\://e.example)"),
        ("a\\*b", r"a\\\*b"),
        ("1. Acme 91.2 %", r"1\. Acme 91.2 %"),
        ("# Acme-West: 12:00", r"\# Acme-West: 12:00"),
        (":tada: <:x:1>", r"\:tada: \<\:x:1>"),
    ],
)
def test_discord_shows_names_as_they_are(name, shown):
    assert discord_escape(name) == shown


@pytest.mark.parametrize(
    ("answer", "words", "seconds"),
    [
        (b'{"message": "You are being rate limited.", "retry_after": 1.5}', "You are being", 1.5),
        (b'{"message": "Unknown Webhook", "code": 10015}', "Unknown Webhook", None),
        (b'{"retry_after": NaN}', "", None),
        (b'{"retry_after": -1, "message": 5}', "", None),
        (b"<html>", "", None),
        (b"[" * 100_000, "", None),
        (b"\xff", "", None),
    ],
)
def test_what_discord_says_of_a_refusal_is_read(answer, words, seconds):
    said, wait = Discord().complaint(answer)
    assert said.startswith(words)
    assert bool(said) == bool(words)
    assert wait == seconds


@pytest.mark.parametrize(
    ("answer", "words"), [(b"no_service\n", "no_service"), (b"<html>no", ""), (b"a" * 999, "")]
)
def test_what_slack_says_of_a_refusal_is_read(answer, words):
    assert Slack().complaint(answer) == (words, None)


def card(body: dict[str, Any]) -> dict[str, Any]:
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    return attachment["content"]


@pytest.mark.parametrize("count", [1, 2, 30, 300])
def test_a_teams_message_stays_under_28_kb(count):
    assert len(json.dumps(sent(Teams(), *map(long_story, range(count))))) <= 28_000


def test_teams_gets_an_adaptive_card():
    body = sent(Teams(), tell(fired()))
    assert body["type"] == "message"
    assert (card(body)["type"], card(body)["version"]) == ("AdaptiveCard", "1.4")
    title = card(body)["body"][0]["items"][0]["inlines"][0]
    assert title["text"] == "Warning: Acme has used 91.2 % of its 100,000 events"
    assert title["color"] == "warning"


def test_names_stand_in_teams_only_where_nothing_is_markup():
    body = sent(Teams(), named(HOSTILE), named(HOSTILE))
    assert "entities" not in json.dumps(body)
    stack = list(card(body)["body"])
    while stack:
        element = stack.pop()
        assert element["type"] in {"Container", "RichTextBlock", "TextRun", "ActionSet"}
        stack += element.get("items", []) + element.get("inlines", [])


def test_what_teams_says_of_a_refusal_is_read():
    answer = b'{"error": {"code": "TriggerInputSchemaMismatch", "message": "The input \'canary\'"}}'
    assert Teams().complaint(answer) == ("TriggerInputSchemaMismatch", None)
    assert Teams().complaint(b'{"error": "x"}') == ("", None)


def events(facts: Facts, now=NOON) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(post.body) for post in PagerDuty("R1").posts(message(facts), now))


@pytest.mark.parametrize("shape", ["kept", "fired", "escalated", "dropping", "blind", "never_seen"])
def test_a_story_triggers_an_incident(shape):
    facts = SAMPLES[shape]
    (event,) = events(facts)
    assert (event["routing_key"], event["event_action"]) == ("R1", "trigger")
    assert event["dedup_key"] == facts.alert.id
    assert event["payload"]["severity"] == facts.alert.severity
    assert event["payload"]["source"] == "org_example"
    assert event["payload"]["custom_details"]["next_step"] == facts.alert.next_step


@pytest.mark.parametrize("shape", ["limit_changed", "limit_unknown", "period_ended", "seen_again"])
def test_the_end_of_a_story_resolves_its_incident(shape):
    (event,) = events(SAMPLES[shape])
    key = SAMPLES[shape].alert.id
    assert event == {"routing_key": "R1", "event_action": "resolve", "dedup_key": key}


def test_beginning_and_end_of_a_story_are_one_incident():
    begun = fired()
    ended = resolved(Reason.LIMIT_CHANGED, started_at=begun.story.started_at)
    (first,), (last,) = events(tell(begun)), events(tell(ended))
    assert first["dedup_key"] == last["dedup_key"]


def test_a_test_leaves_no_incident_open():
    actions = [(event["event_action"], event["dedup_key"]) for event in events(SAMPLES["test"])]
    assert actions == [("trigger", "test"), ("resolve", "test")]


def test_an_incident_is_within_pagerdutys_limits():
    (event,) = events(long_story())
    assert units(event["payload"]["summary"]) <= 1_024
    assert len(json.dumps(event)) <= 512_000
    counted = replace(usage(5_000), by_type={f"type_{n}": n for n in range(100)})
    (event,) = events(tell(fired(), counted=counted))
    assert len(event["payload"]["custom_details"]["by_type"]) == 20


def test_an_incident_that_comes_late_says_so_and_links_to_the_status_page():
    facts = replace(SAMPLES["dropping"], links=LinkFacts(organization="https://q.example/o"))
    (event,) = events(facts, now=APRIL)
    assert event["payload"]["summary"].startswith("Critical, late: ")
    assert event["links"] == [{"href": "https://q.example/o", "text": "Status page"}]
    assert event["client_url"] == "https://q.example/o"


def test_what_pagerduty_says_of_a_refusal_is_read():
    answer = (
        b'{"status": "invalid event", "message": "Event object is invalid", "errors": ["a", 1]}'
    )
    assert PagerDuty("R1").complaint(answer) == ("Event object is invalid; a", None)


def test_pagerduty_is_told_everything_at_once_and_alone():
    form = PagerDuty("R1")
    assert (form.takes_period_ends, form.batches) == (True, False)


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_text_is_cut_before_it_is_escaped(text, longest):
    shown = fit(text, longest, discord_escape)
    assert units(shown) <= longest or shown == "…"
    assert not re.search(r"(?<!\\)(?:\\\\)*\\$", shown)


def test_what_fits_is_not_cut():
    assert fit("a b", 3) == "a b"
    assert fit("a bcd", 3) == "a…"
    assert fit("😀😀", 3) == "😀…"


def test_of_many_titles_those_that_fit_are_listed():
    sections = [section_of(tell(fired()), now=NOON)] * 50
    lines = rest(sections, 500).splitlines()
    assert lines[0].startswith("🟠 Warning: Acme")
    assert lines[-1] == f"and {50 - len(lines) + 1} more"
    assert units("\n".join(lines)) <= 500


def test_plain_text_tells_everything_without_markup():
    text = plain_text([tell(fired()), SAMPLES["test"]], NOON)
    assert "Warning: Acme has used 91.2 % of its 100,000 events\n" in text
    assert "Upgrade the plan at https://app.rybbit.io." in text
    assert "91,234 of 100,000 used · counted 15 March, 12:00 UTC" in text
    assert "Test: Test of the channel ops" in text


@pytest.mark.parametrize("chat", CHATS)
def test_no_line_of_a_chat_is_empty_and_no_fact_stands_twice(chat):
    assert "" not in texts(sent(CHATS[chat], SAMPLES["test"]))
    told = " ".join(texts(sent(CHATS[chat], SAMPLES["blind"])))
    assert "Last count: 91,234 of 100,000, 15 March, 09:30 UTC" in told
    assert "the last count was" not in told
