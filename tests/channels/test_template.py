"""Webhook bodies from templates of the user's own."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quota_watch.channels.webhook import OwnTemplate, Post
from quota_watch.messages.render import Renderer, TemplateError
from support.domain import NOON
from support.samples import sample_facts
from support.telling import BIG, fired, message, tell

Make = Callable[..., Post]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a body of a template's text."""
    (tmp_path / "webhook").mkdir()

    def post(text: str, *, name="my.json.j2", facts=None, variables=None, now=NOON) -> Post:
        (tmp_path / "webhook" / name).write_text(text)
        form = OwnTemplate(Renderer(tmp_path), name, variables=variables or {})
        told = tell(fired()) if facts is None else facts
        (only,) = form.posts(message(told, id="m"), now)
        return only

    return post


def test_a_template_of_json_is_sent_as_json(make):
    post = make('{"t": {{ alert.title|tojson }}, "n": {{ usage.used }}}')
    assert json.loads(post.body) == {"t": "Acme has used 91.2 % of its 100,000 events", "n": 91_234}
    assert post.content_type == "application/json"


def test_any_other_text_is_sent_as_text(make):
    post = make("{{ subject }} (“{{ usage.used|number }}”)", name="my.txt.j2")
    assert post.content_type == "text/plain; charset=utf-8"
    assert post.body.decode().endswith("100,000 events (“91,234”)")


def test_a_text_that_happens_to_be_json_is_sent_as_that(make):
    assert make("[{{ usage.used }}]", name="my.j2").content_type == "application/json"


def test_a_template_sees_its_vars_and_the_view(make):
    text = "{{ vars.team }} {{ view.badge }} {{ facts.id == id }} {{ view.late }}"
    assert make(text, name="a.j2", variables={"team": "web"}).body == b"web Warning True "


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_no_name_can_break_out_of_a_value(make, name):
    facts = tell(fired(), of=replace(BIG, name=f'"}}, <b> {name}'))
    post = make('{"name": {{ organization.name|tojson }}}', facts=facts)
    assert json.loads(post.body) == {"name": facts.organization.name}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{% if %}", r"my\.json\.j2, line 1: Expected an expression"),
        ("{}\n{{ alert.titel }}", r"my\.json\.j2, line 2: 'dict object' has no attribute 'titel'"),
        ('{"a": "{{ vars.nothing }}"}', r"line 1: 'dict object' has no attribute 'nothing'"),
        ('{"a": {{ alert.title }}}', r"my\.json\.j2 doesn't make JSON: .* use the filter tojson"),
        ('{"a": NaN}', r"NaN is no number in JSON"),
        ("{{ ''.__class__.__mro__ }}", r"line 1: access to attribute '__class__' .* is unsafe"),
        ("{{ facts.clear() }}", r"line 1: access to attribute 'clear' .* unsafe"),
        ("{{ facts.update(a=1) }}", r"unsafe"),
        ("{{ range(10 ** 9)|length }}", r"Range too big"),
    ],
)
def test_a_bad_template_is_named(make, text, complaint):
    with pytest.raises(TemplateError, match=complaint):
        make(text)


def test_a_value_that_nobody_escaped_is_found_with_the_samples(make):
    facts = sample_facts(now=NOON)["fired"]
    with pytest.raises(TemplateError, match="doesn't make JSON"):
        make('{"a": "{{ alert.title }}"}', facts=facts)


def test_a_template_that_is_missing_is_named(tmp_path):
    form = OwnTemplate(Renderer(tmp_path), "my.json.j2", variables={})
    sent = message(tell(fired(), of=BIG), id="m")
    with pytest.raises(TemplateError, match=r"webhook/my\.json\.j2: there is no file"):
        form.posts(sent, NOON)


def test_a_template_makes_one_body_of_each_message_at_once(tmp_path):
    form = OwnTemplate(Renderer(tmp_path), "my.json.j2", variables={})
    assert (form.takes_period_ends, form.batches) == (True, False)


def test_templates_of_mails_are_in_the_sandbox_too(tmp_path):
    (tmp_path / "email").mkdir()
    (tmp_path / "email" / "alert.txt.j2").write_text("{{ ''.__class__ }}")
    with pytest.raises(TemplateError, match="is unsafe"):
        Renderer(tmp_path).email(tell(fired()))
