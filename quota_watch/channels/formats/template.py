"""Webhook bodies from a template of the user's own."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from quota_watch.channels.formats.form import JSON_TYPE, Form, Post
from quota_watch.messages.facts import Facts, Message
from quota_watch.messages.render import Renderer, TemplateError

_TEXT_TYPE = "text/plain; charset=utf-8"
_MUST_BE_JSON = ".json.j2"


def own_template(renderer: Renderer, name: str, *, variables: Mapping[str, Any]) -> Form:
    """Return the form of the template `webhook/NAME`, which sees `variables` as `vars`.

    What parses as JSON is sent as that, all else as text; a `*.json.j2` must make JSON.
    """

    def posts(message: Message, now: datetime) -> tuple[Post, ...]:
        return tuple(_post(each, now) for each in message.facts)

    def _post(facts: Facts, now: datetime) -> Post:
        text = renderer.webhook(name, facts, variables=variables, now=now)
        broken = _complaint(text)
        if broken and name.endswith(_MUST_BE_JSON):
            raise TemplateError(f"template webhook/{name} doesn't make JSON: {broken}")
        return Post(text.encode(), _TEXT_TYPE if broken else JSON_TYPE)

    return Form(posts=posts, takes_period_ends=True, batches=False)


def _complaint(text: str) -> str | None:
    """Return what keeps a text from being JSON, None where it is."""
    try:
        json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        return f"{error.msg} in line {error.lineno} of what it made; use the filter tojson"
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")
