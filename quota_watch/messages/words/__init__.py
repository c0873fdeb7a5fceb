"""What people read, a file for each kind of trouble; here what all of them share. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from quota_watch.lib.text import (
    NAME,
    Estimate,
    brief,
    days,
    duration,
    events,
    join,
    listed,
    long_day,
    moment,
    number,
    one_line,
    share,
)
from quota_watch.model.period import Period, is_over, percent
from quota_watch.model.watch import FULL, Watch
from quota_watch.rules.known import Known
from quota_watch.rules.story import Transition

CHOOSE, FIX, DO = "Do one of these", "Fix it", "What to do"
"""What stands above the steps: choices, an order to follow, or neither."""

_MOST_NAMES = 3
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A message in words.

    `title` is one line; `lead` the consequence and its date; `preheader` what it costs to wait;
    `steps` what to do, under `heading`, with a `note` on them; `details` the figures behind it.
    """

    title: str
    lead: str
    preheader: str = ""
    details: tuple[str, ...] = ()
    heading: str = DO
    steps: tuple[str, ...] = ()
    note: str = ""

    @property
    def summary(self) -> str:
        """What happened and what it means, as one text."""
        return join([self.lead, *self.details])

    @property
    def next_step(self) -> str:
        """What to do, as one text."""
        return join([*self.steps, self.note])


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A transition, and the time zone of its readers."""

    transition: Transition
    time_zone: str

    @property
    def name(self) -> str:
        """The name of what the story is about, fit for a title."""
        return one_line(self.transition.story.subject, NAME)

    @property
    def detail(self) -> Mapping[str, Any]:
        """What the condition carries for those who read of it; empty where a story ended."""
        condition = self.transition.condition
        return (condition.detail if condition else None) or _NOTHING

    def brief(self, at: datetime) -> str:
        """Write a time of these days in the readers' zone and UTC."""
        return brief(at, self.time_zone)

    def since(self) -> datetime:
        """Say when the trouble began: as the condition says, else when the story did."""
        since = self.detail.get("since")
        return datetime.fromisoformat(since) if since else self.transition.story.started_at

    def lasted(self) -> str:
        """Say how long the trouble has lasted."""
        return duration(self.transition.at - self.since())


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation(Case):
    """A transition of an organization, with all that was known when it was decided."""

    known: Known

    @property
    def watch(self) -> Watch:
        """What is agreed about the organization, with the limit in force."""
        return self.known.watch

    @property
    def name(self) -> str:
        """The organization's name, fit for a title; its id where the name shows nothing."""
        return one_line(self.watch.name, NAME) or one_line(self.watch.organization.id, NAME)

    @property
    def server(self) -> str:
        """The organization's server."""
        return self.watch.organization.server

    @property
    def period(self) -> Period:
        """The period that counts now."""
        return self.known.period

    @property
    def message_period(self) -> Period:
        """The period that the message is about: the present one, or one that is over."""
        condition = self.transition.condition
        return (condition.period if condition else None) or self.period

    @property
    def is_closed(self) -> bool:
        """Whether the message is about a period that is over."""
        return self.message_period != self.period

    @property
    def message_lost(self) -> Estimate | None:
        """An estimate of what was dropped in the period that the message is about."""
        closed = self.known.closed
        if not self.is_closed:
            return self.known.lost
        return closed.lost if closed is not None and closed.period == self.message_period else None

    @property
    def used(self) -> int | None:
        """What the last good poll of the period counted, None where there was none."""
        return self.known.usage.used if self.known.usage else None

    @property
    def by_type(self) -> dict[str, int]:
        """The counts under names that are safe to store and to show; their sum is `used`."""
        totals: Counter[str] = Counter()
        for type_, n in self.known.usage.by_type.items() if self.known.usage else ():
            totals[one_line(type_)] += n
        return dict(totals)

    @property
    def limit(self) -> int | None:
        """The limit that holds now; the story's own may be an older one."""
        return self.watch.limit

    @property
    def percent(self) -> str | None:
        """How much of the limit is used, as text."""
        value = None if self.used is None else percent(self.used, self.limit)
        return None if value is None else share(value)

    @property
    def is_over(self) -> bool:
        """Whether the limit is passed; exactly at it is not."""
        return self.used is not None and is_over(self.used, self.limit)

    @property
    def is_full(self) -> bool:
        """Whether all of the limit is used, or more."""
        return self.used is not None and self.limit is not None and self.used >= self.limit

    def figures(self) -> str:
        """Say what is used of what, when that was counted, and when the count starts again."""
        resets = f"The count restarts on {moment(self.period.resets_at, self.time_zone)}."
        if self.used is None:
            return resets
        used = f"{events(self.used)} (no limit known)"
        if self.limit is not None:
            part = f" ({self.percent})" if self.percent else ""
            used = f"{number(self.used)} of {events(self.limit)}{part}"
        at = self.known.measured_at
        counted = f", counted {moment(at, self.time_zone)}" if at else ""
        span = days(self.period.start, self.period.last_day)
        return f"{used} used for {span}{counted}. {resets}"


def named(names: Sequence[Any], *, of: int | None = None) -> str:
    """List the first names, fit for a title, and how many more there are `of` all."""
    parts = [one_line(str(name), NAME) for name in names[:_MOST_NAMES]]
    more = (len(names) if of is None else of) - len(parts)
    return listed([*parts, f"{number(more)} more"] if more > 0 else parts)


def period_ended(case: Situation) -> Words:
    """Say that a new period ended the alert."""
    story = case.transition.story
    dropped = case.watch.drops and (story.level or 0) >= FULL
    return Words(
        title=f"A new period began for {case.name}",
        lead=join(
            [
                f"The period from {long_day(story.period_start)} is over, and so is this alert.",
                "If events were dropped, collection resumes within 30 minutes." if dropped else "",
            ]
        ),
        details=(case.figures(),),
    )


def plain_end(title: str, lead: str, case: Case, *, steps: tuple[str, ...] = ()) -> Words:
    """Say an end in the same words for everyone, with the `{name}` and `{rule}` put in."""
    return Words(
        title=title.format(name=case.name, rule=case.transition.story.rule),
        lead=lead,
        details=(case.figures(),) if isinstance(case, Situation) else (),
        steps=steps,
    )


switched_off = partial(
    plain_end,
    "The rule {rule} is switched off for {name}",
    "The config ended this alert; whether it still holds is unknown.",
    steps=("If that wasn't intended, switch it on again in the config.",),
)
