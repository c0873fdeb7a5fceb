"""All that is known of one organization at a moment: what every rule judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from quota_watch.forecast.forecast import Crossing, Forecast
from quota_watch.forecast.outlook import Analysis
from quota_watch.forecast.remedies import PlanFit, Remedies
from quota_watch.lib.text import Estimate, by_field
from quota_watch.model.account import KnownSite, Mismatch, Reported
from quota_watch.model.limit import NOT_KNOWN, KnownLimit, LimitChange
from quota_watch.model.period import DayCounts, Period, Usage
from quota_watch.model.source import Trouble
from quota_watch.model.watch import Rule, Watch
from quota_watch.rules.story import Silence, Story


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPeriod:
    """A period that is over: what it came to, the limit it had, and what was lost of it."""

    period: Period
    used: int
    limit: int | None
    lost: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastChange:
    """What days that were over had come to together and come to now, and how many differ."""

    before: int
    after: int
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptForecast:
    """The newest forecast of the period that a poll left: of whole days up to `as_of`."""

    as_of: date
    used: int
    p10: int
    p50: int
    p90: int
    probability_over: float | None
    crosses_on: Crossing | None

    def to_json(self) -> dict[str, Any]:
        """Write it without what was used, which stands beside it."""
        return by_field(self, without={"used"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that is known of one organization at `at`, as the polls up to then left it.

    `watch` is what was agreed, with the limit in force; `limit` says where that is from and what
    speaks against it, and `limit_as_of` when it was last in use or said; `reported` is what
    upstream said last, believed or not, and `sites` those it listed. `stories` are those
    of this and the last period and every open one; `silences` those that hold at `at`. `polled`
    tells whether there ever was a poll, `last_ok` when one last worked; `interval` is the time
    between two as the rate budget lets them be. `pk` is the row's, None where there is none.
    `days` are those of the period that are kept, none ahead of the clock, and `kept_forecast` is
    what a poll last forecast of it.

    After a good poll `trouble` is None and `usage` its count, measured then. After a failed one
    `usage` is what was last known of the period, if anything, measured at `measured_at`.
    `limit_changes` are upstream's, new with this poll; `compared` tells whether our count could
    be compared with upstream's own, and `mismatch` what is held of that. `fell_from` is what was
    used before where clearly less is used now, and `past_change` how days that were over changed.
    `closed` is the last period, counted once more.
    `lost` estimates what was dropped. `today_by_type` are today's counted events, `analysis` is
    what is usual and what is to come, and `forecast`, `advice` and `plan_fit` are of it, where
    there are any.
    """

    watch: Watch
    period: Period
    at: datetime
    usage: Usage | None = None
    measured_at: datetime | None = None
    limit: KnownLimit = NOT_KNOWN
    stories: tuple[Story, ...] = ()
    silences: tuple[Silence, ...] = ()
    pk: int | None = None
    reported: Reported | None = None
    sites: Mapping[str, KnownSite] = field(default_factory=dict)
    limit_as_of: datetime | None = None
    days: Sequence[DayCounts] = ()
    kept_forecast: KeptForecast | None = None
    polled: bool = True
    last_poll: datetime | None = None
    last_ok: datetime | None = None
    next_poll: datetime | None = None
    interval: timedelta | None = None
    trouble: Trouble | None = None
    limit_changes: tuple[LimitChange, ...] = ()
    compared: bool = False
    mismatch: Mismatch | None = None
    fell_from: int | None = None
    past_change: PastChange | None = None
    closed: ClosedPeriod | None = None
    lost: Estimate | None = None
    today_by_type: Mapping[str, int] = field(default_factory=dict)
    analysis: Analysis | None = None

    @property
    def crossing(self) -> date | None:
        """The day on which the limit was last forecast to be passed."""
        crosses_on = None if self.kept_forecast is None else self.kept_forecast.crosses_on
        return None if crosses_on is None else crosses_on.likely

    @property
    def forecast(self) -> Forecast | None:
        """What the period will come to, where that can be told."""
        forecast = None if self.analysis is None else self.analysis.forecast
        return forecast if isinstance(forecast, Forecast) else None

    @property
    def advice(self) -> Remedies | None:
        """What would help against that, where anything is at stake."""
        return None if self.analysis is None else self.analysis.advice

    @property
    def plan_fit(self) -> PlanFit | None:
        """The smallest plan that would do."""
        return None if self.analysis is None else self.analysis.plan_fit

    def stories_of(self, rule: Rule) -> list[Story]:
        """Pick a rule's stories, the latest last."""
        return sorted(
            (story for story in self.stories if story.rule is rule),
            key=lambda story: story.started_at,
        )

    def open_story(self, rule: Rule) -> Story | None:
        """Pick the rule's story that goes on."""
        return next((story for story in self.stories_of(rule) if story.is_open), None)

    def stories_of_limit(self, rule: Rule) -> list[Story]:
        """Pick the rule's stories of this period under the limit in force."""
        return [
            story
            for story in self.stories_of(rule)
            if story.period_start == self.period.start and story.limit == self.watch.limit
        ]
