"""The outlook: what was learned from whole days, stored, and brought up to the minute."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from quota_watch.forecast.forecast import (
    NEW_AFTER,
    DateMemory,
    Forecast,
    TooEarly,
    answer,
    learn_level,
)
from quota_watch.forecast.level import Level
from quota_watch.forecast.remedies import PlanFit, Remedies, remedies, smallest_plan, totals_ahead
from quota_watch.forecast.usual import (
    DayShape,
    Snapshot,
    Usual,
    flat_shape,
    share_at,
    usual_days,
)
from quota_watch.model.period import ONE_DAY, Period, Usage, each_day, highest_level, sum_types
from quota_watch.model.source import SiteCount
from quota_watch.model.watch import Watch

VERSION = 3
"""Of the stored form: an outlook of another version is fitted anew."""

TYPE_DAYS = timedelta(weeks=8)
"""How far back it is looked which types there were."""

NEXT_TO_NOTHING = 0.02
"""Up to this share of what should come counts as stalled."""

_USUAL_TYPES = timedelta(weeks=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The model fitted to an organization's whole days up to `as_of`, for the rest of `period`.

    It holds all that a poll needs of the days before today: `counted` are the whole days of the
    period, `level` what is ahead (or that too few days are known), `shape` the shape of a day,
    `usual` what a day usually has, `usual_types` what each type had in the last four weeks.
    `memory` is the date shown at the end of the day before.
    """

    period: Period
    as_of: date
    counted: Mapping[date, int]
    level: Level | TooEarly
    shape: DayShape
    usual: Usual | None
    usual_types: Mapping[str, int]
    memory: DateMemory | None = None

    def forecast(self, *, now: datetime, counted: int, limit: int | None) -> Forecast | TooEarly:
        """Forecast the period from what was `counted` of the day after `as_of` by `now`."""
        return answer(
            self.level,
            self.counted,
            period=self.period,
            as_of=self.as_of,
            limit=limit,
            counted=counted,
            share=share_at(self.shape, now),
            previous=self.memory,
        )

    def to_json(self) -> dict[str, Any]:
        """Write it as `from_json` reads it, about a kilobyte."""
        return {
            "version": VERSION,
            "period": [self.period.start.isoformat(), self.period.end.isoformat()],
            "as_of": self.as_of.isoformat(),
            "counted": list(map(self.counted.get, each_day(self.period.start, self.as_of))),
            "level": msgspec.to_builtins(self.level),
            "shape": msgspec.to_builtins(self.shape),
            "usual": msgspec.to_builtins(self.usual),
            "types": dict(self.usual_types),
            "memory": msgspec.to_builtins(self.memory),
        }


def fit(
    counted: Mapping[date, int],
    *,
    period: Period,
    as_of: date,
    capped: Collection[date] = (),
    by_type: Mapping[date, Mapping[str, int]] = MappingProxyType({}),
    shape: DayShape | None = None,
    memory: DateMemory | None = None,
) -> Outlook:
    """Fit the model to whole days up to `as_of`: `counted` of two years, `by_type` of four weeks.

    On `capped` days events were dropped: they count as used and are not learned from. `shape` is
    what `learn_shape` made of the snapshots, `memory` the date shown at the end of the day before.
    """
    last = max(by_type, default=date.min)
    return Outlook(
        period=period,
        as_of=as_of,
        counted={day: n for day, n in counted.items() if period.start <= day <= as_of},
        level=learn_level(counted, period=period, as_of=as_of, excluded=capped),
        shape=shape or flat_shape(),
        usual=usual_days(counted, before=as_of + ONE_DAY, excluded=capped),
        usual_types=sum_types(n for day, n in by_type.items() if last - day < _USUAL_TYPES),
        memory=memory,
    )


