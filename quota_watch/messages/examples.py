"""Examples of every kind of message, to try templates with and to preview rules by."""

import json
from datetime import UTC, datetime
from functools import cache

from quota_watch.lib.files import resource_dir
from quota_watch.messages.facts import Facts
from quota_watch.model.rule import Rule
from quota_watch.model.watch import Watch

EXAMPLES_AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
"""The moment that the examples are of."""

_NAME, _ID = 'Example & "Söhne" <GmbH>', "org_example"
_OF_RULES = {
    Rule.THRESHOLD: "fired_with_advice",
    Rule.FORECAST: "will_exceed",
    Rule.SPIKE: "spike",
    Rule.STALLED: "stalled",
    Rule.BLIND: "blind",
    Rule.LIMIT: "limit_raised",
    Rule.MISMATCH: "key_sees_less",
    Rule.DELIVERY: "channel_fails",
    Rule.CONFIG: "config_refused",
    Rule.DISCOVERED: "discovered",
}


def examples() -> dict[str, Facts]:
    """Read examples by name; together they take every branch of a template."""
    return {name: Facts.from_json(body) for name, body in json.loads(_text()).items()}


def example_of(rule: Rule, watch: Watch) -> Facts:
    """Read the example of a rule, with the organization of a watch put in."""
    text = _text()
    for made_up, real in ((_NAME, watch.name), (_ID, watch.organization.id)):
        text = text.replace(_quoted(made_up), _quoted(real))
    return Facts.from_json(json.loads(text)[_OF_RULES[rule]])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


@cache
def _text() -> str:
    return (resource_dir("templates") / "examples.json").read_text(encoding="utf-8")
