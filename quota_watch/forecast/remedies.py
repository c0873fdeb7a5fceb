"""What would help: what grows, what to switch off, what is left a day, and which plan fits."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import combinations
from statistics import fmean
from types import MappingProxyType

from quota_watch.forecast.forecast import Forecast
from quota_watch.model.limit import RYBBIT_PLANS
from quota_watch.model.period import ONE_DAY, Period, each_day, month_of, sum_types
from quota_watch.model.source import SiteCount

_SPANS = (28, 14, 7)
_KNOWN = 0.6

HARDLY_USED_PERCENT, HARDLY_USED_PERIODS = 40, 3
"""A limit of which no more was used, so many periods in a row, is larger than needed."""

_FAMILIES = ("standard", "pro", "basic")
_USUAL_FAMILY = "standard"
_PERIODS_AHEAD = 2
_ROOM = 0.8
_MONTH = 28
_LEAST_BAND, _WIDEST_BAND, _MOST_GROWTH = 1.1, 2.0, 1.5


class Setting(StrEnum):
    """The site setting of Rybbit behind an event type: what there is to switch off."""

    WEB_VITALS = "web_vitals"
    BUTTON_CLICKS = "button_clicks"
    COPY = "copy"
    FORM_INTERACTIONS = "form_interactions"
    OUTBOUND_LINKS = "outbound_links"
    BOT_BLOCKING = "bot_blocking"
    OWN_CODE = "own_code"


SETTINGS: Mapping[str, Setting] = {
    "performance": Setting.WEB_VITALS,
    "button_click": Setting.BUTTON_CLICKS,
    "copy": Setting.COPY,
    "form_submit": Setting.FORM_INTERACTIONS,
    "input_change": Setting.FORM_INTERACTIONS,
    "outbound": Setting.OUTBOUND_LINKS,
    "pageview": Setting.BOT_BLOCKING,
    "custom_event": Setting.OWN_CODE,
}
"""Page views can't be switched off, but bots among them blocked; custom events are the user's."""

SWITCHES = (
    Setting.WEB_VITALS,
    Setting.BUTTON_CLICKS,
    Setting.COPY,
    Setting.FORM_INTERACTIONS,
    Setting.OUTBOUND_LINKS,
)
"""Settings that stop their events altogether."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One event type or site: what it had in the last span and in the one before.

    `growth_percent` is None where it had nothing before, or nothing is known of before.
    """

    name: str
    counted: int
    share_percent: float
    growth_percent: float | None
    setting: Setting | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What brings a total under the limit if it is done now.

    `excess` is what the total is over it (0: it fits anyway). `cut_percent` is by how much
    traffic has to fall from now on, None where even nothing would not do. `switch_off` are
    the fewest settings that do, and of these the ones that cost least; empty where none are needed
    or all would not do. `saves` is what they save.
    """

    total: int
    excess: int
    cut_percent: int | None
    switch_off: tuple[Setting, ...]
    saves: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """What would help an organization to end the period under its limit.

    `span_days` are the whole days that `types` (and `sites`, where they were given) are compared
    over. `daily_budget` is what may still come per day; 0 at or over the limit.
    """

    span_days: int
    types: tuple[Part, ...]
    sites: tuple[Part, ...]
    likely: Fit
    high: Fit
    days_left: float
    daily_budget: int
    expected_a_day: int


def remedies(
    forecast: Forecast,
    *,
    limit: int,
    period: Period,
    now: datetime,
    by_type: Mapping[date, Mapping[str, int]],
    sites: Sequence[SiteCount] = (),
    excluded: Collection[date] = (),
) -> Remedies:
    """Work out what would bring the period under its limit.

    `by_type` are the counted types of whole days (today's part must not be in it); `excluded`
    days are capped. The days still to come are taken to be made of types as the last span was.
    """
    span, latest, before = _spans(by_type, excluded)
    whole = sum(latest.values())
    types = [
        _part(name, count, before.get(name, 0) if before is not None else None, whole)
        for name, count in latest.items()
    ]
    of_sites = sum(site.counted for site in sites)
    shares = {
        setting: sum(n / whole for name, n in latest.items() if SETTINGS.get(name) is setting)
        for setting in SWITCHES
        if setting in map(SETTINGS.get, latest)
    }
    days_left = max(0.0, (period.resets_at - now) / ONE_DAY)
    return Remedies(
        span_days=span,
        types=_ordered(types),
        sites=_ordered([_part(s.name, s.counted, s.before, of_sites) for s in sites]),
        likely=_fit(forecast.p50, forecast.used, limit, shares),
        high=_fit(forecast.p90, forecast.used, limit, shares),
        days_left=round(days_left, 1),
        daily_budget=math.floor(max(0, limit - forecast.used) / max(1.0, days_left)),
        expected_a_day=round(math.fsum(forecast.path) / max(1.0, days_left)),
    )


def _fit(total: int, used: int, limit: int, shares: Mapping[Setting, float]) -> Fit:
    excess, to_come = max(0, total - limit), max(0, total - used)
    if excess == 0:
        return Fit(total=total, excess=0, cut_percent=0, switch_off=(), saves=0)
    possible = used <= limit and to_come > 0
    settings = _fewest(shares, excess / to_come) if possible else ()
    return Fit(
        total=total,
        excess=excess,
        cut_percent=min(100, math.ceil(100 * excess / to_come)) if possible else None,
        switch_off=settings,
        saves=math.floor(to_come * math.fsum(shares[each] for each in settings)),
    )


