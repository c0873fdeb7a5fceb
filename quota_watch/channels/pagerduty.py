"""PagerDuty's Events API v2: an incident per story, which closes when the story is resolved.

Limits are those of developer.pagerduty.com: a summary of 1,024 characters, events of 512 KB.
"""

from datetime import datetime
from typing import Any

from quota_watch.channels.channel import Notice
from quota_watch.channels.chat import fit
from quota_watch.channels.webhook import Complaint, Form, Post, answered, compact
from quota_watch.lib.text import join, largest_first, one_line, plain
from quota_watch.messages.facts import TEST, Facts, Message
from quota_watch.messages.view import subject, view_of

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
    identity = {"routing_key": routing_key, "dedup_key": facts.alert.id}
    resolve = identity | {"event_action": "resolve"}
    if facts.is_end:
        return (resolve,)
    trigger = identity | {"event_action": "trigger"} | _incident(facts, now)
    is_over = facts.type == TEST or facts.alert.ended_at is not None
    return (trigger, resolve) if is_over else (trigger,)


def complaint(answer: bytes) -> Complaint:
    """Return PagerDuty's words for what is wrong with an event."""
    body = answered(answer)
    errors = body.get("errors")
    parts = [body.get("message"), *(errors[:_ERRORS] if isinstance(errors, list) else ())]
    return Complaint(one_line("; ".join(part for part in parts if isinstance(part, str)), _WORDS))


def pagerduty(routing_key: str) -> Form:
    """Return `format = "pagerduty"` for the service or orchestration of this key."""

    def posts(message: Message, now: datetime) -> tuple[Post, ...]:
        return tuple(
            Post(compact(payload))
            for facts in message.facts
            for payload in payloads(facts, routing_key=routing_key, now=now)
        )

    def notice(words: Notice, _now: datetime) -> Post:
        """Trigger an incident: what stopped the watch is a matter for who is on call."""
        incident = {"summary": words.title, "source": "quota-watch", "severity": "critical"}
        event = {"routing_key": routing_key, "event_action": "trigger", "dedup_key": words.id}
        details = {"custom_details": {"text": words.text}}
        return Post(compact(event | {"payload": incident | details}))

    return Form(
        posts=posts,
        notice=notice,
        complaint=complaint,
        takes_period_ends=True,
        batches=False,
        keeps_incidents=True,
    )


def _incident(facts: Facts, now: datetime) -> dict[str, Any]:
    alert, organization, link = facts.alert, facts.organization, facts.links.organization
    links = [] if link is None else [{"href": link, "text": "Status page"}]
    incident = {
        "client": "quota-watch",
        "links": links,
        "payload": {
            "summary": fit(subject(facts, now=now), _SUMMARY),
            "source": organization.id if organization else _NOBODY,
            "severity": alert.severity,  # ours are all among theirs
            "timestamp": plain(facts.timestamp),
            "component": organization.server if organization else _NOBODY,
            "group": fit(organization.name if organization else _NOBODY, _TEXT),
            "class": alert.rule,
            "custom_details": _details(facts, now),
        },
    }
    return incident | ({} if link is None else {"client_url": link})


def _details(facts: Facts, now: datetime) -> dict[str, Any]:
    alert, usage, view = facts.alert, facts.usage, view_of(facts, now=now)
    types = largest_first(usage.by_type)[:_TYPES] if usage else ()
    details = {
        "summary": fit(join([view.late, alert.summary]), _TEXT),
        "next_step": fit(alert.next_step, _TEXT),
        "level": alert.level,
        "reason": alert.reason,
        "period": plain(facts.period),
        "usage": None if usage is None else plain(usage),
        "by_type": dict(types),
        "forecast": plain(facts.forecast),
        "lost": plain(facts.lost),
    }
    if usage is not None:
        del details["usage"]["by_type"]
    return details | {label: fit(text, _TEXT) for label, text in view.facts}
