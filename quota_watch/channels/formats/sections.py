"""What a chat message shows of each of its facts, and what of many fits into one message. Pure."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from quota_watch.lib.figures import number
from quota_watch.lib.text import one_line
from quota_watch.messages.message import Facts
from quota_watch.messages.view import view_of
from quota_watch.messages.wording import subject, told_late

Made = TypeVar("Made")

_MARKS = {
    "critical": "\N{LARGE RED CIRCLE}",
    "warning": "\N{LARGE ORANGE CIRCLE}",
    "info": "\N{LARGE BLUE CIRCLE}",
    "resolved": "\N{LARGE GREEN CIRCLE}",
    "test": "\N{LARGE PURPLE CIRCLE}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One of a message's facts in words.

    `title` begins with the severity, `lines` are pairs of label and text, `link` is a page about
    it or None, `origin` the line that names the alert.
    """

    tone: str
    title: str
    summary: str
    next_step: str
    lines: tuple[tuple[str, str], ...]
    link: str | None
    origin: str

    @property
    def mark(self) -> str:
        """A coloured dot."""
        return _MARKS[self.tone]


def section_of(facts: Facts, now: datetime) -> Section:
    """Return what to show of facts that are sent at `now`."""
    alert, view = facts["alert"], view_of(facts, channel=None)
    late = told_late(facts, now)
    level = "" if alert["level"] is None else f", level {alert['level']} %"
    return Section(
        tone=view.tone,
        title=subject(facts, now=now),
        summary=f"{late} {alert['summary']}" if late else alert["summary"],
        next_step=alert["next_step"],
        lines=view.facts,
        link=facts["links"]["organization"],
        origin=f"quota-watch, alert {alert['id']}, rule {alert['rule']}{level}",
    )


def headline(facts: Sequence[Facts], now: datetime) -> str:
    """Return what the whole message is about: the most severe and how many more there are."""
    return subject(facts[0], now=now, more=len(facts) - 1)


def plain_text(facts: Sequence[Facts], now: datetime) -> str:
    """Return all of a message but its headline as text without any markup."""
    several = len(facts) > 1
    return "\n\n".join(_plain(section_of(each, now), titled=several) for each in facts)


def _plain(section: Section, *, titled: bool) -> str:
    parts = [
        section.title if titled else "",
        section.summary,
        f"What to do: {section.next_step}",
        "\n".join(f"{label}: {text}" for label, text in section.lines),
        section.link or "",
        section.origin,
    ]
    return "\n\n".join(part for part in parts if part)


def pack(
    sections: Iterable[Section],
    make: Callable[[Section], Made],
    *,
    cost: Callable[[Made], int],
    most: int,
    budget: int,
) -> tuple[list[Made], list[Section]]:
    """Return the first sections as `make` makes them, and those that no longer fit.

    At most so many, and of at most `budget` in all; the first one is always made.
    """
    made: list[Made] = []
    left = list(sections)
    while left and len(made) < most:
        next_one = make(left[0])
        budget -= cost(next_one)
        if made and budget < 0:
            break
        made.append(next_one)
        left.pop(0)
    return made, left


def rest(sections: Sequence[Section], longest: int, escape: Callable[[str], str] = str) -> str:
    """Return a line for each section while they fit into `longest`, then how many more."""
    lines: list[str] = []
    spare = longest - len("and 1,000,000 more")
    for section in sections:
        line = f"{section.mark} {escape(section.title)}"
        spare -= units(line) + 1
        if spare < 0:
            lines.append(f"and {number(len(sections) - len(lines))} more")
            break
        lines.append(line)
    return "\n".join(lines)


def units(text: str) -> int:
    """Return a text's length as services count it: what is outside the BMP counts twice."""
    return len(text) + sum(char > "\uffff" for char in text)


def fit(text: str, longest: int, escape: Callable[[str], str] = str) -> str:
    """Return `text` on one line, escaped, and cut before that so that it fits into `longest`."""
    line = one_line(text, None)
    if units(escape(line)) <= longest:
        return escape(line)
    shown = bisect_right(
        range(1, len(line) + 1), longest, key=lambda n: units(escape(f"{line[:n]}…"))
    )
    return escape(f"{line[:shown].rstrip()}…")
