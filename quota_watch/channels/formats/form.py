"""What a webhook's format is: the facts themselves, or what a template of the user's makes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quota_watch.channels.channel import Notice
from quota_watch.lib.text import iso
from quota_watch.messages.facts import Facts, Message
from quota_watch.messages.render import Renderer, TemplateError

JSON_TYPE = "application/json"
_TEXT_TYPE = "text/plain; charset=utf-8"
_MUST_BE_JSON = ".json.j2"


@dataclass(frozen=True, slots=True)
class Post:
    """One request's body."""

    body: bytes
    content_type: str = JSON_TYPE


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a service says of its refusal: its words, and the seconds it asks to wait."""

    words: str = ""
    seconds: float | None = None


def no_complaint(_answer: bytes) -> Complaint:
    """Read nothing: what an unknown receiver says may be anything, even what it was told."""
    return Complaint()


def plain_notice(notice: Notice, now: datetime) -> Post:
    """Make a body whose words most receivers find: ours, Slack's and Discord's names for them."""
    words = f"{notice.title}\n{notice.text}"
    body = {"version": 1, "type": "notice", "id": notice.id, "timestamp": iso(now)}
    return Post(compact({**body, "title": notice.title, "text": words, "content": words}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a message becomes requests, sent in order, and how a refusal of them is read.

    `posts` may raise `TemplateError`. What follows it is the channel's.
    """

    posts: Callable[[Message, datetime], Sequence[Post]]
    notice: Callable[[Notice, datetime], Post] = plain_notice
    complaint: Callable[[bytes], Complaint] = no_complaint
    takes_period_ends: bool
    batches: bool
    keeps_incidents: bool = False


def compact(payload: Mapping[str, Any]) -> bytes:
    """Return JSON in the same bytes however the payload was stored in between."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _facts_alone(message: Message, _now: datetime) -> tuple[Post, ...]:
    return tuple(Post(compact(body)) for body in message.bodies)


FACTS = Form(posts=_facts_alone, takes_period_ends=True, batches=False)
"""`format = "json"`: the facts as they are."""


def answered(answer: bytes) -> Mapping[str, Any]:
    """Return an answer's JSON object; an empty one where it is none."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def own_template(renderer: Renderer, name: str, *, variables: Mapping[str, Any]) -> Form:
    """Return the form of the template `webhook/NAME`, which sees `variables` as `vars`.

    What parses as JSON is sent as that, all else as text; a `*.json.j2` must make JSON.
    """

    def posts(message: Message, now: datetime) -> tuple[Post, ...]:
        return tuple(_post(each, now) for each in message.facts)

    def _post(facts: Facts, now: datetime) -> Post:
        text = renderer.webhook(name, facts, variables=variables, now=now)
        broken = _not_json(text)
        if broken and name.endswith(_MUST_BE_JSON):
            raise TemplateError(f"template webhook/{name} doesn't make JSON: {broken}")
        return Post(text.encode(), _TEXT_TYPE if broken else JSON_TYPE)

    return Form(posts=posts, takes_period_ends=True, batches=False)


def _not_json(text: str) -> str | None:
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
