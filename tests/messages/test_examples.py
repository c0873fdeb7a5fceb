"""The examples that templates are tried with are facts like any other, and up to date."""

import json
from dataclasses import replace

import pytest

from quota_watch.lib.machine import resource_dir
from quota_watch.messages.facts import EXAMPLES_AT, Facts, example_of, examples
from quota_watch.model.watch import Rule
from support.domain import NOON
from support.samples import sample_facts
from support.telling import BIG

BODIES = json.loads((resource_dir("templates") / "examples.json").read_text(encoding="utf-8"))
SAMPLES = sample_facts(now=NOON)


@pytest.mark.parametrize("name", BODIES)
def test_an_example_has_all_keys_of_facts_and_no_other(name):
    assert Facts.from_json(BODIES[name]).to_json() == BODIES[name]


@pytest.mark.parametrize("name", BODIES)
def test_an_example_says_what_such_a_message_says_now(name):
    assert examples()[name] == SAMPLES[name]
    assert EXAMPLES_AT == NOON


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_an_example_that_bears_the_organizations_name(rule):
    watch = replace(BIG, name='Anna "& Co"')
    facts = example_of(rule, watch)
    assert facts.alert.rule == rule
    if facts.organization is not None:
        assert facts.organization.name == watch.name
        assert watch.name in facts.alert.title
