import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib.text import brief
from quota_watch.messages.facts import LinkFacts
from quota_watch.messages.render import Renderer, TemplateError
from quota_watch.messages.view import view_of
from support.domain import NOON, usage
from support.samples import sample_facts
from support.telling import BIG, fired, tell

SHAPES = sample_facts(now=NOON, time_zone="Europe/Berlin")
RENDERER = Renderer()


def parse(html: str) -> ET.Element:
    return ET.fromstring(html)  # noqa: S314 - our own output; what is not well-formed fails


def visible(html: str) -> str:
    """Return the text of an HTML mail that a person sees."""
    body = parse(re.sub("</?code>", "", html)).find("body")
    assert body is not None
    return " ".join(" ".join(body.itertext()).split())


def own(folder: Path, name: str, text: str) -> Renderer:
    """Return a renderer whose user replaced one template."""
    file = folder / "email" / name
    file.parent.mkdir()
    file.write_text(text)
    return Renderer(folder)


def bare(text: str) -> str:
    """Return a text without what marks code and list items, in single spaces."""
    return " ".join(text.replace("`", "").replace("\u00a0", " ").split())


@pytest.mark.parametrize("shape", SHAPES)
def test_both_parts_tell_everything(shape):
    facts = SHAPES[shape]
    mail = RENDERER.email(facts, channel="ops")
    alert = facts.alert
    for part in (bare(mail.text), bare(visible(mail.html))):
        for text in (alert.title, alert.lead, *alert.steps, alert.note):
            assert bare(text) in part
        assert alert.id in part or shape == "test"
    assert "“ops”" in mail.text


def test_a_test_ends_with_why_one_gets_it_alone():
    mail = RENDERER.email(SHAPES["test"], channel="ops")
    assert mail.text.splitlines()[-1].endswith("its channel “ops”.")


@pytest.mark.parametrize(
    "shape", [name for name, facts in SHAPES.items() if facts.usage and facts.is_going_on]
)
def test_both_parts_hold_the_numbers_and_when_they_were_counted(shape):
    facts = SHAPES[shape]
    mail = RENDERER.email(facts)
    for part in (bare(mail.text), bare(visible(mail.html))):
        assert f"{facts.usage.used:,}" in part
        assert brief(facts.usage.measured_at, "Europe/Berlin") in part


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ("will_exceed", "about 117,000 expected (103,000–133,000)"),  # noqa: RUF001
        ("will_exceed", "confidence 93 %"),
        ("will_exceed", "about 17,400 would be lost"),
        ("dropping", "lost: about 12,000 (9,000–15,000)"),  # noqa: RUF001
    ],
)
def test_what_is_expected_and_lost_is_among_the_facts(shape, line):
    mail = RENDERER.email(SHAPES[shape])
    for part in (bare(mail.text), bare(visible(mail.html))):
        assert line in part


def test_the_three_model_mails_begin_with_consequence_and_choices():
    lines = bare(RENDERER.email(SHAPES["will_exceed"]).text)
    assert "After 18 March Rybbit would drop every new event until 1 April. Change plan:" in lines
    assert "DO ONE OF THESE * Upgrade to standard250k (fits this period and the next two)." in lines
    assert "* Do nothing: about 17,400 events lost (3,250–32,800)." in lines  # noqa: RUF001


def test_no_sentence_of_before_is_left_in_any_mail():
    text = " ".join(RENDERER.email(facts).text for facts in SHAPES.values()).lower()
    for old in ("foretold", "told", "come to", "comes to", "let less come", "almost certain"):
        assert not re.search(rf"\b{old}\b", text), old


@pytest.mark.parametrize("shape", SHAPES)
def test_the_html_is_well_formed_and_loads_nothing(shape):
    html = RENDERER.email(SHAPES[shape]).html
    tree = parse(html)
    tags = {element.tag for element in tree.iter()}
    assert not tags & {"img", "script", "link", "iframe", "object", "svg", "form", "base"}
    attributes = {name for element in tree.iter() for name in element.attrib}
    assert not attributes & {"src", "srcset", "background", "data", "poster"}
    assert {element.tag for element in tree.iter() if "href" in element.attrib} <= {"a"}
    assert not re.search(r"url\(|@import|expression\(", html)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_text_fits_into_80_columns(shape):
    lines = RENDERER.email(SHAPES[shape]).text.splitlines()
    free = ("Silence it: ", "Why you got this: ", "Open ", "Change plan: ")  # not to be broken
    assert max(len(line) for line in lines if not line.startswith(free)) <= 80


