"""Days that are no measure of others: capped ones, with what was lost, and those of an outage."""

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import compress, pairwise
from statistics import fmean

from quota_watch.lib.text import Estimate
from quota_watch.model.period import ONE_DAY, Period, each_day

COLLAPSED = 0.25
"""Below this share of what was expected a day's count is not traffic but what got through."""

# Step 1 of docs/forecast.md: outages. After ten dead days that come back the likely total is 7 %
# too low (it was 77 % with them), and from the eleventh on a site is taken for closed. A usual
# day has at least 20 events: from 10 on, days of a sparse site were left out and warned in vain.
_OUTAGE_LONGEST, _OUTAGE_HABIT, _OUTAGE_WEEKS = 10, 2, 26
_DEAD, _DEAD_LEAST = 0.02, 20
_ALIKE, _ALIKE_LEAST, _ALIKE_WEEKS, _DAYS_BEFORE = 4, 3, 8, 7
# Step 1 too: of weekly sums it made five times the month, silently; of 40 % missing days none is.
_ALONE = timedelta(days=3)
_WEEKS = 6
_LEAST_DAYS = 3
_ONE_IN_TEN = 10


def capped_days(
    counted: Mapping[date, int],
    *,
    period: Period,
    limit: int,
    today: date,
    known: Collection[date] = (),
    since: date | None = None,
) -> frozenset[date]:
    """Return the days of `period` on which events past `limit` were dropped.

    `counted` holds the counted events of the period's days and of those before it; `known` are
    days marked earlier, which are no measure of others. A day counts as capped where its count
    collapsed after the crossing; the crossing day where the next one did. Today is judged as
    yesterday was, until it is over. Nothing was dropped before `since`, when the limit was first
    known to hold.
    """
    crossing = crossing_day(counted, period=period, limit=limit, since=since)
    if crossing is None:
        return frozenset()
    measure = baseline(counted, before=crossing, without=known)
    after = list(each_day(crossing + ONE_DAY, min(today, period.last_day)))
    weekdays = _by_weekday(measure, after)
    collapsed = {
        day
        for day in after
        if day != today and counted.get(day, 0) < COLLAPSED * (weekdays[day.weekday()] or 0.0)
    }
    if today in after and today - ONE_DAY in collapsed:
        collapsed.add(today)
    return frozenset(collapsed | {crossing} if crossing + ONE_DAY in collapsed else collapsed)


def crossing_day(
    counted: Mapping[date, int], *, period: Period, limit: int, since: date | None = None
) -> date | None:
    """Return the day on which the count went over `limit`, none before `since`, or None."""
    first, end = period.start, period.end  # at hand: an overview asks of thousands of days
    days = sorted((day, count) for day, count in counted.items() if first <= day < end)
    crossing = day_over(days, 0, limit)
    if crossing is None or (since is not None and since >= end):
        return None
    return max(crossing, since or crossing)


def day_over(days: Iterable[tuple[date, float]], used: float, limit: int) -> date | None:
    """Return the day on which what was `used` and what the days bring goes over `limit`."""
    for day, count in days:
        used += count
        if used > limit:
            return day
    return None


def _by_weekday(measure: Mapping[date, int], days: Iterable[date]) -> dict[int, float | None]:
    """Return what days should have by weekday, for those that are among `days`.

    The mean of the weekday, else of all days; None where too few are known.
    """
    same: dict[int, list[int]] = {day.weekday(): [] for day in days}
    for day, n in measure.items():
        if (weekday := day.weekday()) in same:
            same[weekday].append(n)
    of_all = fmean(measure.values()) if len(measure) >= _LEAST_DAYS else None
    return {
        n: fmean(counts) if len(counts) >= _LEAST_DAYS else of_all for n, counts in same.items()
    }


def baseline(
    counted: Mapping[date, int], *, before: date, without: Collection[date]
) -> dict[date, int]:
    """Return the days of the six weeks before `before` that are a measure of others."""
    first = before - timedelta(weeks=_WEEKS)
    return {day: n for day, n in counted.items() if first <= day < before and day not in without}


def spread(measure: Mapping[date, int]) -> tuple[float, float]:
    """Return the tenth and ninetieth percentile of days in terms of what was expected of them."""
    usual = _by_weekday(measure, measure)
    ratios = sorted(n / mean for day, n in measure.items() if (mean := usual[day.weekday()]))
    if not ratios:
        return 1.0, 1.0
    cut = len(ratios) // _ONE_IN_TEN
    return min(1.0, ratios[cut]), max(1.0, ratios[-1 - cut])


