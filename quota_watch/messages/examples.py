"""Examples of every kind of message, to try templates with and to preview rules by."""

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from quota_watch.lib.files import resource_dir
from quota_watch.messages.facts import Facts
from quota_watch.model.rule import Rule
from quota_watch.model.watch import Watch

EXAMPLES_AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
"""The moment that the examples are of."""

_NAME, _ID = 'Example & "Söhne" <GmbH>', "org_example"
_TYPICAL = {Rule.THRESHOLD: "fired_with_advice", Rule.FORECAST: "will_exceed"}
"""Where the first example of a rule is not the one that shows most of it."""


def examples() -> dict[str, Facts]:
    """Read examples by name; together they take every branch of a template."""
    return {name: Facts.from_json(body) for name, body in json.loads(_text()).items()}


def example_of(rule: Rule, watch: Watch) -> Facts:
    """Read the example of a rule, with the organization of a watch put in."""
    text = _text()
    for made_up, real in ((_NAME, watch.name), (_ID, watch.organization.id)):
        text = text.replace(_quoted(made_up), _quoted(real))
    bodies: dict[str, Any] = json.loads(text)
    first = next(name for name, body in bodies.items() if body["alert"]["rule"] == rule)
    return Facts.from_json(bodies[_TYPICAL.get(rule, first)])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


@cache
def _text() -> str:
    return (resource_dir("templates") / "examples.json").read_text(encoding="utf-8")
