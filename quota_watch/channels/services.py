"""The forms of Slack, Discord, Teams and PagerDuty, each within its own limits and syntax.

What the three chats show is the same: three lines and two buttons for each organization.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from quota_watch.channels.channel import Notice
from quota_watch.channels.chat import (
    ChatSection,
    fit,
    fit_lines,
    pack,
    rest,
    sections_of,
    units,
)
from quota_watch.channels.webhook import Form, Post, compact, json_object
from quota_watch.lib.text import by_field, join, largest_first, one_line, plain
from quota_watch.messages.facts import TEST, Facts, Message
from quota_watch.messages.view import Button, subject, view_of


class ChatForm(Form):
    """A chat service: one request for all that goes together."""

    takes_period_ends = False
    batches = True

    def posts(self, message: Message, now: datetime) -> Sequence[Post]:
        """Make the one request."""
        facts = message.facts
        return (Post(compact(self.payload(subject(*facts, now=now), sections_of(facts, now)))),)

    @abstractmethod
    def payload(self, title: str, sections: list[ChatSection]) -> dict[str, Any]:
        """Make the service's message of sections, the most severe first."""


class Slack(ChatForm):
    """`format = "slack"`: incoming webhooks with Block Kit, and a line for notifications.

    docs.slack.dev allows 50 blocks in a message, 3,000 characters in a section's text and 75 in a
    button's label.
    """

    def payload(self, title: str, sections: list[ChatSection]) -> dict[str, Any]:
        """Make a section and its buttons of each."""
        of_sections, others = pack(sections, _slack_blocks, most=24, budget=30_000)
        blocks = [block for each in of_sections for block in each]
        if others:
            blocks.append(_slack_text(rest(others, _SLACK_TEXT, slack_escape)))
        return {
            "text": fit(title, _SLACK_TITLE, slack_escape),
            "blocks": blocks,
            "unfurl_links": False,
            "unfurl_media": False,
        }

    def complaint(self, answer: bytes) -> tuple[str, float | None]:
        """Read Slack's word for what is wrong, such as `no_service`."""
        word = answer.strip()
        return word.decode() if _SLACK_WORD.fullmatch(word) else "", None


_SLACK_TEXT, _SLACK_LINE, _SLACK_TITLE = 3_000, 1_200, 600
_SLACK_WORD = re.compile(rb"[a-z][a-z_]{2,60}")
_LOOKALIKES = str.maketrans({
    "*": "\N{ASTERISK OPERATOR}",
    "~": "\N{TILDE OPERATOR}",
    "`": "\N{MODIFIER LETTER GRAVE ACCENT}",
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
})  # fmt: skip
_OUTER_LINE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def slack_escape(text: str) -> str:
    """Escape `text` so that Slack shows it as it is: no mention, no link, no formatting.

    Slack has an escape for three characters only; those that format are replaced by look-alikes.
    An underscore inside a word formats nothing and stays, as does `>` except at the beginning.
    """
    text = re.sub("^>", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}", text)
    return _OUTER_LINE.sub("\N{FULLWIDTH LOW LINE}", text).translate(_LOOKALIKES)


def _slack_blocks(section: ChatSection) -> list[dict[str, Any]]:
    title = f"{section.mark} *{fit(section.title, _SLACK_TITLE, slack_escape)}*"
    lines = [title, *section.lines(_SLACK_LINE, slack_escape)]
    blocks = [_slack_text(fit_lines(lines, _SLACK_TEXT))]
    if section.buttons:
        elements = [
            {
                "type": "button",
                "text": {"type": "plain_text", "text": fit(each.label, 75), "emoji": False},
                "url": fit(each.url, _SLACK_TEXT),
            }
            for each in section.buttons
        ]
        blocks.append({"type": "actions", "elements": elements})
    return blocks


