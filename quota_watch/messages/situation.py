"""What a transition is about, and the sentences that several kinds of message share. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quota_watch.lib.figures import Estimate, days, estimate, events, moment, number, rough, share
from quota_watch.lib.text import NAME, one_line
from quota_watch.model.period import Period
from quota_watch.model.source import Trouble
from quota_watch.model.usage import is_over, percent
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.rules.story import Transition

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A transition with what was known when it was decided."""

    transition: Transition
    watch: Watch
    known: Known

    @property
    def name(self) -> str:
        """The organization's name, fit for a title; its id where the name shows nothing."""
        return one_line(self.watch.name, NAME) or one_line(self.watch.organization.id, NAME)

    @property
    def is_of_one(self) -> bool:
        """Tell whether it is about one organization."""
        return self.transition.story.organization is not None

    @property
    def server(self) -> str:
        """The organization's server."""
        return self.watch.organization.server

    @property
    def subject(self) -> str:
        """What the story is about where that is no organization, fit for a title."""
        return one_line(self.transition.story.subject, NAME)

    @property
    def detail(self) -> Mapping[str, Any]:
        """What the condition carries for those who read of it; empty where a story ended."""
        condition = self.transition.condition
        return (condition.detail if condition else None) or _NOTHING

    @property
    def period(self) -> Period:
        """The period that counts now."""
        return self.known.period

    @property
    def told_period(self) -> Period:
        """The period that the message is about: the present one, or one that is over."""
        condition = self.transition.condition
        return (condition.period if condition else None) or self.period

    @property
    def is_closed(self) -> bool:
        """Tell whether the message is about a period that is over."""
        return self.told_period != self.period

    @property
    def told_lost(self) -> Estimate | None:
        """An estimate of what was dropped in the period that the message is about."""
        closed = self.known.closed
        if not self.is_closed:
            return self.known.lost
        return closed.lost if closed is not None and closed.period == self.told_period else None

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
    def measured_at(self) -> datetime | None:
        """When `used` was counted."""
        return self.known.measured_at

    @property
    def trouble(self) -> Trouble | None:
        """The run of failed polls that a blind alert is about."""
        return self.known.trouble

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
        """Tell whether the limit is passed; exactly at it is not."""
        return self.used is not None and is_over(self.used, self.limit)

    @property
    def is_full(self) -> bool:
        """Tell whether exactly the limit is used."""
        return self.used is not None and self.used == self.limit

    def moment(self, at: datetime) -> str:
        """Return a time in the readers' zone and UTC."""
        return moment(at, self.watch.time_zone)

    def since(self) -> datetime:
        """Return when the trouble began: as the condition says, else when the story did."""
        found = self.detail.get("since")
        return datetime.fromisoformat(found) if found else self.transition.story.started_at

    def told_use(self) -> str:
        """Return what is used of what, and what is left; nothing where that is unknown."""
        if self.used is None:
            return ""
        span = days(self.period.start, self.period.last_day)
        if self.limit is None:
            return f"{self.name} has used {events(self.used)} for {span}; no limit is known."
        part = f" ({self.percent})" if self.percent else ""
        if self.is_over:
            excess = number(self.used - self.limit)
            return (
                f"{self.name} has used {events(self.used)} for {span}, "
                f"{excess} more than its limit of {number(self.limit)}{part}."
            )
        if self.is_full:
            return f"{self.name} has used all of its {events(self.limit)} for {span}{part}."
        left = self.limit - self.used
        return (
            f"{self.name} has used {number(self.used)} of its {events(self.limit)} for {span}"
            f"{part}; {number(left)} {'is' if left == 1 else 'are'} left."
        )

    def told_measurement(self) -> str:
        """Return when it was measured."""
        return f"Measured {self.moment(self.measured_at)}." if self.measured_at else ""

    def told_reset(self) -> str:
        """Return when the count starts again."""
        return f"The count starts again from zero on {self.moment(self.period.resets_at)}."

    def told_loss(self) -> str:
        """Return what becomes of events past the limit."""
        if not self.watch.drops:
            over = "is passed" if self.is_over else "would then be passed"
            return f"No event is lost: this server keeps them all, but the agreed limit {over}."
        gone = "dropped events are gone for good"
        if self.is_over:
            return (
                "Rybbit is dropping its events, or will within 30 minutes (it enforces the limit "
                f"every half hour), until then or until the limit is raised; {gone}."
                f"{self._told_dropped()}"
            )
        start = "With the next event the limit is passed:" if self.is_full else "Past the limit"
        return (
            f"{start} Rybbit drops every event until then; {gone}. "
            "It enforces the limit every half hour."
        )

    def _told_dropped(self) -> str:
        """Return how much is gone and how much goes with every day, as far as that is known."""
        lost, advice = self.known.lost, self.known.advice
        so_far = f" So far {estimate(lost)} have been dropped." if lost else ""
        a_day = advice.expected_a_day if advice else 0
        if not a_day:
            return so_far
        return f"{so_far} With every day about {rough(a_day)} more are lost."
