"""Forecast the total of a period, how sure it is, and when the limit is reached."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from itertools import accumulate
from statistics import NormalDist
from typing import Any, Self

from quota_watch.forecast.capped import day_over, days_to_learn_from
from quota_watch.forecast.level import Level, fit_level
from quota_watch.lib.text import by_field
from quota_watch.model.period import ONE_DAY, Period, each_day

ENOUGH_DAYS = 3
"""Known days without which there is no forecast."""

NEW_AFTER = 28
"""After so many days without events the first one begins a new history."""

# Step 5 looks back a year, four weeks and the days ahead.
_MOST_DAYS = 430
_NORMAL = NormalDist()
_ONE_IN_TEN = 0.1
_Z10 = _NORMAL.inv_cdf(1 - _ONE_IN_TEN)
# Step 8 of docs/forecast.md: at 0.15 to 0.2 spreads the date shown changes on 21 to 19 % of days
# and turns back 1.6 to 1.4 times a month, not 2.9 times, and is off by 0.05 to 0.07 days more.
_STEADY = 0.17
# Step 7: what more or less of all of it gives is a table in docs/forecast.md. The least grows with
# the square of the spread: with 0.15 spreads instead, 3.1 % of first months are warned of in vain
# at 1.25 times the total, not 2.6, for the same net; so on either half of the series.
_EVIDENCE, _EVIDENCE_NONE, _EVIDENCE_SPREAD, _EVIDENCE_LEAST = 4.0, 0.18, 0.25, 0.3


@dataclass(frozen=True, slots=True)
class TooEarly:
    """There are too few known days for a forecast."""

    days: int
    needed: int = ENOUGH_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """The days on which the limit is passed if more, as much, or less comes than expected.

    One in ten is earlier than `early`, one in ten later than `late`. None: not in this period.
    """

    early: date | None
    likely: date | None
    late: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DateMemory:
    """The likely date that was shown last for a limit, and whether it was sure enough to warn.

    Without it the date shown would move on every third day, back and forth. `used` is the total of
    the whole days of the period up to `as_of`: where they changed, the date is forgotten.
    """

    as_of: date
    used: int
    limit: int
    likely: date | None
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastFacts:
    """What a period is likely to end with, how sure, and when the limit is reached.

    The total will be below `p10`, `p50`, `p90` with 10, 50 and 90 chances in 100. What follows is
    None where no limit is known.
    """

    p10: int
    p50: int
    p90: int
    probability_over: float | None
    crosses_on: Crossing | None

    @classmethod
    def of(cls, forecast: "ForecastFacts", **more: Any) -> Self:
        """Take from a forecast what messages show."""
        values = {each.name: getattr(forecast, each.name) for each in fields(ForecastFacts)}
        return cls(**values, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptForecast(ForecastFacts):
    """A forecast as it is stored, made of whole days up to `as_of` and the `used` of then."""

    as_of: date
    used: int

    def to_json(self) -> dict[str, Any]:
        """Write it without `used`, which stands beside it."""
        return {"as_of": self.as_of.isoformat()} | by_field(self, without={"as_of", "used"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast(KeptForecast):
    """The expected total of a period, in counted events, as it is made.

    A limit below `warn_at` is worth a warning now. `path` is what is still to come on each of the
    days after `as_of`. `memory` is for the forecast after this one; None where no limit is known.
    """

    warn_at: int
    path: tuple[float, ...]
    memory: DateMemory | None = None


def forecast(
    counts: Mapping[date, int],
    *,
    period: Period,
    as_of: date,
    limit: int | None = None,
    excluded: Collection[date] = frozenset(),
    counted: int = 0,
    share: float = 0.0,
    previous: DateMemory | None = None,
) -> Forecast | TooEarly:
    """Forecast the total of `period` from whole days up to `as_of`: learn, and answer at once.

    `as_of` is a day of the period or the one before it.
    """
    return answer(
        learn_level(counts, period=period, as_of=as_of, excluded=excluded),
        counts,
        period=period,
        as_of=as_of,
        limit=limit,
        counted=counted,
        share=share,
        previous=previous,
    )


def learn_level(
    counts: Mapping[date, int],
    *,
    period: Period,
    as_of: date,
    excluded: Collection[date] = frozenset(),
) -> Level | TooEarly:
    """Learn from whole days up to `as_of` what the rest of the period is like.

    Days that are missing, `excluded` (capped) or of an outage are left out.
    """
    days, silent = days_to_learn_from(counts, as_of=as_of, excluded=excluded)
    # A month of nothing before the first event is none of the organization's.
    first = next((place for place, day in enumerate(days) if counts[day]), 0)
    days = days[first if first >= NEW_AFTER else 0 :][-_MOST_DAYS:]
    if len(days) < ENOUGH_DAYS:
        return TooEarly(len(days))
    return fit_level(
        [counts[day] for day in days],
        [day.toordinal() for day in days],
        max((period.last_day - as_of).days, 1),
        silent=silent,
    )


def answer(
    level: Level | TooEarly,
    counts: Mapping[date, int],
    *,
    period: Period,
    as_of: date,
    limit: int | None = None,
    counted: int = 0,
    share: float = 0.0,
    previous: DateMemory | None = None,
) -> Forecast | TooEarly:
    """Bring what was learned of the days up to `as_of` up to the minute.

    `counts` hold the period's days; what is excluded from learning still counts as used.
    `counted` is what the day after `as_of` has had, `share` how much of a usual day is by now.
    """
    if isinstance(level, TooEarly):
        return level
    used = {day: count for day, count in counts.items() if period.start <= day <= as_of}
    ahead = list(each_day(as_of + ONE_DAY, period.last_day))
    odds = _odds(level, ahead, sum(used.values()), counted=counted, share=share)
    warn_at = round(odds.warn_at(len(ahead) / period.days))
    probability = crossing = memory = None
    if limit is not None:
        previous = _if_it_holds(previous, used, limit, sure=limit < warn_at)
        probability = odds.over(limit)
        crossing = _crossing(odds, used, ahead, limit, previous)
        memory = DateMemory(
            as_of=as_of,
            used=sum(used.values()),
            limit=limit,
            likely=crossing.likely,
            sure=limit < warn_at or (previous is not None and previous.sure),
        )
    return Forecast(
        as_of=as_of,
        used=odds.used,
        p10=math.floor(odds.total(odds.low())),
        p50=round(odds.total(1)),
        p90=math.ceil(odds.total(odds.stretch(_Z10))),
        warn_at=warn_at,
        path=odds.path,
        probability_over=probability,
        crosses_on=crossing,
        memory=memory,
    )


def _if_it_holds(
    previous: DateMemory | None, used: Mapping[date, int], limit: int, *, sure: bool
) -> DateMemory | None:
    """Return what was shown before; None where limit or days changed, or it is surer now."""
    if previous is None or previous.limit != limit or (sure and not previous.sure):
        return None
    then = sum(count for day, count in used.items() if day <= previous.as_of)
    return previous if previous.used == then else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Odds:
    """How the total is spread: what was used, and a sum to come that is log-normal each side.

    `lasts` is the chance that an outage goes on to the end of the period and nothing comes.
    """

    used: int
    path: tuple[float, ...]
    spread_down: float
    spread_up: float
    lasts: float

    @property
    def to_come(self) -> float:
        return math.fsum(self.path)

    def stretch(self, z: float) -> float:
        """Return the sum of the days ahead at `z` standard deviations, over the expected sum."""
        return math.exp(z * (self.spread_up if z > 0 else self.spread_down))

    def low(self) -> float:
        """Return the sum of the days ahead that one in ten is below, over the expected sum."""
        return 0.0 if self.lasts > _ONE_IN_TEN else self.stretch(-_Z10)

    def total(self, stretch: float) -> float:
        return self.used + self.to_come * stretch

    def over(self, limit: int) -> float:
        """Return the probability that the total ends over the limit."""
        # Events come whole: over the limit is what rounds to more than it.
        room = limit + 0.5 - self.used
        if room < 0 or self.to_come <= 0:
            return float(room < 0)
        distance = math.log(room / self.to_come)
        spread = self.spread_up if distance > 0 else self.spread_down
        return round((1 - self.lasts) * _NORMAL.cdf(-distance / spread), 3)

    def warn_at(self, left: float) -> float:
        """Return the total of which there is evidence enough to warn, by the share still left.

        Early in the period it has to be strong, in the last sixth a little more than none. That
        the spread itself is a guess is allowed for.
        """
        spread = (self.spread_down + self.spread_up) / 2
        evidence = _EVIDENCE * max(0.0, left - _EVIDENCE_NONE) ** 2 * (spread + _EVIDENCE_SPREAD)
        return self.total((1 - self.lasts) * math.exp(-max(evidence, _EVIDENCE_LEAST * spread**2)))


def _odds(level: Level, ahead: Sequence[date], used: int, *, counted: int, share: float) -> _Odds:
    path = [level.a_day * level.factors[day.weekday()] for day in ahead]
    silent = level.silent
    if path:
        used += counted
        # The day's pace so far counts as far as the day has come.
        path[0] = (path[0] * (1 - share) + counted) * (1 - share)
        silent = 0 if counted else silent
    return _Odds(
        used=used,
        path=tuple(path),
        spread_down=level.spread_down,
        spread_up=level.spread_up,
        # An outage lasts about as long again as it has: half of those of n days end within n more.
        lasts=silent / (silent + len(ahead)) if silent else 0.0,
    )


def _crossing(
    odds: _Odds,
    used: Mapping[date, int],
    ahead: Sequence[date],
    limit: int,
    previous: DateMemory | None,
) -> Crossing:
    passed = day_over(sorted(used.items()), 0, limit)
    if passed is None and odds.used > limit:
        passed = ahead[0]
    if passed is not None:
        return Crossing(early=passed, likely=passed, late=passed)

    def day_at(stretch: float) -> date | None:
        path = zip(ahead, odds.path, strict=True)
        return day_over([(day, count * stretch) for day, count in path], odds.used, limit)

    likely = day_at(1.0)
    if previous is not None:
        first, last = day_at(odds.stretch(_STEADY)), day_at(odds.stretch(-_STEADY))
        if (first or date.max) <= (previous.likely or date.max) <= (last or date.max):
            likely = previous.likely
    return Crossing(early=day_at(odds.stretch(_Z10)), likely=likely, late=day_at(odds.low()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAhead:
    """What is expected of a day to come, and the total by its end with its 80 % range."""

    date: date
    expected: int
    p10: int
    p50: int
    p90: int


def days_ahead(forecast: KeptForecast, path: Sequence[float]) -> list[DayAhead]:
    """Share the forecast's total out to the days after its own, of which the first is today.

    `path` is what each of them is expected to bring, the first what is left of it; the range
    widens from nothing as the path advances.
    """
    used, whole = forecast.used, sum(path)

    def total(end: int, events: float, place: int) -> int:
        share = events / whole if whole > 0 else place / len(path)
        return round(used + max(end - used, 0) * share)

    return [
        DayAhead(
            date=forecast.as_of + place * ONE_DAY,
            expected=round(path[place - 1]),
            p10=total(forecast.p10, events, place),
            p50=total(forecast.p50, events, place),
            p90=total(forecast.p90, events, place),
        )
        for place, events in enumerate(accumulate(path), start=1)
    ]
