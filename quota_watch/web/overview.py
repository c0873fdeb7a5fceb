"""The overview: which organizations are shown, in which order, and the same as CSV."""

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

from quota_watch.lib.text import csv_text, one_line, plain
from quota_watch.model.period import Period
from quota_watch.views.alerts import outbox_counts
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
_COLUMNS = (
    "id", "name", "server", "group", "plan", "state", "stale", "used", "limit", "percent", "over",
    "drops", "crossed_on", "last_ok",
)  # fmt: skip


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
        values: dict[str, str | int] = {"q": self.search, "state": self.state, "sort": self.sort}
        values |= {"group": self.group} | changes
        text = urlencode({name: value for name, value in values.items() if value})
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
    """What the overview's template shows: of the `chosen` organizations those of one page."""

    query: Query
    chosen: int
    rows: Sequence[OverviewRow]
    totals: Totals
    period: Period | None
    age: Age
    pending: int
    failed: int
    groups: Sequence[str]
    without_channels: Sequence[str]

    @property
    def first(self) -> int:
        """The place of the first row among all that are chosen, from 1 on."""
        return (self.query.page - 1) * _ROWS + 1

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return _pages(self.chosen)

    @property
    def worst(self) -> str:
        """The most urgent state there is."""
        return next(iter(self.totals.states), "ok")

    @property
    def title(self) -> str:
        """The two worst states, for a tab that is not in front: `1 critical, 2 unknown`."""
        states = [f"{n} {state}" for state, n in self.totals.states.items() if state != "ok"]
        if not self.totals.organizations:
            return "Overview"
        return ", ".join(states[:2]) or "All OK"


def overview(reading: Reading, query: Query) -> Overview:
    """Read what the overview shows."""
    watches, today = reading.site.watches, reading.now.date()
    statuses = reading.organizations(brief=True)
    selection = query.chosen(statuses)
    query = replace(query, page=min(query.page, _pages(len(selection))))
    first = (query.page - 1) * _ROWS
    on_page = with_losses(reading.connection, selection[first : first + _ROWS])
    keys = {each.known.pk: each.id for each in on_page if each.known.pk is not None}
    recent = daily_totals(reading.connection, keys, today - _RECENT, today)
    counts = outbox_counts(reading.connection)
    return Overview(
        query=query,
        rows=[
            OverviewRow(organization=each, bar=bar(each), recent=sparkline(recent.get(each.id, [])))
            for each in on_page
        ],
        chosen=len(selection),
        totals=_totals(statuses),
        period=statuses[0].period if statuses else None,
        age=age(statuses),
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


def _pages(organizations: int) -> int:
    return max(math.ceil(organizations / _ROWS), 1)


def age(organizations: Sequence[Status]) -> Age:
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


def bar(status: Status) -> LimitBar | None:
    """Draw a bar; None where there is nothing to draw."""
    limit, used = status.limit, status.used
    if not limit or used is None:
        return None

    def place(value: float) -> float:
        return float(round(min(100 * value / limit, _BAR_TOP) * 100 / _BAR_TOP, 2))

    full = place(limit)
    # Where events are dropped no more are counted, whatever comes.
    forecast = None if status.over and status.drops else status.forecast
    if forecast is None:
        return LimitBar(used=place(used), limit=full)
    low, high = place(max(forecast.p10, used)), place(max(forecast.p90, used))
    likely, lost = place(forecast.p50), None
    if status.drops and high > full:
        lost = (full, round(high - full, 2))
        low, high, likely = (min(each, full) for each in (low, high, likely))
    band = (low, round(high - low, 2))
    return LimitBar(used=place(used), limit=full, band=band, likely=likely, lost=lost)


def organizations_csv(organizations: Iterable[Status]) -> str:
    """Write organizations as CSV, with the forecast in columns of its own."""
    ahead = ("p10", "p50", "p90", "probability_over")
    rows = [
        [
            *(getattr(each, name) for name in _COLUMNS),
            *(getattr(each.forecast, name, None) for name in ahead),
            each.crosses_on,
        ]
        for each in organizations
    ]
    return as_csv((*_COLUMNS, *ahead, "crosses_on"), rows)


def as_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a table as CSV in which no spreadsheet finds a formula."""
    file = io.StringIO()
    out = csv.writer(file, lineterminator="\n")
    out.writerow(head)
    out.writerows([[_cell(value) for value in row] for row in rows])
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    value = plain(value)
    return csv_text(value) if isinstance(value, str) else value


def sparkline(values: Sequence[int | None]) -> str | None:
    """Draw days as bars in one SVG path, in a chart of as many columns by 20."""
    top = max((value for value in values if value), default=None)
    if top is None:
        return None
    heights = [(n, -(-20 * value // top)) for n, value in enumerate(values) if value]
    return "".join([f"M{n}.15 20v-{height}h.7v{height}z" for n, height in heights])
