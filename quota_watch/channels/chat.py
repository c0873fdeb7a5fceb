"""What a chat message shows of each organization, and what of many fits into one message. Pure."""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import TypeVar

from quota_watch.lib.text import join, number, one_line
from quota_watch.messages.facts import Facts
from quota_watch.messages.view import Button, grouped, subject, view_of
from quota_watch.model.watch import Rule

Made = TypeVar("Made")

_MARKS = {
    "critical": "\N{LARGE RED CIRCLE}",
    "warning": "\N{LARGE ORANGE CIRCLE}",
    "info": "\N{LARGE BLUE CIRCLE}",
    "resolved": "\N{LARGE GREEN CIRCLE}",
    "test": "\N{LARGE PURPLE CIRCLE}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSection:
    """Three lines about one organization, and two buttons.

    `title` begins with the severity, `lead` is the consequence, `figures` what it costs to wait
    and the facts, or what to do where there is nothing to press. `steps` is what to do, in full.
    """

    tone: str
    title: str
    lead: str
    figures: str
    steps: str
    buttons: tuple[Button, ...]

    @property
    def mark(self) -> str:
        """A coloured dot."""
        return _MARKS[self.tone]

    def lines(self, longest: int, escape: Callable[[str], str] = str) -> list[str]:
        """Write what stands below the title, each line cut to `longest` characters."""
        lines = (self.lead, *self.figures.split("\n"))
        return [fit(line, longest, escape) for line in lines if line]


def section_of(*facts: Facts, now: datetime) -> ChatSection:
    """Show facts of one organization, the most severe first, that are sent at `now`."""
    view, alert = view_of(*facts, now=now), facts[0].alert
    steps = join([*view.steps, view.note])
    repeats = view.preheader == view.lead or alert.rule == Rule.BLIND  # a figure says it too
    cost = "" if repeats else view.preheader
    figures = [cost.rstrip("."), *view.figures] if view.figures else [steps]
    lines = [f"{label}: {text}" for label, text in view.facts] if view.report else []
    return ChatSection(
        tone=view.tone,
        title=subject(*facts, now=now),
        lead=join([view.late, alert.lead, *view.others]),
        figures="\n".join(lines) or " · ".join(part for part in figures if part),
        steps=steps,
        buttons=view.buttons,
    )


def sections_of(facts: Sequence[Facts], now: datetime) -> list[ChatSection]:
    """Show what goes together: a section for each organization."""
    return [section_of(*group, now=now) for group in grouped(facts)]


def plain_text(facts: Sequence[Facts], now: datetime) -> str:
    """Write all of a message but its subject as text without any markup."""
    sections = sections_of(facts, now)
    return "\n\n".join(_plain(each, titled=len(sections) > 1) for each in sections)


def _plain(section: ChatSection, *, titled: bool) -> str:
    parts = [
        section.title if titled else "",
        section.lead,
        section.steps if section.steps != section.figures else "",
        section.figures,
        *[f"{button.label}: {button.url}" for button in section.buttons],
    ]
    return "\n".join(part for part in parts if part)


def pack(
    sections: Sequence[ChatSection],
    make: Callable[[ChatSection], Made],
    *,
    most: int,
    budget: int,
    cost: Callable[[Made], int] = lambda block: len(json.dumps(block, separators=(",", ":"))),
) -> tuple[list[Made], Sequence[ChatSection]]:
    """Make the first sections with `make`; return them, and those that no longer fit.

    At most so many, and of at most `budget` in all; the first one is always made.
    """
    blocks: list[Made] = []
    for section in sections[:most]:
        block = make(section)
        budget -= cost(block)
        if blocks and budget < 0:
            break
        blocks.append(block)
    return blocks, sections[len(blocks) :]


def rest(sections: Sequence[ChatSection], longest: int, escape: Callable[[str], str] = str) -> str:
    """List a line for each section while they fit into `longest`, then how many more."""
    lines = [f"{section.mark} {escape(section.title)}" for section in sections]
    ends = list(accumulate(units(line) + 1 for line in lines))
    shown = bisect_right(ends, longest - len("and 1,000,000 more"))
    more = [f"and {number(len(lines) - shown)} more"] if shown < len(lines) else []
    return "\n".join([*lines[:shown], *more])


def units(text: str) -> int:
    """Count a text's length as services do: what is outside the BMP counts twice."""
    return len(text) + sum(char > "\uffff" for char in text)


def fit(text: str, longest: int, escape: Callable[[str], str] = str) -> str:
    """Write `text` on one line, escaped, and cut before that so that it fits into `longest`."""
    line = one_line(text, None)
    if units(escape(line)) <= longest:
        return escape(line)
    length = bisect_right(
        range(1, len(line) + 1), longest, key=lambda n: units(escape(f"{line[:n]}…"))
    )
    return escape(f"{line[:length].rstrip()}…")


def fit_lines(lines: Iterable[str], longest: int) -> str:
    """Join lines while they fit into `longest`; those that don't are left out."""
    kept: list[str] = []
    for line in lines:
        if line and units("\n".join([*kept, line])) <= longest:
            kept.append(line)
    return "\n".join(kept)