def _slack_text(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


class Discord(ChatForm):
    """`format = "discord"`: embeds, and no mention of anybody.

    docs.discord.com allows 2,000 characters of content, and 10 embeds with a title of 256, a
    description of 4,096 and 6,000 characters in all.
    """

    def payload(self, title: str, sections: list[ChatSection]) -> dict[str, Any]:
        """Make an embed of each section."""
        budget = 6_000 - (_DISCORD_REST if len(sections) > 1 else 0)
        embeds, others = pack(sections, _embed, cost=_embed_length, most=9, budget=budget)
        if others:
            embeds.append({"description": rest(others, _DISCORD_REST, discord_escape)})
        return {
            "content": fit(title, _DISCORD_LINE, discord_escape),
            "embeds": embeds,
            "allowed_mentions": {"parse": []},
        }

    def complaint(self, answer: bytes) -> tuple[str, float | None]:
        """Read Discord's words and, where it limits the rate, the seconds to wait."""
        body = json_object(answer)
        words, seconds = body.get("message"), body.get("retry_after")
        is_wait = isinstance(seconds, int | float) and 0 <= seconds <= _LONGEST_SECONDS
        return one_line(words, 100) if isinstance(words, str) else "", seconds if is_wait else None


_DISCORD_TITLE, _DISCORD_LINE, _DISCORD_TEXT, _DISCORD_REST = 256, 1_000, 4_000, 1_000
_LONGEST_SECONDS = 10**6  # neither NaN nor what no timedelta can hold
_DISCORD_COLOURS = {
    "critical": 0xDC2626,
    "warning": 0xE08A00,
    "info": 0x2F7DE1,
    "resolved": 0x2A9D63,
    "test": 0x6A6AD8,
}
# What formats, mentions and links anywhere; what makes lists, headings and quotes at a beginning;
# and the colons of addresses and emoji.
_DISCORD_MARKUP = re.compile(r"[\\*_~`|\[\]<@]|^[#>-]|(?:(?<=^\d)|(?<=^\d\d))\.(?=\s)|:(?=//|\w+:)")


def discord_escape(text: str) -> str:
    """Escape `text` so that Discord shows it as it is: no mention, no link, no formatting."""
    return _DISCORD_MARKUP.sub(r"\\\g<0>", text)


def _embed(section: ChatSection) -> dict[str, Any]:
    links = [_link(each) for each in section.buttons]
    lines = [*section.lines(_DISCORD_LINE, discord_escape), " · ".join(links)]
    return {
        "title": fit(section.title, _DISCORD_TITLE, discord_escape),
        "description": fit_lines(lines, _DISCORD_TEXT),
        "color": _DISCORD_COLOURS[section.tone],
    }


def _link(button: Button) -> str:
    """Write a link that its own label or URL can't end; Discord's webhooks have no buttons."""
    url = fit(button.url, _DISCORD_LINE)
    url = url.replace("(", "%28").replace(")", "%29").replace("<", "%3C")
    return f"[{discord_escape(button.label).replace(']', '')}]({url})"


def _embed_length(embed: Mapping[str, Any]) -> int:
    """Count how much of what Discord allows for all embeds this one takes."""
    return units(embed["title"]) + units(embed["description"])


class Teams(ChatForm):
    """`format = "teams"`: Microsoft's Workflows, a message with an Adaptive Card of up to 28 KB.

    Text stands in `RichTextBlock`s, whose runs know no markup at all, so that nothing needs
    escaping; mentions would need a list of their own, which is not sent.
    """

    def payload(self, title: str, sections: list[ChatSection]) -> dict[str, Any]:
        """Make a container of each section."""
        containers, others = pack(sections, _container, most=20, budget=20_000)
        body = [each | {"separator": n > 0} for n, each in enumerate(containers)]
        if others:
            items = [_run(line) for line in rest(others, _TEAMS_LINE).splitlines()]
            body.append({"type": "Container", "separator": True, "items": items})
        return _card(fit(title, _TEAMS_TITLE), body)

    def notice(self, notice: Notice, now: datetime) -> Post:  # noqa: ARG002 -- the form's
        """Make a card of plain text."""
        return Post(compact(_card(notice.title, [_run(notice.title), _run(notice.text)])))

    def complaint(self, answer: bytes) -> tuple[str, float | None]:
        """Read what Power Automate calls the error, such as `TriggerInputSchemaMismatch`."""
        error = json_object(answer).get("error")
        code = error.get("code") if isinstance(error, dict) else None
        return one_line(code, 100) if isinstance(code, str) else "", None


_TEAMS_TITLE, _TEAMS_LINE = 300, 1_000
_TEAMS_COLOURS = {
    "critical": "attention",
    "warning": "warning",
    "info": "accent",
    "resolved": "good",
    "test": "accent",
}


def _card(summary: str, body: list[dict[str, Any]]) -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": summary,
        "msteams": {"width": "Full"},
        "body": body,
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "summary": summary, "attachments": [attachment]}


