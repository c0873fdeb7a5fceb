"""What a webhook's format is, and the one that is the facts themselves."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quota_watch.messages.facts import Message

JSON_TYPE = "application/json"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a message becomes requests, sent in order, and how a refusal of them is read.

    `posts` may raise `TemplateError`. What follows it is the channel's.
    """

    posts: Callable[[Message, datetime], Sequence[Post]]
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
