"""Foresee: what a period will come to and what is usual, from what is kept and what was counted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from quota_watch.forecast.day_shape import DayShape, Snapshot, share_at
from quota_watch.forecast.forecast import NEW_AFTER, Forecast, PartDay, TooEarly, forecast
from quota_watch.forecast.plan_fit import PlanFit, smallest_plan, totals_ahead
from quota_watch.forecast.remedies import Remedies, SiteCount, remedies
from quota_watch.forecast.usual import Usual, usual_days
from quota_watch.model.period import ONE_DAY, BillingCycle
from quota_watch.model.usage import Usage, highest_level
from quota_watch.model.watch import Watch

TYPE_DAYS = timedelta(weeks=8)
"""How far back it is looked which types there were."""

_USUAL_TYPES = timedelta(weeks=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is known of an organization from before today.

    `counted` are the counted events of whole days and `capped` those of them on which events were
    dropped; `by_type` the last eight weeks of them by counted type. `snapshots` are those of the
    last days, up to and with this poll's. `sites` are what each had, where upstream told.
    """

    counted: Mapping[date, int]
    capped: Collection[date]
    by_type: Mapping[date, Mapping[str, int]]
    snapshots: Sequence[Snapshot]
    shape: DayShape
    sites: Sequence[SiteCount] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What follows for this period; `usual` is learned from the days before today."""

    past: Past
    forecast: Forecast | TooEarly
    usual: Usual | None
    advice: Remedies | None = None
    plan_fit: PlanFit | None = None

    @property
    def usual_types(self) -> dict[str, int]:
        """What each type had over the last four weeks."""
        first = max(self.past.by_type, default=date.min)
        totals: dict[str, int] = {}
        for day, types in self.past.by_type.items():
            if first - day < _USUAL_TYPES:
                for name, n in types.items():
                    totals[name] = totals.get(name, 0) + n
        return totals


def since_first_event(counted: Mapping[date, int], *, known_from: date | None) -> dict[date, int]:
    """Return the days without a month or more of nothing before the first event.

    From `known_from` on upstream was asked; days of nothing at the beginning are not kept.
    """
    first = min((day for day, n in counted.items() if n), default=None)
    if first is None:
        return dict(counted)
    silent = min(known_from or first, *counted)
    if (first - silent).days < NEW_AFTER:
        return dict(counted)
    return {day: n for day, n in counted.items() if day >= first}


def foresee(
    past: Past, *, watch: Watch, usage: Usage, cycle: BillingCycle, now: datetime, always: bool
) -> Foresight:
    """Foretell the period of `usage` at `now`.

    What would help is worked out where a level is reached or the limit may be passed, or `always`.
    """
    part = PartDay(usage.used_today, share_at(past.shape, now))
    seen = forecast(
        past.counted,
        period=usage.period,
        as_of=usage.today - ONE_DAY,
        limit=watch.limit,
        excluded=past.capped,
        part=part,
    )
    usual = usual_days(past.counted, before=usage.today, excluded=past.capped)
    if isinstance(seen, TooEarly) or watch.limit is None:
        return Foresight(past=past, forecast=seen, usual=usual)
    told = highest_level(usage.used, watch.limit, watch.levels) is not None
    if not (always or told or seen.p90 > watch.limit):
        return Foresight(past=past, forecast=seen, usual=usual)
    totals = totals_ahead(
        seen, counted=past.counted, period=usage.period, cycle=cycle, excluded=past.capped
    )
    return Foresight(
        past=past,
        forecast=seen,
        usual=usual,
        advice=remedies(
            seen,
            limit=watch.limit,
            period=usage.period,
            now=now,
            by_type=past.by_type,
            sites=past.sites,
            excluded=past.capped,
        ),
        plan_fit=smallest_plan(totals, plan=watch.plan),
    )