def from_json(stored: Mapping[str, Any]) -> Outlook | None:
    """Read what `to_json` wrote; None where another version did, or it makes no sense."""
    try:
        if stored["version"] != VERSION:
            return None
        level, (start, end) = stored["level"], msgspec.convert(stored["period"], tuple[date, date])
        counted = enumerate(msgspec.convert(stored["counted"], list[int | None]))
        return Outlook(
            period=Period(start, end),
            as_of=msgspec.convert(stored["as_of"], date),
            counted={start + n * ONE_DAY: count for n, count in counted if count is not None},
            level=msgspec.convert(level, TooEarly)
            if "needed" in level
            else msgspec.convert(level, Level),
            shape=msgspec.convert(stored["shape"], DayShape),
            usual=msgspec.convert(stored["usual"], Usual | None),
            usual_types=msgspec.convert(stored["types"], dict[str, int]),
            memory=msgspec.convert(stored["memory"], DateMemory | None),
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is known of an organization from before today.

    `counted` are the counted events of whole days and `capped` those of them on which events were
    dropped; `by_type` the last eight weeks of them by counted type. `snapshots` are those of the
    last days, up to and with this poll's. `sites` are what each had, where upstream reports it.
    `memory` is the date of the limit shown at the end of the day before.
    """

    counted: Mapping[date, int]
    capped: Collection[date]
    by_type: Mapping[date, Mapping[str, int]]
    snapshots: Sequence[Snapshot]
    shape: DayShape
    sites: Sequence[SiteCount] = ()
    memory: DateMemory | None = None
    _usual: dict[date, Usual | None] = field(default_factory=dict, repr=False, compare=False)

    def usual_before(self, day: date) -> Usual | None:
        """Return what is usual by the whole days before `day`; learned once."""
        if day not in self._usual:
            self._usual[day] = usual_days(self.counted, before=day, excluded=self.capped)
        return self._usual[day]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What follows for this period from the days before today and what was counted of today.

    `outlook` is what was fitted, to be stored. Where it `is_light` that was read: `past` holds no
    days, and what would help was not worked out.
    """

    past: Past
    outlook: Outlook
    forecast: Forecast | TooEarly
    advice: Remedies | None = None
    plan_fit: PlanFit | None = None
    is_light: bool = False


def since_first_event(counted: Mapping[date, int], *, known_from: date | None) -> dict[date, int]:
    """Leave out a month or more of nothing before the first event.

    Upstream was asked for the days from `known_from` on; days of nothing at the beginning are not
    stored.
    """
    first = min((day for day, n in counted.items() if n), default=None)
    if first is None or (first - min(known_from or first, *counted)).days < NEW_AFTER:
        return dict(counted)
    return {day: n for day, n in counted.items() if day >= first}


def analyse(past: Past, *, watch: Watch, usage: Usage, now: datetime, always: bool) -> Analysis:
    """Forecast the period of `usage` at `now`.

    What would help is worked out where a level is reached or the limit may be passed, or `always`.
    """
    outlook = fit(
        past.counted,
        period=usage.period,
        as_of=usage.today - ONE_DAY,
        capped=past.capped,
        by_type=past.by_type,
        shape=past.shape,
        memory=past.memory,
    )
    forecast = outlook.forecast(now=now, counted=usage.used_today, limit=watch.limit)
    advice = plan_fit = None
    if (
        isinstance(forecast, Forecast)
        and watch.limit is not None
        and (always or is_at_stake(forecast, watch=watch, usage=usage))
    ):
        advice = remedies(
            forecast,
            limit=watch.limit,
            period=usage.period,
            now=now,
            by_type=past.by_type,
            sites=past.sites,
            excluded=past.capped,
        )
        totals = totals_ahead(
            forecast, counted=past.counted, period=usage.period, excluded=past.capped
        )
        plan_fit = smallest_plan(totals.values(), plan=watch.plan, prices=watch.prices)
    return Analysis(
        past=past,
        outlook=outlook,
        forecast=forecast,
        advice=advice,
        plan_fit=plan_fit,
    )


def is_at_stake(forecast: Forecast | TooEarly, *, watch: Watch, usage: Usage) -> bool:
    """Return whether a level is reached or the limit may be passed."""
    if isinstance(forecast, TooEarly) or watch.limit is None:
        return False
    level = highest_level(usage.used, watch.limit, watch.levels)
    return level is not None or forecast.p90 > watch.limit


def bring_up_to_date(outlook: Outlook, *, watch: Watch, usage: Usage, now: datetime) -> Analysis:
    """Forecast the period from a stored outlook and what was counted of today."""
    past = Past(
        counted={},
        capped=(),
        by_type={},
        snapshots=[Snapshot(at=now, today=usage.used_today)],
        shape=outlook.shape,
    )
    return Analysis(
        past=past,
        outlook=outlook,
        forecast=outlook.forecast(now=now, counted=usage.used_today, limit=watch.limit),
        is_light=True,
    )


def stalls_rule_out(past: Past, *, after: timedelta | None, today: date) -> float:
    """Return how many events of today make sure that none of the last `after` are missing.

    Reckoned with whole days, so that it holds at any hour; infinite where a part of today may be
    silent although much was counted.
    """
    if after is None:
        return -1.0
    if after < ONE_DAY:
        return math.inf
    earliest = today - timedelta(days=math.ceil(after / ONE_DAY))
    latest = today - timedelta(days=after // ONE_DAY)
    expected = [
        sum(usual.least(day) for day in each_day(earliest, today))
        for began in each_day(earliest, latest)
        if (usual := past.usual_before(began)) is not None
    ]
    return NEXT_TO_NOTHING * max(expected) if expected else -1.0
