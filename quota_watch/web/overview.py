"""The overview: which organizations are shown, in which order, and their sums."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

from quota_watch.lib.text import one_line
from quota_watch.model.period import Period
from quota_watch.storage import deliveries
from quota_watch.views.periods import daily_totals
from quota_watch.views.status import STATES, Status, by_urgency, with_losses
from quota_watch.web.app import Reading

_NEVER = datetime.min.replace(tzinfo=UTC)
_RECENT = timedelta(days=27)
_BAR_TOP = 125
"""Percent of the limit at the right end of a bar: what goes beyond the limit is seen too."""

_LONGEST_SEARCH, _LONG_NUMBER = 100, 7
_ROWS = 50
"""So many organizations stand on a page; search, states, order and CSV are of all."""

_ORDERS: Mapping[str, Callable[[Status], Any]] = {
    "name": lambda shown: shown.name.casefold(),
    "used": lambda shown: -(-1 if shown.percent is None else shown.percent),
    "expected": lambda shown: -(shown.forecast.p50 if shown.forecast else -1) / (shown.limit or 1),
    "seen": lambda shown: shown.last_ok or _NEVER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What an overview was asked for: words of a name or id, a state, a group, an order, a page."""

    search: str = ""
    state: str = ""
    sort: str = ""
    group: str = ""
    page: int = 1

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> Self:
        """Read query parameters; what is not known asks for nothing."""
        state, sort, page = (arguments.get(name, "") for name in ("state", "sort", "page"))
        number = int(page) if page.isascii() and page.isdigit() and len(page) < _LONG_NUMBER else 1
        return cls(
            search=one_line(arguments.get("q", ""), _LONGEST_SEARCH),
            state=state if state in STATES else "",
            sort=sort if sort in _ORDERS else "",
            group=arguments.get("group", ""),
            page=max(number, 1),
        )

    def with_(self, **changes: str | int) -> str:
        """Write the query with something else in it, as the end of a link to its first page."""
        values = {"q": self.search, "state": self.state, "sort": self.sort, "group": self.group}
        text = urlencode({name: value for name, value in (values | changes).items() if value})
        return f"?{text}" if text else "?"

    def chosen(self, organizations: Iterable[Status]) -> list[Status]:
        """Choose those asked for, in the order asked for, by default the most urgent first."""
        words = self.search.casefold().split()
        rows = [
            each
            for each in organizations
            if self.state in {"", each.state}
            and self.group in {"", each.group}
            and all(word in f"{each.name} {each.id}".casefold() for word in words)
        ]
        urgent = by_urgency(rows)
        return sorted(urgent, key=_ORDERS[self.sort]) if self.sort else urgent


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitBar:
    """A bar's parts in percent of its width: each of `band` and `lost` a beginning and a width."""

    used: float
    limit: float
    band: tuple[float, float] | None = None
    likely: float | None = None
    lost: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewRow:
    """An organization with its bar, and its last days as a path."""

    organization: Status
    bar: LimitBar | None
    recent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How old the numbers are: first of the stale ones, and whether nobody polls any more.

    `oldest` is the last good poll that is longest ago among all that had one, `oldest_fresh` among
    those that are not stale. `never` were not counted yet.
    """

    newest: datetime | None
    oldest: datetime | None
    oldest_fresh: datetime | None
    stale: int
    fresh: int
    never: int
    is_unwatched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over organizations; `limit` of those that are known, `unknown` counts unknown usages."""

    organizations: int
    states: Mapping[str, int]
    used: int
    limit: int
    unknown: int
    open_alerts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the overview's template shows: of the `chosen` organizations those of one page.

    `first` is the place of its first row among them, from 1 on; `worst` the most urgent state.
    """

    query: Query
    rows: Sequence[OverviewRow]
    chosen: int
    first: int
    pages: int
    totals: Totals
    title: str
    worst: str
    period: Period | None
    age: Age
    pending: int
    failed: int
    groups: Sequence[str]
    without_channels: Sequence[str]


def overview_of(reading: Reading, query: Query) -> Overview:
    """Read what the overview's template shows: of the `chosen` organizations those of one page."""
    watches, today = reading.site.watches, reading.now.date()
    statuses = reading.organizations(brief=True)
    selection = query.chosen(statuses)
    pages = max(math.ceil(len(selection) / _ROWS), 1)
    query = replace(query, page=min(query.page, pages))
    first = (query.page - 1) * _ROWS
    on_page = with_losses(reading.connection, selection[first : first + _ROWS])
    keys = {each.known.pk: each.id for each in on_page if each.known.pk is not None}
    recent = daily_totals(reading.connection, keys, today - _RECENT, today)
    counts, totals = deliveries.counts(reading.connection), _totals(statuses)
    return Overview(
        query=query,
        rows=[
            OverviewRow(
                organization=each,
                bar=bar_of(each),
                recent=sparkline(recent.get(each.id, [])),
            )
            for each in on_page
        ],
        chosen=len(selection),
        first=first + 1,
        pages=pages,
        totals=totals,
        title=_title(totals.states),
        worst=next(iter(totals.states), "ok"),
        period=statuses[0].period if statuses else None,
        age=age_of(statuses),
        pending=sum(n for (_, state), n in counts.items() if state == "pending"),
        failed=sum(n for (_, state), n in counts.items() if state == "failed"),
        groups=sorted({watch.group for watch in watches if watch.group}),
        without_channels=[watch.organization.id for watch in watches if not watch.channels],
    )


