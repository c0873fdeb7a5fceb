"""What the references promise is what there is."""

import json
import re
from pathlib import Path

import pytest

from quota_watch.lib.machine import resource_dir
from quota_watch.messages.render import FILTERS
from quota_watch.rules.story import TransitionType
from quota_watch.rules.verdict import Reason
from support.domain import NOON
from support.samples import sample_facts
from support.telling import fired, tell

DOCS = Path(__file__).parents[2] / "docs"
WEBHOOK = (DOCS / "webhook.md").read_text()
TEMPLATES = (DOCS / "templates.md").read_text()


def example() -> dict:
    (body,) = re.findall(r"```json\n(.*?)```", WEBHOOK, re.DOTALL)
    return json.loads(body)


def test_the_documented_body_has_the_keys_of_a_real_one():
    real, shown = tell(fired()).to_json(), example()
    assert list(shown) == list(real)
    for key in ("alert", "organization", "period", "usage", "links"):
        assert list(shown[key]) == list(real[key])


@pytest.mark.parametrize(
    "word",
    [
        *(f"`alert.{kind}`" for kind in TransitionType),
        *(f"`{reason}`" for reason in Reason),
        *sorted({f"`{facts.alert.rule}`" for facts in sample_facts(now=NOON).values()}),
    ],
)
def test_every_word_of_a_webhook_is_documented(word):
    assert word in WEBHOOK


def test_every_filter_is_documented():
    assert set(re.findall(r"^\| `(\w+)` \| `\{\{", TEMPLATES, re.MULTILINE)) == set(FILTERS)


def test_the_documented_blocks_are_those_of_the_html_template():
    template = (resource_dir("templates") / "email" / "alert.html.j2").read_text()
    (listed,) = re.findall(r"its blocks \((.*?);", TEMPLATES, re.DOTALL)
    blocks = re.findall(r"{% block (\w+) (?:scoped )?%}", template)
    assert re.findall(r"`(\w+)`", listed) == blocks