def _fewest(shares: Mapping[Setting, float], needed: float) -> tuple[Setting, ...]:
    """Return the fewest settings whose shares reach `needed`, the smallest such sum."""
    enough = [
        (number, total, settings)
        for number in range(1, len(shares) + 1)
        for settings in combinations(sorted(shares), number)
        if (total := math.fsum(shares[each] for each in settings)) >= needed
    ]
    return tuple(sorted(min(enough)[2], key=lambda each: -shares[each])) if enough else ()


def _spans(
    by_type: Mapping[date, Mapping[str, int]], excluded: Collection[date]
) -> tuple[int, dict[str, int], dict[str, int] | None]:
    """Return the longest span of whole weeks that has one before it, and the types of both.

    Unknown days are replaced by the mean of the known ones.
    """
    known = {day: types for day, types in by_type.items() if day not in excluded}
    if not known:
        return 0, {}, None
    last = max(known)
    for span in _SPANS:
        latest = _known_in(known, last, span)
        before = _known_in(known, last - timedelta(days=span), span)
        if min(len(latest), len(before)) >= _KNOWN * span:
            return span, _sums(latest, span), _sums(before, span)
    days = _known_in(known, last, _SPANS[-1])
    return len(days), _sums(days, len(days)), None


def _known_in(
    known: Mapping[date, Mapping[str, int]], last: date, span: int
) -> list[Mapping[str, int]]:
    days = each_day(last - timedelta(days=span - 1), last)
    return [known[day] for day in days if day in known]


def _sums(days: Sequence[Mapping[str, int]], span: int) -> dict[str, int]:
    sums = sum_types(days)
    return {name: round(count * span / len(days)) for name, count in sums.items() if count}


def _part(name: str, counted: int, before: int | None, whole: int) -> Part:
    return Part(
        name=name,
        counted=counted,
        share_percent=round(100 * counted / whole, 1) if whole else 0.0,
        growth_percent=round(100 * (counted - before) / before, 1) if before else None,
        setting=SETTINGS.get(name),
    )


def _ordered(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda part: (-part.counted, part.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFit:
    """A plan that would do: its name, limit and price, and the greatest total it has to hold."""

    plan: str
    limit: int
    needed: int
    price: str | None = None


def family_of(plan: str | None) -> str:
    """Return the family of a plan's name; `standard` where it has none that is still sold."""
    name = plan or ""
    return next((each for each in _FAMILIES if name.startswith(each)), _USUAL_FAMILY)


def totals_ahead(
    forecast: Forecast,
    *,
    counted: Mapping[date, int],
    period: Period,
    excluded: Collection[date] = (),
) -> dict[Period, int]:
    """Return a cautious total (p90) of this period and of the next two.

    Those to come have the mean day of the last four weeks known, growing on as it grew over the
    four weeks before (never shrinking, at most by half), times the upper band of what is left
    of this period: at least a tenth, at most double. `excluded` days are capped, and no measure.
    """
    days = sorted(counted.items())
    known = [n for day, n in days if day <= forecast.as_of and day not in excluded]
    latest, before = known[-_MONTH:], known[-2 * _MONTH : -_MONTH]
    a_day = fmean(latest) if latest else 0.0
    growth = 1.0
    if len(before) == _MONTH and any(before):
        growth = min(max(sum(latest) / sum(before), 1.0), _MOST_GROWTH)
    likely = forecast.p50 - forecast.used
    band = (forecast.p90 - forecast.used) / likely if likely > 0 else _LEAST_BAND
    band = min(max(band, _LEAST_BAND), _WIDEST_BAND)
    totals = {period: forecast.p90}
    for ahead in range(1, _PERIODS_AHEAD + 1):
        period = month_of(period.end)
        totals[period] = math.ceil(a_day * period.days * growth**ahead * band)
    return totals


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodFit:
    """A period, its cautious total (p90), and whether that fits a limit."""

    start: date
    end: date
    at_most: int
    fits: bool


def fits_ahead(limit: int, totals: Mapping[Period, int]) -> list[PeriodFit]:
    """Compare the totals of this period and those after it (`totals_ahead`) with a limit."""
    return [
        PeriodFit(start=each.start, end=each.last_day, at_most=total, fits=total <= limit)
        for each, total in totals.items()
    ]


def smallest_plan(
    needed: Iterable[int], *, plan: str | None, prices: Mapping[str, str] = MappingProxyType({})
) -> PlanFit | None:
    """Return the smallest plan of the same family that holds every total; None: none is sold.

    A `basic` plan that is outgrown becomes `standard`. `prices` are the config's, by plan.
    """
    most = max(needed, default=0)
    for family in (family_of(plan), _USUAL_FAMILY):
        fitting = [
            (each.limit, name)
            for name, each in RYBBIT_PLANS.items()
            if name.startswith(family) and each.limit >= most
        ]
        if fitting:
            limit, name = min(fitting)
            return PlanFit(plan=name, limit=limit, needed=most, price=prices.get(name))
    return None


def smaller_plan(
    totals: Sequence[int],
    *,
    plan: str | None,
    limit: int,
    prices: Mapping[str, str] = MappingProxyType({}),
) -> PlanFit | None:
    """Return a smaller plan that would do, from the totals of closed periods, oldest first.

    Only where the last three used at most 40 % of the limit, and with a fifth of room to spare.
    """
    most = max(totals[-HARDLY_USED_PERIODS:], default=0)
    if len(totals) < HARDLY_USED_PERIODS or most * 100 > HARDLY_USED_PERCENT * limit:
        return None
    fit = smallest_plan([math.ceil(most / _ROOM)], plan=plan, prices=prices)
    return fit if fit is not None and fit.limit < limit else None