@dataclass(frozen=True, slots=True, kw_only=True)
class DayLoss:
    """What one capped day counted, and an estimate of what it should have had beyond that."""

    day: date
    counted: int
    lost: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Events dropped so far, and those to come if nothing is done.

    `total` sums `days`, of which today's is what is lost by now. `a_day` is what a day still to
    come would lose on average, `until_reset` all of them with the rest of today; both null-sized
    after the period's last day.
    """

    days: tuple[DayLoss, ...]
    total: Estimate
    a_day: Estimate
    until_reset: Estimate


def losses(
    counted: Mapping[date, int],
    *,
    capped: Collection[date],
    period: Period,
    today: date,
    share: float = 0.0,
) -> Losses | None:
    """Estimate what the capped days of `period` lost; None where there are none or no measure.

    `counted` holds the six weeks before the first of them too; `share` is how much of a usual
    day is by now. Each day should have had what its weekday usually has; the band is that of
    four in five days around the same measure. The sums take all days to stray the same way, so
    their bands are rather too wide.
    """
    days = sorted(day for day in capped if day in period and day <= today)
    later = list(each_day(today + ONE_DAY, period.last_day))
    measure = baseline(counted, before=min(days, default=date.max), without=capped)
    weekdays, band = _by_weekday(measure, [*days, today, *later]), spread(measure)
    usual = {day: weekdays[day.weekday()] or 0.0 for day in (*days, today, *later)}
    if not days or not any(usual.values()):
        return None
    share = min(max(share, 0.0), 1.0)
    each = [
        DayLoss(
            day=day,
            counted=counted.get(day, 0),
            lost=_missing(usual[day] * (share if day == today else 1), counted.get(day, 0), band),
        )
        for day in days
    ]
    to_come = sum(usual[day] for day in later)
    rest = usual[today] * (1 - share) if today in period else 0.0
    return Losses(
        days=tuple(each),
        total=Estimate(
            low=sum(day.lost.low for day in each),
            likely=sum(day.lost.likely for day in each),
            high=sum(day.lost.high for day in each),
        ),
        a_day=_missing(to_come / len(later) if later else 0.0, 0, band),
        until_reset=_missing(to_come + rest, 0, band),
    )


def lost(
    counted: Mapping[date, int], *, capped: Collection[date], period: Period, today: date
) -> Estimate | None:
    """Estimate what the days of `period` before `today` lost; None where none is capped."""
    estimate = losses(counted, capped=capped, period=period, today=today)
    return None if estimate is None or estimate.days[0].day == today else estimate.total


def _missing(usual: float, counted: int, band: tuple[float, float]) -> Estimate:
    likely = max(0.0, usual - counted)
    return Estimate(
        low=round(max(0.0, likely - usual * (1 - band[0]))),
        likely=round(likely),
        high=round(likely + usual * (band[1] - 1)),
    )


def days_to_learn_from(
    counts: Mapping[date, int], *, as_of: date, excluded: Collection[date] = ()
) -> tuple[list[date], int]:
    """Return the days up to `as_of` that a forecast can learn from, in order.

    Left out are days `excluded` (capped), those of an outage, and days with no other within three
    days, which may be the sum of a week. Also return how long an outage that is not over has
    lasted: after ten days the site is taken for closed, and only those days count.
    """
    known = sorted(day for day in counts if day <= as_of)
    left_out = {*excluded, *_alone(known)}
    days = [day for day in known if day not in left_out]
    runs = outages(counts, days)
    lasting = runs[-1] if runs and runs[-1][-1] == days[-1] else []
    if len(lasting) > _OUTAGE_LONGEST:
        return lasting, 0
    dead = {day for run in runs for day in run}
    return [day for day in days if day not in dead], len(lasting)


def outages(counts: Mapping[date, int], days: Sequence[date]) -> list[list[date]]:
    """Return the runs of days on which tracking was dead: next to nothing where much is usual.

    Days of nothing within such a run belong to it, quiet weekends too. The third one in half a
    year is a habit and is learned from.
    """
    most = _DEAD * max(map(counts.__getitem__, days), default=0)
    dead: set[date] = set()
    runs: list[list[date]] = []
    for place, day in enumerate(days):
        if counts[day] > most:
            continue
        goes_on = bool(runs) and place > 0 and runs[-1][-1] == days[place - 1]
        if not (goes_on and not counts[day]) and not _is_dead(counts, days, place, dead):
            continue
        if not goes_on:
            since = day - timedelta(weeks=_OUTAGE_WEEKS)
            if sum(run[-1] >= since for run in runs) >= _OUTAGE_HABIT:
                continue
            runs.append([])
        runs[-1].append(day)
        dead.add(day)
    return runs


def _is_dead(
    counts: Mapping[date, int], days: Sequence[date], place: int, dead: Collection[date]
) -> bool:
    """Return whether a day has next to nothing where much is usual.

    It is compared with the last four of its weekday, in the first weeks with the days just
    before, and of them with the second least: days that are often quiet, at weekends or where
    traffic is sparse, are never dead.
    """
    day, before = days[place], days[max(0, place - _DAYS_BEFORE) : place]
    same = (day - timedelta(weeks=n) for n in range(1, _ALIKE_WEEKS + 1))
    alike = [counts[each] for each in same if each in counts and each not in dead][:_ALIKE]
    if len(alike) < _ALIKE_LEAST:
        alike = [counts[each] for each in before if each not in dead]
    usual = sorted(alike)[1] if len(alike) >= _ALIKE_LEAST else 0
    return usual >= _DEAD_LEAST and counts[day] <= _DEAD * usual


def _alone(known: Sequence[date]) -> Iterable[date]:
    """Return the days that have no other within three days."""
    if not known or (known[-1] - known[0]).days < len(known):
        return ()  # none is missing, as nearly always
    gaps = [later - earlier > _ALONE for earlier, later in pairwise(known)]
    return compress(known, map(operator.and_, [True, *gaps], [*gaps, True]))
