"""All that is known of one organization at a moment; every rule judges it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from quota_watch.forecast.forecast import Forecast, KeptForecast
from quota_watch.forecast.outlook import Analysis
from quota_watch.forecast.remedies import PlanFit, Remedies
from quota_watch.lib.text import Estimate
from quota_watch.model.limit import NOT_KNOWN, KnownLimit
from quota_watch.model.period import DayCounts, Period, Usage
from quota_watch.model.source import KnownSite, Mismatch, Reported, Trouble
from quota_watch.model.watch import Rule, Watch
from quota_watch.rules.story import Silence, Story
from quota_watch.rules.verdict import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPeriod:
    """A period that is over: its count, its limit, and what was lost."""

    period: Period
    used: int
    limit: int | None
    lost: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """A change at upstream, reported once; that of a limit includes its new status."""

    reason: Reason
    before: KnownLimit
    after: KnownLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class PastChange:
    """The total of past days before and after they changed, and how many did."""

    before: int
    after: int
    days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that is known of one organization at `at`.

    `watch` is what the config says, with the limit in force; `limit` says where that comes from
    and what disputes it, `limit_as_of` when it was last used or reported. `reported` is upstream's
    last answer on the plan, accepted or not, and `sites` are those it listed. `stories` are those
    of this and the last period and every open one; `silences` those in force at `at`. `polled`:
    there was a poll; `last_ok` is when the last good one was. `interval` is the time between polls
    that the rate budget allows. `pk` is the row's; None: there is none. `days` are the stored days
    of the period, none ahead of the clock; `kept_forecast` is the newest stored forecast of it.

    After a good poll `trouble` is None and `usage` its count. After a failed one `usage` is the
    last count of the period, if any. `measured_at` is when `usage` was counted. `limit_change`
    is new with this poll. `compared`: our count could be compared with upstream's own, and
    `mismatch` is the result. `fell_from` is the count before a clear fall, `past_change` how days
    that were over changed, `closed` the last period, counted once more, and `lost` an estimate of
    what was dropped. `today_by_type` are today's counted events; `analysis` is what is usual and
    what is to come, with `forecast`, `advice` and `plan_fit`, where there are any.
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
    limit_change: LimitChange | None = None
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
        """The day on which the stored forecast passes the limit."""
        crosses_on = None if self.kept_forecast is None else self.kept_forecast.crosses_on
        return None if crosses_on is None else crosses_on.likely

    @property
    def forecast(self) -> Forecast | None:
        """What the period will come to, if it can be forecast."""
        forecast = None if self.analysis is None else self.analysis.forecast
        return forecast if isinstance(forecast, Forecast) else None

    @property
    def advice(self) -> Remedies | None:
        """What would help, where anything is at stake."""
        return None if self.analysis is None else self.analysis.advice

    @property
    def plan_fit(self) -> PlanFit | None:
        """The smallest plan that would do."""
        return None if self.analysis is None else self.analysis.plan_fit

    def stories_of(self, rule: Rule) -> list[Story]:
        """Pick a rule's stories, oldest first."""
        return sorted(
            (story for story in self.stories if story.rule is rule),
            key=lambda story: story.started_at,
        )

    def open_story(self, rule: Rule) -> Story | None:
        """Pick the rule's open story."""
        return next((story for story in self.stories_of(rule) if story.is_open), None)

    def stories_of_limit(self, rule: Rule) -> list[Story]:
        """Pick the rule's stories of this period under the limit in force."""
        return [
            story
            for story in self.stories_of(rule)
            if story.period_start == self.period.start and story.limit == self.watch.limit
        ]
