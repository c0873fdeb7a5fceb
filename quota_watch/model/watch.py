"""What to watch and all that was agreed about it, by the rules there are."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import IntEnum, StrEnum
from typing import Self

from quota_watch.model.account import Organization
from quota_watch.model.limit import LimitSource
from quota_watch.model.schedule import QuietHours


class Rule(StrEnum):
    """What an alert is about."""

    THRESHOLD = "threshold"
    FORECAST = "forecast"
    SPIKE = "spike"
    STALLED = "stalled"
    BLIND = "blind"
    LIMIT = "limit"
    MISMATCH = "mismatch"
    DELIVERY = "delivery"
    CONFIG = "config"
    DISCOVERED = "discovered"
    ENFORCED = "enforced"
    NO_PLAN = "no_plan"
    MOVED = "moved"
    SITE_BUDGET = "site_budget"


class Severity(IntEnum):
    """How much an alert matters; ordered."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def label(self) -> str:
        """The word for it, as it stands in JSON, mails and the config."""
        return self.name.lower()

    @classmethod
    def of(cls, label: str) -> "Severity":
        """Return the severity called `label`."""
        return cls[label.upper()]


FULL = 100
"""The level, in percent, at which the limit is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What to watch: an organization and all that was agreed about it.

    `limit` None means that no limit is known: counts are kept, levels can't be judged. With
    `auto` upstream's word on plan and limit replaces them; `drops_agreed` tells that `drops` is
    the config's word and stays. `blind_after` and `stalled_after` None switch the rule off.
    `channels` are names of the config's channels, `fallback` those for what they fail to deliver,
    every other one where it is empty. `quiet_hours` hold all but what is critical.
    `limit_since` is when the limit was first read that took another one's place, and
    `lapsed_plan` the plan that was paid for before the subscription lapsed.
    `usual_levels` tells that nobody configured `thresholds`.
    `budgets` are the sites' shares of the plan by the sites' ids, and `prices` what plans cost.
    `public_url` is the status page's address. `variants` are watches with what was agreed for
    single rules.
    """

    organization: Organization
    name: str
    plan: str | None
    limit: int | None
    limit_source: LimitSource
    drops: bool
    not_counted: Collection[str]
    thresholds: tuple[int, ...]
    blind_after: timedelta | None
    channels: tuple[str, ...]
    group: str | None = None
    time_zone: str = "UTC"
    auto: bool = False
    drops_agreed: bool = True
    forecast: bool = False
    spike: bool = False
    stalled_after: timedelta | None = None
    remind_every: timedelta | None = None
    remind_from: Severity = Severity.CRITICAL
    fallback: tuple[str, ...] = ()
    quiet_hours: QuietHours | None = None
    limit_since: date | None = None
    lapsed_plan: str | None = None
    usual_levels: bool = False
    public_url: str | None = None
    budgets: Mapping[str, int] = field(default_factory=dict)
    prices: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[Rule, Self] = field(default_factory=dict)

    def of(self, rule: Rule) -> Self:
        """Return what was agreed for `rule`."""
        return self.variants.get(rule, self)

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels to judge, rising; 100 is always one where events are dropped."""
        return tuple(sorted({*self.thresholds, FULL} if self.drops else {*self.thresholds}))