def _totals(statuses: Collection[Status]) -> Totals:
    """Sum over organizations; `states` come the most urgent first."""
    states = Counter(each.state for each in statuses)
    return Totals(
        organizations=len(statuses),
        states={state: states[state] for state in STATES if states[state]},
        used=sum(each.used or 0 for each in statuses),
        limit=sum(each.limit or 0 for each in statuses),
        unknown=sum(each.used is None for each in statuses),
        open_alerts=sum(len(each.open_alerts) for each in statuses),
    )


def _title(states: Mapping[str, int]) -> str:
    """Name the two worst states, for a tab that is not in front: `1 critical, 2 unknown`."""
    if not states:
        return "Overview"
    worst = [f"{n} {state}" for state, n in states.items() if state != "ok"]
    return ", ".join(worst[:2]) or "All OK"


def age_of(organizations: Collection[Status]) -> Age:
    """Find how old the numbers of organizations are."""
    good = [each.last_ok for each in organizations if each.last_ok]
    fresh = [each.last_ok for each in organizations if each.last_ok and not each.stale]
    polls = [each.last_poll for each in organizations if each.last_poll]
    return Age(
        newest=max(good, default=None),
        oldest=min(good, default=None),
        oldest_fresh=min(fresh, default=None),
        stale=len(good) - len(fresh),
        fresh=len(fresh),
        never=len(organizations) - len(good),
        is_unwatched=bool(good) and not fresh and max(polls) == max(good),
    )


def bar_of(status: Status) -> LimitBar | None:
    """Place the parts of a bar; None where there is nothing to draw."""
    limit, used = status.limit, status.used
    if not limit or used is None:
        return None

    def place(value: float) -> float:
        return float(round(min(100 * value / limit, _BAR_TOP) * 100 / _BAR_TOP, 2))

    full, band, likely, lost = place(limit), None, None, None
    # Where events are dropped no more are counted, whatever comes.
    if status.forecast and not (status.over and status.drops):
        forecast = status.forecast
        low, high = place(max(forecast.p10, used)), place(max(forecast.p90, used))
        likely = place(forecast.p50)
        if status.drops and high > full:
            lost = (full, round(high - full, 2))
            low, high, likely = (min(each, full) for each in (low, high, likely))
        band = (low, round(high - low, 2))
    return LimitBar(used=place(used), limit=full, band=band, likely=likely, lost=lost)


def sparkline(values: Sequence[int | None]) -> str | None:
    """Draw days as bars in one SVG path, in a chart of as many columns by 20."""
    top = max((value for value in values if value), default=None)
    if top is None:
        return None
    heights = [(n, -(-20 * value // top)) for n, value in enumerate(values) if value]
    return "".join([f"M{n}.15 20v-{height}h.7v{height}z" for n, height in heights])
