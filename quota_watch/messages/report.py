"""A periodic report: its facts, and what a message shows of them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from quota_watch.lib.figures import number, short_day, weekday
from quota_watch.lib.plain import iso
from quota_watch.lib.text import one_line
from quota_watch.messages.message import Facts
from quota_watch.messages.picture import Gauge, gauge_of
from quota_watch.messages.words import report as phrases
from quota_watch.messages.words.report import Entry, Standing
from quota_watch.model.period import ONE_DAY
from quota_watch.model.report import ReportKind, ReportSpan
from quota_watch.model.rule import Severity

REPORT = "report"
"""The type of such a message, and the rule that stands in it."""

_TONES = {
    Standing.OVER: "critical",
    Standing.LIKELY: "warning",
    Standing.AT_RISK: "info",
    Standing.UNKNOWN: "warning",
    Standing.NO_LIMIT: "test",
    Standing.FINE: "resolved",
}
_MOST_STORIES = 5
_TALLEST = 24
_SATURDAY = 5
_SPARKS = "▁▂▃▄▅▆▇█"


def report_facts(
    span: ReportSpan,
    entries: Sequence[Entry],
    own: Sequence[Entry],
    *,
    now: datetime,
    time_zone: str,
    public_url: str | None = None,
) -> dict[str, Any]:
    """Return the body of a report: `entries` of its organizations, `own` stories of none."""
    ordered = [_named(entry) for entry in phrases.most_urgent_first(entries)]
    said = phrases.words_of(span, ordered)
    nothing = ("organization", "period", "usage", "forecast", "daily", "lost", "advice")
    return {
        "version": 1,
        "type": REPORT,
        "id": span.id,
        "timestamp": iso(now),
        "alert": {
            "id": span.id.replace("|", "-"),
            "rule": REPORT,
            "level": None,
            "severity": Severity.INFO.label,
            "reason": span.kind.value,
            "title": said.title,
            "summary": said.summary,
            "next_step": said.next_step,
            "started_at": iso(now),
            "ended_at": None,
            "dropping": False,
        },
        **dict.fromkeys(nothing),
        "report": {
            "kind": span.kind.value,
            "first": span.first.isoformat(),
            "last": span.last.isoformat(),
            "organizations": ordered,
            "own": list(own),
        },
        "links": {"organization": None if public_url is None else f"{public_url.rstrip('/')}/"},
        "time_zone": time_zone,
    }


def _named(entry: Entry) -> dict[str, Any]:
    """Return an entry whose names are safe to store and to show."""
    return {**entry, "name": one_line(entry["name"]) or one_line(entry["id"])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is shown of one organization.

    `tone` is as of a message, `standing` how it stands, `used` its count, `lines` what else is
    told, `stories` what was told in the time, `more` how many others were.
    """

    name: str
    tone: str
    standing: str
    used: str
    gauge: Gauge | None
    days: tuple["Day", ...]
    lines: tuple[str, ...]
    stories: tuple[str, ...]
    more: int

    @property
    def sparks(self) -> str:
        """The days as a line of characters, a week between two spaces."""
        return "".join(
            f" {day.spark}" if n and not day.day.weekday() else day.spark
            for n, day in enumerate(self.days)
        )

    @property
    def told_days(self) -> str:
        """The days in words, for those who don't see them."""
        known = [
            f"{weekday(day.day)} {number(day.used)}" for day in self.days if day.used is not None
        ]
        return f"Events per day: {', '.join(known)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One day of the report, with its height in pixels; `used` is None where it is not known."""

    day: date
    used: int | None
    height: int

    @property
    def weekend(self) -> bool:
        """Whether it is a Saturday or Sunday."""
        return self.day.weekday() >= _SATURDAY

    @property
    def name(self) -> str:
        """Its weekday, short."""
        return weekday(self.day)[:3]

    @property
    def spark(self) -> str:
        """The day as one character."""
        if self.used is None:
            return "?"
        return _SPARKS[self.height * (len(_SPARKS) - 1) // _TALLEST]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """What a report shows: a row for each organization, and what the watch had itself."""

    rows: tuple[Row, ...]
    own: tuple[str, ...]


def report_view(facts: Facts) -> ReportView | None:
    """Return what a message shows of the report in its facts, None where there is none."""
    report = facts.get("report")
    if report is None:
        return None
    kind, first = ReportKind(report["kind"]), date.fromisoformat(report["first"])
    return ReportView(
        rows=tuple(_row(entry, kind, first) for entry in report["organizations"]),
        own=tuple(_story(each) for each in report["own"][:_MOST_STORIES]),
    )


def lines_of(view: ReportView) -> list[tuple[str, str]]:
    """Return a line for each organization, for where there is room for no more."""
    return [
        (row.name, ". ".join([f"{row.standing}: {row.used}", *row.lines[:1]])) for row in view.rows
    ]


def _row(entry: Entry, kind: ReportKind, first: date) -> Row:
    stands = phrases.standing(entry)
    same = entry["coming"] and entry["period"] == entry["coming"]["period"]
    usage = entry if entry["used"] is not None else None
    lines = (
        phrases.coming(entry),
        phrases.changed(entry, kind),
        phrases.lost(entry),
        phrases.smaller(entry),
        phrases.accurate(entry),
    )
    told = [_story(each) for each in entry["told"]]
    return Row(
        name=entry["name"],
        tone=_TONES[stands],
        standing=phrases.label(stands, kind),
        used=phrases.used(entry),
        gauge=gauge_of(usage, entry["coming"] if same else None),
        days=_days(entry["days"] or (), first),
        lines=tuple(line for line in lines if line),
        stories=tuple(told[:_MOST_STORIES]),
        more=max(len(told) - _MOST_STORIES, 0),
    )


def _days(days: Sequence[int | None], first: date) -> tuple[Day, ...]:
    tallest = max((used or 0 for used in days), default=0)
    if not tallest:
        return ()
    return tuple(
        Day(
            day=first + n * ONE_DAY,
            used=used,
            height=max(round(_TALLEST * used / tallest), 1) if used else 0,
        )
        for n, used in enumerate(days)
    )


def _story(each: Entry) -> str:
    """Return a story in a line: when it began, what it said, and whether it is over."""
    began = short_day(datetime.fromisoformat(each["started_at"]).date())
    over = "" if each["ended_at"] is not None else " (still true)"
    return f"{began}: {each['title']}{over}"
