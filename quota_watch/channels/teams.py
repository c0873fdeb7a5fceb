"""Microsoft Teams through Workflows: a message with an Adaptive Card.

Text stands in `RichTextBlock`s, whose runs know no markup at all, so that nothing needs escaping;
mentions would need a list of their own, which is not sent. Workflows take 28 KB.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from quota_watch.channels.channel import Notice
from quota_watch.channels.chat import ChatSection, fit, headline, pack, rest, sections_of
from quota_watch.channels.webhook import Complaint, Post, answered, chat_form, compact
from quota_watch.lib.text import one_line
from quota_watch.messages.facts import Facts

_BYTES, _REST = 20_000, 1_000
_TITLE, _LINE, _SECTIONS = 300, 1_000, 20
_WORDS = 100
_COLOURS = {
    "critical": "attention",
    "warning": "warning",
    "info": "accent",
    "resolved": "good",
    "test": "accent",
}


def payload(facts: Sequence[Facts], now: datetime) -> dict[str, Any]:
    """Return the message for one or more facts, the most severe first."""
    sections = sections_of(facts, now)
    made, left = pack(sections, _container, cost=_length, most=_SECTIONS, budget=_BYTES)
    body = [each | {"separator": index > 0} for index, each in enumerate(made)]
    if left:
        items = [_text(_run(line)) for line in rest(left, _REST).splitlines()]
        body.append({"type": "Container", "separator": True, "items": items})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": fit(headline(facts, now), _TITLE),
        "msteams": {"width": "Full"},
        "body": body,
    }
    return _message(fit(headline(facts, now), _TITLE), card)


def _notice(notice: Notice, _now: datetime) -> Post:
    lines = [
        {"type": "TextBlock", "wrap": True, "text": text} for text in (notice.title, notice.text)
    ]
    card = {"type": "AdaptiveCard", "version": "1.4", "body": lines}
    return Post(compact(_message(notice.title, card)))


def _message(summary: str, card: dict[str, Any]) -> dict[str, Any]:
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "summary": summary, "attachments": [attachment]}


def complaint(answer: bytes) -> Complaint:
    """Return what Power Automate calls the error, such as `TriggerInputSchemaMismatch`."""
    error = answered(answer).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return Complaint(one_line(code, _WORDS)) if isinstance(code, str) else Complaint()


def _container(section: ChatSection) -> dict[str, Any]:
    title = _run(fit(section.title, _TITLE), weight="bolder", size="large")
    items = [
        _text(title | {"color": _COLOURS[section.tone]}),
        _text(_run(fit(section.lead, _LINE))),
        *[_text(_run(fit(line, _LINE), isSubtle=True)) for line in section.figures.split("\n")],
    ]
    if section.buttons:
        actions = [
            {"type": "Action.OpenUrl", "title": each.label, "url": each.url}
            for each in section.buttons
        ]
        items.append({"type": "ActionSet", "actions": actions})
    return {"type": "Container", "items": items}


def _text(run: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [run]}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": text} | style


def _length(container: dict[str, Any]) -> int:
    return len(compact(container))


TEAMS = chat_form(payload, complaint=complaint, notice=_notice)
"""`format = "teams"`."""
