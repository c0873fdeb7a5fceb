"""Slack's incoming webhooks: Block Kit, and a line of text for notifications.

Limits and syntax are those of docs.slack.dev: 50 blocks in a message, 3,000 characters in a
section's text, 75 in a button's label.
"""

import re
from collections.abc import Sequence
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
)
from quota_watch.channels.webhook import Complaint, chat_form, compact
from quota_watch.messages.facts import Facts
from quota_watch.messages.view import Button

_TEXT, _LINE, _FALLBACK, _LABEL = 3_000, 1_200, 600, 75
_BLOCKS, _BLOCKS_OF_ONE = 50, 2
_BUDGET = 30_000
_WORD = re.compile(rb"[a-z][a-z_]{2,60}")

_LOOKALIKES = str.maketrans({
    "*": "\N{ASTERISK OPERATOR}",
    "~": "\N{TILDE OPERATOR}",
    "`": "\N{MODIFIER LETTER GRAVE ACCENT}",
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
})  # fmt: skip
_OUTER_LINE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def payload(facts: Sequence[Facts], now: datetime) -> dict[str, Any]:
    """Return the message for one or more facts, the most severe first."""
    sections = sections_of(facts, now)
    most = (_BLOCKS - 1) // _BLOCKS_OF_ONE
    made, left = pack(sections, _blocks, cost=_length, most=most, budget=_BUDGET)
    blocks = [block for each in made for block in each]
    if left:
        blocks.append({"type": "section", "text": _mrkdwn(rest(left, _TEXT, escape))})
    return {
        "text": fit(headline(facts, now), _FALLBACK, escape),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escape(text: str) -> str:
    """Return `text` so that Slack shows it as it is: no mention, no link, no formatting.

    There is an escape for three characters only; those that format become ones that look alike.
    An underscore inside a word formats nothing and stays, as does `>` but at the beginning.
    """
    text = re.sub("^>", "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}", text)
    return _OUTER_LINE.sub("\N{FULLWIDTH LOW LINE}", text).translate(_LOOKALIKES)


def complaint(answer: bytes) -> Complaint:
    """Return Slack's word for what is wrong, such as `no_service`."""
    word = answer.strip()
    return Complaint(word.decode()) if _WORD.fullmatch(word) else Complaint()


def _blocks(section: ChatSection) -> list[dict[str, Any]]:
    lines = [
        f"{section.mark} *{fit(section.title, _FALLBACK, escape)}*",
        fit(section.lead, _LINE, escape),
        *[fit(line, _LINE, escape) for line in section.figures.split("\n")],
    ]
    text = fit_lines(lines, _TEXT)
    blocks: list[dict[str, Any]] = [{"type": "section", "text": _mrkdwn(text)}]
    if section.buttons:
        blocks.append({"type": "actions", "elements": [_button(each) for each in section.buttons]})
    return blocks


def _button(button: Button) -> dict[str, Any]:
    label = {"type": "plain_text", "text": fit(button.label, _LABEL), "emoji": False}
    return {"type": "button", "text": label, "url": fit(button.url, _TEXT)}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _length(blocks: list[dict[str, Any]]) -> int:
    return len(compact({"blocks": blocks}))


SLACK = chat_form(payload, complaint=complaint)
"""`format = "slack"`."""
