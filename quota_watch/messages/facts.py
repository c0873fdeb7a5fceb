"""The facts of a transition: frozen when it was decided, stored with its deliveries.

`to_json` is the body that webhooks get; mails and chats are rendered from the same facts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from quota_watch.forecast.forecast import ForecastFacts
from quota_watch.forecast.remedies import PlanFit
from quota_watch.lib.machine import resource_dir
from quota_watch.lib.text import Estimate, by_field
from quota_watch.messages.words import DO
from quota_watch.model.watch import Rule, Watch
from quota_watch.rules.story import TransitionType
from quota_watch.views.reports import EntryFacts, PeriodFacts, StoryFacts

VERSION = 1
TEST, REPORT = "test", "report"
"""Types of messages beside those of alerts, and the rules that stand in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFacts:
    """The alert: `title` in a line, `summary` and `next_step` in full, the rest for mails."""

    id: str
    rule: str
    level: int | None
    severity: str
    reason: str
    title: str
    summary: str
    next_step: str
    started_at: datetime
    ended_at: datetime | None
    dropping: bool
    preheader: str = ""
    lead: str = ""
    heading: str = DO
    steps: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationFacts:
    """The organization that it is about; `drops`: whether events past the limit are lost."""

    id: str
    name: str
    plan: str | None
    server: str
    drops: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFacts:
    """What was counted of the period."""

    used: int
    limit: int | None
    percent: float | None
    by_type: Mapping[str, int]
    measured_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """A day: `used` is None where unknown, `expected` what the whole day should count."""

    date: date
    used: int | None
    expected: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """A type or a site, its share and growth, and the setting that switches it off."""

    name: str
    share: float
    growth: float | None
    setting: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceFacts:
    """What would help; `cut_percent` and `switch_off` bring the likely total under the limit."""

    daily_budget: int
    expected_a_day: int
    days_left: float
    span_days: int
    types: tuple[PartFacts, ...]
    sites: tuple[PartFacts, ...]
    cut_percent: int | None
    switch_off: tuple[str, ...]
    saves: int
    plan_that_fits: PlanFit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """A periodic report of the days from `first` to `last`."""

    kind: str
    first: date
    last: date
    organizations: tuple[EntryFacts, ...]
    own: tuple[StoryFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFacts:
    """Where to go: the organization's page, the plan's, the alert's, and the link to silence it.

    `silence` is added when a mail is sent, for its reader alone, and never stored.
    """

    organization: str | None = None
    plan: str | None = None
    why: str | None = None
    silence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a message says of a transition; what does not apply is None."""

    version: int = VERSION
    type: str
    id: str
    timestamp: datetime
    alert: AlertFacts
    organization: OrganizationFacts | None = None
    period: PeriodFacts | None = None
    usage: UsageFacts | None = None
    forecast: ForecastFacts | None = None
    daily: tuple[DayFacts, ...] | None = None
    lost: Estimate | None = None
    advice: AdviceFacts | None = None
    report: ReportFacts | None = None
    links: LinkFacts = LinkFacts()
    time_zone: str = "UTC"

    @property
    def is_end(self) -> bool:
        """Whether it says that an alert ended."""
        return self.type == f"alert.{TransitionType.RESOLVED}"

    @property
    def is_going_on(self) -> bool:
        """Whether it is about an alert that is still open, or was when it was decided."""
        return self.type not in {TEST, REPORT} and not self.is_end

    @property
    def can_be_silenced(self) -> bool:
        """Whether more may follow: an organization's alert that is not over as it fires."""
        return self.organization is not None and self.alert.ended_at is None

    def to_json(self) -> dict[str, Any]:
        """Write the body that webhooks get, and that is stored."""
        return by_field(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Facts":
        """Read what this version or an older one wrote: a message may wait through an upgrade."""
        facts = msgspec.convert(body, cls)
        alert = facts.alert
        if alert.lead:
            return facts
        steps = (alert.next_step,) if alert.next_step else ()  # the first version wrote whole texts
        return replace(facts, alert=replace(alert, lead=alert.summary, steps=steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing to send: its `bodies`, the most severe first, and to whom.

    There are several only where the channel `batches`. `id` is the message's, stable across
    retries, without dots. `recipient` is empty where the channel itself is the receiver.
    """

    id: str
    recipient: str
    bodies: tuple[Mapping[str, Any], ...]

    @property
    def facts(self) -> tuple[Facts, ...]:
        """The facts in the bodies, parsed: ask once for each time it is sent."""
        return tuple(Facts.from_json(body) for body in self.bodies)


EXAMPLES_AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
"""The moment that the examples are of."""

_NAME, _ID = 'Example & "Söhne" <GmbH>', "org_example"


def examples(*, name: str = _NAME, id: str = _ID) -> dict[str, Facts]:  # noqa: A002 - as in the JSON
    """Read examples by name, of the organization called so; they take every branch of a template.

    The first of a rule is the one that shows most of it.
    """
    text = (resource_dir("templates") / "examples.json").read_text(encoding="utf-8")
    for made_up, real in ((_NAME, name), (_ID, id)):
        old, new = (json.dumps(each, ensure_ascii=False)[1:-1] for each in (made_up, real))
        text = text.replace(old, new)
    return {shape: Facts.from_json(body) for shape, body in json.loads(text).items()}


def example_of(rule: Rule, watch: Watch) -> Facts:
    """Read the example of a rule, with the organization of a watch put in."""
    shapes = examples(name=watch.name, id=watch.organization.id).values()
    return next(each for each in shapes if each.alert.rule == rule)
