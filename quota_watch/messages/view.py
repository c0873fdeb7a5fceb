"""What a mail shows of its facts, worked out once for both of its parts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from quota_watch.lib.figures import (
    Estimate,
    days,
    estimate,
    events,
    largest_first,
    local,
    number,
    rough,
    share,
)
from quota_watch.messages.message import MAILTO, Facts
from quota_watch.messages.picture import Chart, Gauge, chart_of, gauge_of
from quota_watch.messages.report import ReportView, lines_of, report_view
from quota_watch.messages.wording import told_late
from quota_watch.model.rule import Rule
from quota_watch.model.usage import is_over, percent

_MOST_TYPES = 12
_FULL = 100
_MOST_CHARTS = 3
"""In one mail: those that are long are cut off."""


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One event type: how many events, their share of all counted ones, and that in percent."""

    name: str
    used: int
    share: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`tone` is `critical`, `warning`, `info`, `resolved` or `test`, `badge` the word for it.

    `bar` is how many percent of the limit are used, None where there is no bar; `gauge` is that
    bar with what is to come, `chart` the days of the period, None where they are not known.
    `report` is what a periodic report shows, else None. `facts` are labelled lines, `types` the
    breakdown, `why` tells why one got this, `late` that it comes late and is else empty.
    """

    tone: str
    badge: str
    bar: int | None
    gauge: Gauge | None
    chart: Chart | None
    facts: tuple[tuple[str, str], ...]
    types: tuple[TypeRow, ...]
    why: str
    late: str
    report: ReportView | None


def view_of(facts: Facts, *, channel: str | None, now: datetime | None = None) -> View:
    """Return what to show of facts that are sent at `now`."""
    tone, late = tone_of(facts), told_late(facts, now)
    usage, report = facts["usage"], report_view(facts)
    return View(
        tone=tone,
        badge=f"{facts['alert']['reason'].capitalize()} report"
        if report
        else tone.capitalize() + (", late" if late else ""),
        bar=_bar(usage),
        gauge=gauge_of(usage, facts["forecast"]),
        chart=chart_of(facts.get("daily")),  # not there in what an older version enqueued
        facts=tuple(lines_of(report) if report else _lines(facts)),
        report=report,
        types=_types(usage["by_type"], usage["used"]) if usage else (),
        why=why([facts], channel),
        late=late,
    )


def views_of(told: Sequence[Facts], *, channel: str | None, now: datetime | None) -> list[View]:
    """Return the views of what goes together: a chart is shown once, and only some of them."""
    views, shown = [], set[str]()
    for facts in told:
        view = view_of(facts, channel=channel, now=now)
        id_ = facts["organization"]["id"] if facts["organization"] else ""
        if id_ in shown or len(shown) == _MOST_CHARTS:
            view = replace(view, chart=None)
        elif view.chart is not None:
            shown.add(id_)
        views.append(view)
    return views


def tone_of(facts: Facts) -> str:
    """Return the severity, `resolved` or `test`."""
    named = {"test": "test", "alert.resolved": "resolved"}
    return named.get(facts["type"]) or str(facts["alert"]["severity"])


def _bar(usage: Mapping[str, Any] | None) -> int | None:
    if usage is None or usage["limit"] is None:
        return None
    part = percent(usage["used"], usage["limit"])
    if part is None:  # a limit of nothing is always reached
        return _FULL
    return min(max(int(part), 1 if usage["used"] else 0), _FULL)


def _lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    zone, usage, period, organization = (
        facts[key] for key in ("time_zone", "usage", "period", "organization")
    )
    lines = _usage_lines(usage, zone, label=_used_label(facts)) if usage else []
    lines += _ahead_lines(facts)
    if period is not None:
        first, last = date.fromisoformat(period["start"]), date.fromisoformat(period["end"])
        lines.append(("Period", f"{days(first, last)} (UTC)"))
        lines.append(("Resets", local(period["resets_at"], zone)))
    if organization is not None:
        lines.append(("Organization", f"{organization['name']} ({organization['id']})"))
        if organization["plan"] is not None:
            lines.append(("Plan", organization["plan"]))
        lines.append(("Server", organization["server"]))
    return lines


def _ahead_lines(facts: Facts) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    seen, lost = facts["forecast"], facts["lost"]
    if seen is not None:
        band = f"{rough(seen['p10'])} to {rough(seen['p90'])}"
        lines.append(("Forecast", f"about {rough(seen['p50'])} events ({band})"))
    if lost is not None:
        lines.append(("Lost", estimate(Estimate(**lost))))
    return lines


def _used_label(facts: Mapping[str, Any]) -> str:
    blind = facts["alert"]["rule"] == Rule.BLIND and facts["type"] != "alert.resolved"
    return "Last known" if blind else "Used"


def _usage_lines(usage: Mapping[str, Any], zone: str, *, label: str) -> list[tuple[str, str]]:
    used, limit = usage["used"], usage["limit"]
    part = "" if usage["percent"] is None else f" ({share(usage['percent'])})"
    lines = [(label, f"{events(used)}{part}")]
    if limit is not None:
        lines.append(("Limit", events(limit)))
        lines.append(("Over by" if is_over(used, limit) else "Left", events(abs(limit - used))))
    if usage["measured_at"] is not None:
        lines.append(("Measured", local(usage["measured_at"], zone)))
    return lines


def _types(by_type: Mapping[str, int], used: int) -> tuple[TypeRow, ...]:
    """Return the largest types; those that are too many to show become one row."""
    ordered = largest_first(by_type)
    if len(ordered) > _MOST_TYPES:
        rest = ordered[_MOST_TYPES - 1 :]
        ordered = ordered[: _MOST_TYPES - 1]
        ordered.append((f"{number(len(rest))} more types", sum(n for _, n in rest)))
    return tuple(_row(name, n, used) for name, n in ordered)


def _row(name: str, n: int, used: int) -> TypeRow:
    part = percent(n, used) or 0.0
    return TypeRow(name, n, share(part), min(max(int(part), 1), _FULL))


def why(facts: Sequence[Facts], channel: str | None) -> str:
    """Return why one gets a message of these facts."""
    if channel is None:
        place = "one of its channels"
    else:
        place = "its config" if channel.startswith(MAILTO) else f"its channel “{channel}”"
    about = [each["organization"] for each in facts if each["organization"] is not None]
    about += [
        each for told in facts for each in (told.get("report") or {}).get("organizations", ())
    ]
    names = {organization["id"]: organization["name"] for organization in about}
    who = next(iter(names.values())) if len(names) == 1 else f"{number(len(names))} organizations"
    what = f" watches {who} and" if names else ""
    return f"You get this because quota-watch{what} has your address in {place}."
