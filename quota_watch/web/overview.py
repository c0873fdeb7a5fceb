"""The overview: which organizations are shown, in which order, and the same as CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlencode

from quota_watch.lib.text import one_line
from quota_watch.views import pages
from quota_watch.views.organizations import Json
from quota_watch.web.scale import sparkline
from quota_watch.web.site import Reading

_RECENT = timedelta(days=27)
_BAR_TOP = 125
"""Percent of the limit at the right end of a bar: what goes beyond the limit is seen too."""

_LONGEST_SEARCH = 100
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ORDERS: Mapping[str, Callable[[Json], Any]] = {
    "name": lambda shown: shown["name"].casefold(),
    "used": lambda shown: -(-1 if shown["percent"] is None else shown["percent"]),
    "expected": lambda shown: -((shown["forecast"] or {}).get("p50") or -1) / (shown["limit"] or 1),
    "seen": lambda shown: shown["last_ok"] or "",
}
_COLUMNS = (
    "id", "name", "server", "group", "plan", "state", "stale", "used", "limit", "percent", "over",
    "drops", "crossed_on", "last_ok",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What an overview was asked for: words of a name or id, a state, a group, an order."""

    search: str = ""
    state: str = ""
    sort: str = ""
    group: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Self:
        """Read query parameters; what is not known asks for nothing."""
        state, sort = asked.get("state", ""), asked.get("sort", "")
        return cls(
            search=one_line(asked.get("q", ""), _LONGEST_SEARCH),
            state=state if state in pages.STATES else "",
            sort=sort if sort in _ORDERS else "",
            group=asked.get("group", ""),
        )

    def with_(self, **changes: str) -> str:
        """Write the query with something else in it, as the end of a link."""
        values = {"q": self.search, "state": self.state, "sort": self.sort}
        values |= {"group": self.group} | changes
        text = urlencode({name: value for name, value in values.items() if value})
        return f"?{text}" if text else "?"

    def chosen(self, organizations: Iterable[Json]) -> list[Json]:
        """Return those that are asked for, in the order asked for, else the most urgent first."""
        words = self.search.casefold().split()
        shown = [
            each
            for each in organizations
            if self.state in {"", each["state"]}
            and self.group in {"", each["group"]}
            and all(word in f"{each['name']} {each['id']}".casefold() for word in words)
        ]
        by_urgency = pages.by_urgency(shown)
        return sorted(by_urgency, key=_ORDERS[self.sort]) if self.sort else by_urgency


def overview(reading: Reading, query: Query) -> Json:
    """Return what the overview's template shows."""
    connection, watches, today = reading.connection, reading.site.watches, reading.now.date()
    shown = reading.organizations()
    chosen = query.chosen(shown)
    recent = pages.daily_totals(connection, watches, today - _RECENT, today)
    counts = pages.outbox_counts(connection)
    totals = pages.totals(shown)
    return {
        "title": _title(totals),
        "worst": next(iter(totals["states"]), "ok"),
        "query": query,
        "rows": [
            {
                "organization": each,
                "bar": bar(each),
                "recent": sparkline(recent.get(each["id"], [])),
            }
            for each in chosen
        ],
        "totals": totals,
        "period": shown[0]["period"] if shown else None,
        "age": age(shown),
        "pending": sum(n for (_, state), n in counts.items() if state == "pending"),
        "failed": sum(n for (_, state), n in counts.items() if state == "failed"),
        "groups": sorted({watch.group for watch in watches if watch.group}),
        "unheard": [watch.organization.id for watch in watches if not watch.channels],
    }


def _title(totals: Json) -> str:
    """Return the two worst states, for a tab that is not in front: `1 critical, 2 unknown`."""
    states = [f"{n} {state}" for state, n in totals["states"].items() if state != "ok"]
    if not totals["organizations"]:
        return "Overview"
    return ", ".join(states[:2]) or "All OK"


def age(organizations: Sequence[Json]) -> Json:
    """Return how old the newest numbers are, and whether nobody polls any more."""
    seen = [each["last_ok"] for each in organizations if each["last_ok"]]
    polled = [each["last_poll"] for each in organizations if each["last_poll"]]
    stale = [each for each in organizations if each["stale"]]
    return {
        "newest": max(seen, default=None),
        "stale": len(stale),
        "is_unwatched": bool(seen) and len(stale) == len(seen) and max(polled) == max(seen),
    }


def bar(shown: Json) -> Json | None:
    """Return a bar's parts in percent of its width, or None where there is nothing to draw."""
    limit, used = shown["limit"], shown["used"]
    # Where events are dropped no more are counted, whatever comes.
    forecast = None if shown["over"] and shown["drops"] else shown["forecast"]
    if not limit or used is None:
        return None

    def place(value: float) -> float:
        return float(round(min(100 * value / limit, _BAR_TOP) * 100 / _BAR_TOP, 2))

    parts: dict[str, Any] = {"used": place(used), "limit": place(limit), "band": None, "lost": None}
    if forecast is not None:
        low, high = place(max(forecast["p10"], used)), place(max(forecast["p90"], used))
        likely = place(forecast["p50"])
        if shown["drops"] and high > parts["limit"]:
            parts["lost"] = (parts["limit"], round(high - parts["limit"], 2))
            low, high, likely = (min(each, parts["limit"]) for each in (low, high, likely))
        parts |= {"band": (low, round(high - low, 2)), "likely": likely}
    return parts


def organizations_csv(organizations: Iterable[Json]) -> str:
    """Write organizations as CSV, with the forecast in columns of its own."""
    ahead = ("p10", "p50", "p90", "probability_over")
    rows = [
        [
            *(each[name] for name in _COLUMNS),
            *((each["forecast"] or {}).get(name) for name in ahead),
            ((each["forecast"] or {}).get("crosses_on") or {}).get("likely"),
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
    if not isinstance(value, str):
        return value
    line = one_line(value, None)
    return f"'{line}" if line.startswith(_FORMULA) else line
