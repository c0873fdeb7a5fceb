"""A story: one alert from fired to resolved, what it is about, its steps, and silences."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from quota_watch.model.source import Organization
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.verdict import Condition, Reason


@dataclass(frozen=True, slots=True)
class AboutServer:
    """A server, all that one of its keys sees, or an organization there that nobody watches."""

    name: str


@dataclass(frozen=True, slots=True)
class AboutChannel:
    """A channel of the config."""

    name: str


@dataclass(frozen=True, slots=True)
class AboutConfig:
    """The config file."""

    name: str = "config"


AboutOther = AboutServer | AboutChannel | AboutConfig
About = Organization | AboutOther
"""What a story is about."""


class TransitionType(StrEnum):
    """What happened to a story: the webhook's `type` without `alert.`."""

    FIRED = "fired"
    ESCALATED = "escalated"
    REMINDED = "reminded"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One alert from fired to resolved, identified by its key for ever.

    `part` keeps apart alerts of one rule and organization where several can be open. `level`,
    `tier` and `mark` are the highest reported. `occurrence` grows when the same thing becomes true
    again after its end was recorded. `held`: a silence holds back what is true; `told_at` is when a
    message was last sent, None while there was none.
    """

    about: About
    rule: Rule
    period_start: date
    limit: int | None
    occurrence: int
    level: int | None
    severity: Severity
    reason: Reason
    started_at: datetime
    ended_at: datetime | None = None
    part: str = ""
    tier: str | None = None
    mark: str | None = None
    held: bool = False
    told_at: datetime | None = None

    @property
    def key(self) -> str:
        """Server, organization, rule, period, limit, occurrence and subject as one text."""
        about = self.about
        parts = (
            *((about.server, about.id) if isinstance(about, Organization) else ("", "")),
            self.rule,
            self.period_start.isoformat(),
            "-" if self.limit is None else str(self.limit),
            str(self.occurrence),
        )
        return "|".join((*parts, self.subject) if self.subject else parts)

    @property
    def subject(self) -> str:
        """What it is about, as text, beside its organization."""
        return self.part if isinstance(self.about, Organization) else self.about.name

    @property
    def id(self) -> str:
        """The id that receivers know; it never changes."""
        return _digest("al", self.key, self.started_at.isoformat())

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step of a story, sent once per channel.

    `told` False: it is recorded and not sent, because a silence holds it, nobody knows of the story
    that it ends, or it is no news. `condition` is its cause, None where a story ended. `number`
    counts the reminders of a story.
    """

    type: TransitionType
    reason: Reason
    story: Story
    at: datetime
    told: bool = True
    condition: Condition | None = None
    number: int = 0

    @property
    def id(self) -> str:
        """The id that receivers know, the same on every channel and at every retry."""
        story = self.story
        level = "-" if story.level is None else str(story.level)
        parts = [story.id, self.type, level, story.severity.label]
        parts += [] if story.mark is None else [story.mark]
        parts += [str(self.number)] if self.number else []
        parts += [] if self.told else ["untold"]
        return _digest("tr", *parts)

    @property
    def begins(self) -> bool:
        """Whether the story is new with this step."""
        return self.type is TransitionType.FIRED and self.reason is not Reason.SILENCE_ENDED


def _digest(prefix: str, *parts: str) -> str:
    return f"{prefix}_{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nothing is sent from `starts_at` up to `ends_at`; `rule` None: of any rule."""

    rule: Rule | None
    starts_at: datetime
    ends_at: datetime

    def holds(self, rule: Rule, now: datetime) -> bool:
        """Check whether it holds back the messages of `rule` now."""
        return self.rule in {None, rule} and self.starts_at <= now < self.ends_at


def is_silenced(silences: Iterable[Silence], rule: Rule, now: datetime) -> bool:
    """Check whether any of the silences holds back the messages of `rule` now."""
    return any(silence.holds(rule, now) for silence in silences)