def test_the_html_is_readable_in_the_dark_and_on_a_phone():
    html = RENDERER.email(SHAPES["fired"]).html
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert "max-width: 480px" in html


@pytest.mark.parametrize(
    ("used", "filled", "empty"),
    [(0, [], ["100%"]), (91_234, ["91%"], ["9%"]), (200_000, ["50%", "50%"], [])],
)
def test_the_usage_bar_is_as_full_as_the_usage(used, filled, empty):
    tree = parse(RENDERER.email(tell(fired(), used)).html)
    cells = [cell for cell in tree.iter("td") if "height:14px" in cell.get("style", "")]
    track = [cell.get("width") for cell in cells if cell.get("class") == "track"]
    assert track == empty
    assert [cell.get("width") for cell in cells if cell.get("class") is None] == filled


def test_past_the_limit_the_bar_marks_where_that_is():
    mail = RENDERER.email(tell(fired(), 200_000))
    assert f"[{'#' * 20}|{'#' * 20}]" in mail.text


def test_a_limit_of_nothing_is_a_full_bar_without_a_percentage():
    mail = RENDERER.email(tell(fired(100), 5, of=replace(BIG, limit=0)))
    assert f"[|{'#' * 40}]\n5 used\n" in mail.text


def test_the_bar_of_the_text_is_as_full_as_the_usage():
    assert f"[{'#' * 36}{'.' * 4}]\n91.2 % used\n" in RENDERER.email(tell(fired())).text


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_a_name_of_markup_stays_text(name):
    facts = tell(fired(), of=replace(BIG, name=f"<b>&'\"{name}"))
    assert facts.organization.name in visible(RENDERER.email(facts).html)


def test_of_very_many_types_the_small_ones_become_one_row():
    seen = replace(usage(210), by_type={f"type_{n:02}": n for n in range(1, 21)})
    rows = view_of(tell(fired(), counted=seen)).types
    assert [row.name for row in rows][-2:] == ["type_10", "9 more types"]
    assert rows[-1].used == 45


def test_links_to_the_status_page_are_shown_where_there_is_one():
    facts = replace(tell(fired()), links=LinkFacts(organization="https://q.example/o?a=1&b=2"))
    mail = RENDERER.email(facts)
    assert "https://q.example/o?a=1&b=2" in mail.text
    assert 'href="https://q.example/o?a=1&amp;b=2"' in mail.html


def test_a_template_of_the_user_replaces_ours(tmp_path):
    renderer = own(tmp_path, "alert.txt.j2", "{{ alert.rule }}: {{ usage.used|number }}")
    mail = renderer.email(tell(fired()))
    assert mail.text == "threshold: 91,234"
    assert mail.html == RENDERER.email(tell(fired())).html


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("usage.used|number", "91,234"),
        ("usage.percent|share", "91.2 %"),
        ("period.end|day", "31 March 2026"),
        ("usage.measured_at|local('Asia/Tokyo')", "15 March 2026, 21:00 JST (12:00 UTC)"),
        ("'a\\r\\nb'|line", "a b"),
        ("50|bar(4)", "[##..]"),
        ("'a `b & c`'|coded", "a <code>b &amp; c</code>"),
        ("'aaa bbb'|wrapped(4, '> ')", "> aaa\n> bbb"),
        ("'up to 91.2 % of it'|wrapped(11)", "up to\n91.2 % of\nit"),
    ],
)
def test_each_filter_does_what_it_is_documented_to(tmp_path, expression, expected):
    renderer = own(tmp_path, "alert.txt.j2", f"{{{{ {expression} }}}}")
    assert renderer.email(tell(fired())).text == expected


def test_a_count_without_its_time_is_shown_without():
    assert "counted" not in RENDERER.email(tell(fired(), measured_at=None)).text


def test_a_template_of_the_user_can_change_one_block_of_ours(tmp_path):
    text = '{% extends "builtin/email/alert.html.j2" %}{% block footer %}Anna & Co{% endblock %}'
    html = own(tmp_path, "alert.html.j2", text).email(tell(fired())).html
    assert "Anna & Co" in html
    assert "91,234" in html
    assert "You get this because" not in html