def _container(section: ChatSection) -> dict[str, Any]:
    colour = _TEAMS_COLOURS[section.tone]
    lead, *figures = section.lines(_TEAMS_LINE)
    items = [
        _run(fit(section.title, _TEAMS_TITLE), weight="bolder", size="large", color=colour),
        _run(lead),
        *[_run(line, isSubtle=True) for line in figures],
    ]
    if section.buttons:
        actions = [
            {"type": "Action.OpenUrl", "title": each.label, "url": each.url}
            for each in section.buttons
        ]
        items.append({"type": "ActionSet", "actions": actions})
    return {"type": "Container", "items": items}


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
"""Where events go unless the config says otherwise (as for the service region EU)."""

_PAGERDUTY_SUMMARY, _PAGERDUTY_TEXT = 1_024, 4_000
_NOBODY = "quota-watch"


class PagerDuty(Form):
    """`format = "pagerduty"`: an incident per story, which closes when the story is resolved.

    The Events API v2 takes a summary of 1,024 characters, and events of 512 KB. The `routing_key`
    is that of a service or orchestration.
    """

    keeps_incidents = True

    def __init__(self, routing_key: str) -> None:
        self._routing_key = routing_key

    def posts(self, message: Message, now: datetime) -> Sequence[Post]:
        """Make the events of each of a message's facts, in their order."""
        return [
            Post(compact(event)) for facts in message.facts for event in self._events(facts, now)
        ]

    def notice(self, notice: Notice, now: datetime) -> Post:  # noqa: ARG002 -- the form's
        """Trigger an incident: what stopped the watch is a matter for who is on call."""
        incident = {"summary": notice.title, "source": _NOBODY, "severity": "critical"}
        details = {"custom_details": {"text": notice.text}}
        return Post(compact(self._event("trigger", notice.id, payload=incident | details)))

    def complaint(self, answer: bytes) -> tuple[str, float | None]:
        """Read PagerDuty's words for what is wrong with an event."""
        body = json_object(answer)
        errors = body.get("errors")
        parts = [body.get("message"), *(errors[:3] if isinstance(errors, list) else ())]
        return one_line("; ".join(part for part in parts if isinstance(part, str))), None

    def _events(self, facts: Facts, now: datetime) -> list[dict[str, Any]]:
        """Trigger, resolve, or both.

        A test, or an alert that is over when it is sent, triggers an incident and resolves it at
        once, so that none is left open.
        """
        id_, events = facts.alert.id, []
        if not facts.is_end:
            events.append(self._event("trigger", id_, **_incident(facts, now)))
        if facts.is_end or facts.type == TEST or facts.alert.ended_at is not None:
            events.append(self._event("resolve", id_))
        return events

    def _event(self, action: str, id_: str, **more: Any) -> dict[str, Any]:
        return {
            "routing_key": self._routing_key,
            "event_action": action,
            "dedup_key": id_,
            **more,
        }


def _incident(facts: Facts, now: datetime) -> dict[str, Any]:
    alert, organization, link = facts.alert, facts.organization, facts.links.organization
    links = [] if link is None else [{"href": link, "text": "Status page"}]
    incident = {
        "client": "quota-watch",
        "links": links,
        "payload": {
            "summary": fit(subject(facts, now=now), _PAGERDUTY_SUMMARY),
            "source": organization.id if organization else _NOBODY,
            "severity": alert.severity,  # ours are all among theirs
            "timestamp": plain(facts.timestamp),
            "component": organization.server if organization else _NOBODY,
            "group": fit(organization.name if organization else _NOBODY, _PAGERDUTY_TEXT),
            "class": alert.rule,
            "custom_details": _details(facts, now),
        },
    }
    return incident | ({} if link is None else {"client_url": link})


def _details(facts: Facts, now: datetime) -> dict[str, Any]:
    alert, usage, view = facts.alert, facts.usage, view_of(facts, now=now)
    return {
        "summary": fit(join([view.late, alert.summary]), _PAGERDUTY_TEXT),
        "next_step": fit(alert.next_step, _PAGERDUTY_TEXT),
        "level": alert.level,
        "reason": alert.reason,
        "period": plain(facts.period),
        "usage": None if usage is None else by_field(usage, without={"by_type"}),
        "by_type": dict(largest_first(usage.by_type)[:20] if usage else ()),
        "forecast": plain(facts.forecast),
        "lost": plain(facts.lost),
        **{label: fit(text, _PAGERDUTY_TEXT) for label, text in view.facts},
    }
