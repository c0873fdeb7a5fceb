"""Which plan of the catalogue fits what is to come, and when a smaller one would do."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean

from quota_watch.forecast.forecast import Forecast
from quota_watch.model.period import BillingCycle, Period
from quota_watch.model.plan import RYBBIT_PLANS, Plan

HARDLY_USED_PERCENT = 40
"""A limit of which no more was used, three periods in a row, is larger than needed."""

_FAMILIES = ("standard", "pro", "basic")
_USUAL_FAMILY = "standard"
_PERIODS_AHEAD = 2
_HARDLY_USED_PERIODS = 3
_ROOM = 0.8
_MONTH = 28
_LEAST_BAND, _WIDEST_BAND, _MOST_GROWTH = 1.1, 2.0, 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFit:
    """A plan that would do: its name and limit, and the greatest total it has to hold."""

    plan: str
    limit: int
    needed: int


def family_of(plan: str | None) -> str:
    """Return the family of a plan's name; `standard` where it has none that is still sold."""
    name = plan or ""
    return next((each for each in _FAMILIES if name.startswith(each)), _USUAL_FAMILY)


def totals_ahead(
    seen: Forecast,
    *,
    counted: Mapping[date, int],
    period: Period,
    cycle: BillingCycle,
    excluded: Collection[date] = (),
) -> tuple[int, ...]:
    """Return a cautious total (p90) of this period and of the next two.

    Those to come have the mean day of the last four weeks known, growing on as it grew over the
    four weeks before (never shrinking, at most by half), times the upper band of what is left
    of this period: at least a tenth, at most double. `excluded` days are capped, and no measure.
    """
    days = sorted(day for day in counted if day <= seen.as_of and day not in excluded)
    known = [counted[day] for day in days]
    latest, before = known[-_MONTH:], known[-2 * _MONTH : -_MONTH]
    a_day = fmean(latest) if latest else 0.0
    growth = 1.0
    if len(before) == _MONTH and any(before):
        growth = min(max(sum(latest) / sum(before), 1.0), _MOST_GROWTH)
    likely = seen.p50 - seen.used
    band = (seen.p90 - seen.used) / likely if likely > 0 else _LEAST_BAND
    band = min(max(band, _LEAST_BAND), _WIDEST_BAND)
    totals, each = [seen.p90], period
    for ahead in range(1, _PERIODS_AHEAD + 1):
        each = cycle.period_of(each.end)
        totals.append(math.ceil(a_day * each.days * growth**ahead * band))
    return tuple(totals)


def smallest_plan(needed: Sequence[int], *, plan: str | None) -> PlanFit | None:
    """Return the smallest plan of the same family that holds every total; None: none is sold.

    A `basic` plan that is outgrown becomes `standard`.
    """
    most = max(needed, default=0)
    family = family_of(plan)
    for each in (family, _USUAL_FAMILY):
        fitting = [p for p in _plans(each) if p.limit >= most]
        if fitting:
            return PlanFit(plan=fitting[0].name, limit=fitting[0].limit, needed=most)
    return None


def smaller_plan(totals: Sequence[int], *, plan: str | None, limit: int) -> PlanFit | None:
    """Return a smaller plan that would do, from the totals of closed periods, oldest first.

    Only where the last three used at most 40 % of the limit, and with a fifth of room to spare.
    """
    latest = totals[-_HARDLY_USED_PERIODS:]
    if len(latest) < _HARDLY_USED_PERIODS or limit <= 0:
        return None
    if max(latest) * 100 > HARDLY_USED_PERCENT * limit:
        return None
    found = smallest_plan([math.ceil(max(latest) / _ROOM)], plan=plan)
    return found if found is not None and found.limit < limit else None


def _plans(family: str) -> list[Plan]:
    found = [plan for name, plan in RYBBIT_PLANS.items() if name.startswith(family)]
    return sorted(found, key=lambda plan: plan.limit)
