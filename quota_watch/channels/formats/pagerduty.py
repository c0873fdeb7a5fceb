"""PagerDuty's Events API v2: an incident per story, which closes when the story is resolved.

Limits are those of developer.pagerduty.com: a summary of 1,024 characters, events of 512 KB.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from quota_watch.channels.formats.form import Complaint, Form, Post, answered, compact
from quota_watch.channels.formats.sections import Section, fit, section_of
from quota_watch.lib.figures import largest_first
from quota_watch.lib.text import one_line
from quota_watch.messages.message import Facts, Message

URL = "https://events.pagerduty.com/v2/enqueue"
"""Where events go unless the config says otherwise (as for the service region EU)."""

_SUMMARY, _TEXT, _TYPES, _ERRORS = 1_024, 4_000, 20, 3
_WORDS = 200
_NOBODY = "quota-watch"


def payloads(facts: Facts, *, routing_key: str, now: datetime) -> tuple[dict[str, Any], ...]:
    """Return the events for one of a message's facts, in their order.

    A test, or what is over as it is told, triggers an incident and resolves it at once, so that
    none is left open.
    """
    identity = {"routing_key": routing_key, "dedup_key": facts["alert"]["id"]}
    resolve = identity | {"event_action": "resolve"}
    if facts["type"] == "alert.resolved":
        return (resolve,)
    trigger = identity | {"event_action": "trigger"} | _incident(facts, section_of(facts, now))
    is_over = facts["type"] == "test" or facts["alert"]["ended_at"] is not None
    return (trigger, resolve) if is_over else (trigger,)


def complaint(answer: bytes) -> Complaint:
    """Return PagerDuty's words for what is wrong with an event."""
    said = answered(answer)
    errors = said.get("errors")
    parts = [said.get("message"), *(errors[:_ERRORS] if isinstance(errors, list) else ())]
    return Complaint(one_line("; ".join(part for part in parts if isinstance(part, str)), _WORDS))


def pagerduty(routing_key: str) -> Form:
    """Return `format = "pagerduty"` for the service or orchestration of this key."""

    def posts(message: Message, now: datetime) -> tuple[Post, ...]:
        return tuple(
            Post(compact(payload))
            for facts in message.facts
            for payload in payloads(facts, routing_key=routing_key, now=now)
        )

    return Form(
        posts=posts,
        complaint=complaint,
        takes_period_ends=True,
        batches=False,
        keeps_incidents=True,
    )


def _incident(facts: Facts, section: Section) -> dict[str, Any]:
    alert, organization = facts["alert"], facts["organization"] or {}
    links = [] if section.link is None else [{"href": section.link, "text": "Status page"}]
    return {
        "client": "quota-watch",
        "links": links,
        "payload": {
            "summary": fit(section.title, _SUMMARY),
            "source": organization.get("id", _NOBODY),
            "severity": alert["severity"],  # ours are all among theirs
            "timestamp": facts["timestamp"],
            "component": organization.get("server", _NOBODY),
            "group": fit(organization.get("name", _NOBODY), _TEXT),
            "class": alert["rule"],
            "custom_details": _details(facts, section),
        },
    } | ({} if section.link is None else {"client_url": section.link})


def _details(facts: Facts, section: Section) -> dict[str, Any]:
    usage: Mapping[str, Any] = facts["usage"] or {"by_type": {}}
    return {
        "summary": fit(section.summary, _TEXT),
        "next_step": fit(section.next_step, _TEXT),
        "level": facts["alert"]["level"],
        "reason": facts["alert"]["reason"],
        "period": facts["period"],
        "usage": {key: value for key, value in usage.items() if key != "by_type"} or None,
        "by_type": dict(largest_first(usage["by_type"])[:_TYPES]),
        "forecast": facts["forecast"],
        "lost": facts["lost"],
    } | {label: fit(text, _TEXT) for label, text in section.lines}
