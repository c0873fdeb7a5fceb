"""Discord's webhooks: embeds, and no mention of anybody.

Limits are those of docs.discord.com: 2,000 characters of content; 10 embeds with a title of 256, a
description of 4,096, 25 fields of 256 and 1,024, a footer of 2,048, and 6,000 in all embeds.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from quota_watch.channels.formats.form import Complaint, Form, Post, answered, compact
from quota_watch.channels.formats.sections import (
    Section,
    fit,
    headline,
    pack,
    rest,
    section_of,
    units,
)
from quota_watch.lib.text import one_line
from quota_watch.messages.message import Facts, Message

_CONTENT, _TITLE, _SUMMARY, _STEP, _FIELD = 1_000, 256, 1_200, 1_000, 180
_EMBEDS, _FIELDS, _EMBEDS_TEXT, _REST = 10, 25, 6_000, 1_000
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


def payload(facts: Sequence[Facts], *, now: datetime) -> dict[str, Any]:
    """Return the message for one or more facts, the most severe first."""
    sections = [section_of(each, now) for each in facts]
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
    said = answered(answer)
    words, seconds = said.get("message"), said.get("retry_after")
    known = isinstance(seconds, int | float) and 0 <= seconds <= _LONGEST_SECONDS
    return Complaint(
        one_line(words, _WORDS) if isinstance(words, str) else "",
        seconds if known else None,
    )


def _embed(section: Section) -> dict[str, Any]:
    step = f"**What to do**\n{fit(section.next_step, _STEP, escape)}"
    embed: dict[str, Any] = {
        "title": fit(section.title, _TITLE, escape),
        "description": f"{fit(section.summary, _SUMMARY, escape)}\n\n{step}",
        "color": _COLOURS[section.tone],
        "fields": [
            {"name": label, "value": fit(text, _FIELD, escape), "inline": True}
            for label, text in section.lines[: _FIELDS // 2]
        ],
        "footer": {"text": fit(section.origin, _FIELD)},
    }
    return embed | ({} if section.link is None else {"url": section.link})


def _length(embed: Mapping[str, Any]) -> int:
    """Return how much of what Discord allows for all embeds this one takes."""
    texts = [embed["title"], embed["description"], embed["footer"]["text"]]
    texts += [text for field in embed["fields"] for text in (field["name"], field["value"])]
    return sum(map(units, texts))


def _posts(message: Message, now: datetime) -> tuple[Post, ...]:
    return (Post(compact(payload(message.facts, now=now))),)


DISCORD = Form(posts=_posts, complaint=complaint, takes_period_ends=False, batches=True)
"""`format = "discord"`."""
