"""What to watch: the rules, and all that the config says about an organization."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import IntEnum, StrEnum
from typing import Self

from quota_watch.model.limit import LimitSource
from quota_watch.model.schedule import QuietHours
from quota_watch.model.source import Organization


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
        """Its word in JSON, mails and the config."""
        return self.name.lower()

    @classmethod
    def of(cls, label: str) -> "Severity":
        """Look up the severity of a word."""
        return cls[label.upper()]


FULL = 100
"""The level, in percent, at which the limit is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """An organization, and all that the config says about it.

    `limit` None: no limit is known, so events are counted and no level is judged. With `auto`
    upstream decides plan and limit; with `drops_agreed` the config decides about `drops`.
    `blind_after` and `stalled_after` None switch the rule off. `channels` names channels of the
    config, `fallback` those for messages that the former fail to deliver; empty: every other one.
    `quiet_hours` hold back all but critical messages. `limit_since` is when the limit replaced
    another one; `lapsed_plan` was paid for until the subscription lapsed. `usual_levels`: nobody
    configured `thresholds`. `budgets` are the sites' shares of the plan by site id, `prices` those
    of plans by name. `public_url` is the status page's address. `variants` are watches with the
    settings for single rules.
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
        """Apply the settings for `rule`."""
        return self.variants.get(rule, self)

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels to judge, ascending; where events are dropped, 100 is always one."""
        return tuple(sorted({*self.thresholds, FULL} if self.drops else {*self.thresholds}))