def test_values_in_the_users_html_are_escaped(tmp_path):
    renderer = own(tmp_path, "alert.html.j2", "{{ organization.name }}")
    html = renderer.email(tell(fired(), of=replace(BIG, name="<i>"))).html
    assert html == "&lt;i&gt;"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ok\n{% if %}", "line 2: Expected an expression"),
        ("ok\n\n{{ alert.titel }}", "line 3: 'dict object' has no attribute 'titel'"),
        ("{{ nothing }}", "line 1: 'nothing' is undefined"),
        ("{{ alert.level + alert.title }}", "line 1: unsupported operand"),
        ("{{ 1 / 0 }}", "line 1: division by zero"),
        ("{{ alert.title|shout }}", "line 1: No filter named 'shout'"),
        ('{% include "other.j2" %}', "other.j2"),
    ],
)
def test_a_bad_template_is_named_with_file_and_line(tmp_path, text, complaint):
    renderer = own(tmp_path, "alert.html.j2", text)
    with pytest.raises(TemplateError) as caught:
        renderer.email(tell(fired()))
    assert "email/alert.html.j2" in str(caught.value)
    assert complaint in str(caught.value)


def test_a_template_that_is_not_utf8_is_named(tmp_path):
    renderer = own(tmp_path, "alert.txt.j2", "")
    (tmp_path / "email" / "alert.txt.j2").write_bytes(b"caf\xe9")
    with pytest.raises(TemplateError, match=r"email/alert\.txt\.j2 is not UTF-8"):
        renderer.email(tell(fired()))


def test_several_alerts_of_one_organization_are_one_with_a_line_for_each_other():
    mail = RENDERER.email(SHAPES["dropping"], SHAPES["blind"], SHAPES["test"], channel="ops")
    assert mail.subject.endswith("(and 2 more)")
    for part in (bare(mail.text), bare(visible(mail.html))):
        assert part.count("is over its limit and losing events") == 1
        assert 'Warning: Can\'t read Example & "Söhne" <GmbH> – API key rejected.' in part  # noqa: RUF001
        assert SHAPES["test"].alert.title in part
        assert part.lower().count("do one of these") == 1


def test_choices_of_several_alerts_are_one_list():
    mail = RENDERER.email(SHAPES["fired_with_advice"], SHAPES["will_exceed"])
    assert mail.text.count("Upgrade to standard250k") == 1


def test_of_very_many_organizations_the_last_ones_are_titles():
    facts = [
        replace(
            SHAPES["fired"],
            organization=replace(SHAPES["fired"].organization, id=f"org_{n}"),
            alert=replace(SHAPES["fired"].alert, title=f"T{n}"),
        )
        for n in range(30)
    ]
    mail = RENDERER.email(*facts)
    for part in (bare(mail.text), bare(visible(mail.html))):
        assert part.lower().count("do one of these") == 10
        assert "Warning: T10" in part
        assert "Warning: T29" in part


def test_a_late_mail_says_so_in_both_parts():
    mail = RENDERER.email(SHAPES["dropping"], now=NOON + timedelta(days=20))
    for part in (" ".join(mail.text.split()), visible(mail.html)):
        assert "Sent late: this was decided before the period ended on 31 March 2026." in part
    assert mail.text.startswith("CRITICAL, LATE: ")


def test_an_address_of_the_config_is_told_that_it_stands_there():
    assert "has your address in its config." in RENDERER.email(
        SHAPES["test"], channel="mailto:a@b.c"
    ).text.replace("\n", " ")


def test_a_template_of_the_user_for_one_message_loses_none_of_several(tmp_path):
    renderer = own(tmp_path, "alert.txt.j2", "{{ alert.title }}")
    told = renderer.email(SHAPES["dropping"], SHAPES["channel_fails"]).text
    assert "DO ONE OF THESE" in told


def test_a_block_of_the_users_is_rendered_for_each_of_several(tmp_path):
    block = "{% block headline %}<{{ alert.id }}>{% endblock %}"
    text = '{% extends "builtin/email/alert.txt.j2" %}' + block
    told = own(tmp_path, "several.txt.j2", text).email(SHAPES["dropping"], SHAPES["test"]).text
    assert f"<{SHAPES['dropping'].alert.id}>" in told
    assert f"<{SHAPES['test'].alert.id}>" in told


@pytest.mark.parametrize("shape", [name for name, facts in SHAPES.items() if facts.organization])
def test_only_what_goes_on_can_be_silenced(shape):
    facts = SHAPES[shape]
    mail = RENDERER.email(facts)
    for part in (mail.text, visible(mail.html)):
        assert ("Silence it" in part) is (facts.alert.ended_at is None)
        assert ("Why you got this" in part) is (not facts.is_end)
