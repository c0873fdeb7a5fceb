"""Discord's webhooks: embeds, and no mention of anybody.

Limits are those of docs.discord.com: 2,000 characters of content; 10 embeds with a title of 256 and
a description of 4,096, and 6,000 in all embeds.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from quota_watch.channels.chat import (
    ChatSection,
    fit,
    fit_lines,
    headline,
    pack,
    rest,
    sections_of,
    units,
)
from quota_watch.channels.webhook import Complaint, answered, chat_form
from quota_watch.lib.text import one_line
from quota_watch.messages.facts import Facts
from quota_watch.messages.view import Button

_CONTENT, _TITLE, _LINE, _TEXT = 1_000, 256, 1_000, 4_000
_EMBEDS, _EMBEDS_TEXT, _REST = 10, 6_000, 1_000
_WORDS = 100
_LONGEST_SECONDS = 10**6  # neither NaN nor what no timedelta can hold
_COLOURS = {
    "critical": 0xDC2626,
    "warning": 0xE08A00,
    "info": 0x2F7DE1,
    "resolved": 0x2A9D63,
    "test": 0x6A6AD8,
}
# What formats, mentions and links anywhere; what makes lists, headings and quotes at a beginning;
# and the colons of addresses and emoji.
_MARKUP = re.compile(r"[\\*_~`|\[\]<@]|^[#>-]|(?:(?<=^\d)|(?<=^\d\d))\.(?=\s)|:(?=//|\w+:)")


def payload(facts: Sequence[Facts], now: datetime) -> dict[str, Any]:
    """Return the message for one or more facts, the most severe first."""
    sections = sections_of(facts, now)
    budget = _EMBEDS_TEXT - (_REST if len(sections) > 1 else 0)
    embeds, left = pack(sections, _embed, cost=_length, most=_EMBEDS - 1, budget=budget)
    if left:
        embeds.append({"description": rest(left, _REST, escape)})
    return {
        "content": fit(headline(facts, now), _CONTENT, escape),
        "embeds": embeds,
        "allowed_mentions": {"parse": []},
    }


def escape(text: str) -> str:
    """Return `text` so that Discord shows it as it is: no mention, no link, no formatting."""
    return _MARKUP.sub(r"\\\g<0>", text)


def complaint(answer: bytes) -> Complaint:
    """Return Discord's words and, where it limits the rate, the seconds to wait."""
    body = answered(answer)
    words, seconds = body.get("message"), body.get("retry_after")
    known = isinstance(seconds, int | float) and 0 <= seconds <= _LONGEST_SECONDS
    return Complaint(
        one_line(words, _WORDS) if isinstance(words, str) else "",
        seconds if known else None,
    )


def _embed(section: ChatSection) -> dict[str, Any]:
    lines = [fit(section.lead, _LINE, escape)]
    lines += [fit(line, _LINE, escape) for line in section.figures.split("\n")]
    lines.append(" · ".join(f"[{_label(each)}]({_url(each.url)})" for each in section.buttons))
    return {
        "title": fit(section.title, _TITLE, escape),
        "description": fit_lines(lines, _TEXT),
        "color": _COLOURS[section.tone],
    }


def _label(button: Button) -> str:
    """Write a label that can't end the link it stands in; Discord's webhooks have no buttons."""
    return escape(button.label).replace("]", "")


def _url(url: str) -> str:
    return fit(url, _LINE).replace("(", "%28").replace(")", "%29").replace("<", "%3C")


def _length(embed: Mapping[str, Any]) -> int:
    """Count how much of what Discord allows for all embeds this one takes."""
    return units(embed["title"]) + units(embed["description"])


DISCORD = chat_form(payload, complaint=complaint)
"""`format = "discord"`."""
