"""Periodic reports: their facts, and what a message shows of them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from quota_watch.lib.text import number, one_line, short_day, sparkline, weekday
from quota_watch.messages.facts import REPORT, DayFacts, Facts, LinkFacts, ReportFacts
from quota_watch.messages.freeze import alert_facts
from quota_watch.messages.picture import DayBar, Gauge, bars_of, gauge_of
from quota_watch.messages.words import report as words
from quota_watch.messages.words.report import Standing
from quota_watch.model.period import ONE_DAY
from quota_watch.model.schedule import ReportKind, ReportSpan
from quota_watch.views.reports import EntryFacts, StoryFacts

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


def report_facts(
    span: ReportSpan,
    entries: Sequence[EntryFacts],
    own: Sequence[StoryFacts],
    *,
    now: datetime,
    time_zone: str,
    public_url: str | None = None,
) -> Facts:
    """Freeze a report: `entries` of its organizations, `own` alerts about none.

    Their names become safe to store and to show.
    """
    ordered = words.most_urgent_first(
        [replace(each, name=one_line(each.name) or one_line(each.id)) for each in entries]
    )
    return Facts(
        type=REPORT,
        id=span.id,
        timestamp=now,
        alert=alert_facts(
            words.words_of(span, ordered),
            id=span.id.replace("|", "-"),
            rule=REPORT,
            reason=span.kind.value,
            started_at=now,
        ),
        report=ReportFacts(
            kind=span.kind.value,
            first=span.first,
            last=span.last,
            organizations=tuple(ordered),
            own=tuple(own),
        ),
        links=LinkFacts(organization=None if public_url is None else f"{public_url.rstrip('/')}/"),
        time_zone=time_zone,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is shown of one organization.

    `tone` is that of a message, `standing` how it stands, `used` its count, `lines` further facts,
    `sites` who used the plan, `stories` its alerts in that time, `more` how many others there were.
    """

    name: str
    tone: str
    standing: str
    used: str
    gauge: Gauge | None
    days: tuple[DayBar, ...]
    lines: tuple[str, ...]
    sites: tuple[str, ...]
    stories: tuple[str, ...]
    more: int

    @property
    def sparks(self) -> str:
        """The days as a line of characters, a week between two spaces."""
        line = zip(self.days, sparkline([day.used for day in self.days]), strict=True)
        return "".join(
            f" {spark}" if not day.day.weekday() else spark for day, spark in line
        ).strip()

    @property
    def label(self) -> str:
        """The days in words, for screen readers."""
        known = [
            f"{weekday(day.day)} {number(day.used)}" for day in self.days if day.used is not None
        ]
        return f"Events per day: {', '.join(known)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """What a report shows: a row for each organization, and the alerts about none."""

    rows: tuple[Row, ...]
    own: tuple[str, ...]


def report_view(facts: Facts) -> ReportView | None:
    """Show the report in the facts, None where there is none."""
    report = facts.report
    if report is None:
        return None
    kind = ReportKind(report.kind)
    return ReportView(
        rows=tuple(_row(entry, kind, report.first) for entry in report.organizations),
        own=tuple(_story(each) for each in report.own[:_MOST_STORIES]),
    )


def lines_of(view: ReportView) -> list[tuple[str, str]]:
    """Write a line for each organization, for where there is room for no more."""
    return [
        (row.name, ". ".join([f"{row.standing}: {row.used}", *row.lines[:1]])) for row in view.rows
    ]


def _row(entry: EntryFacts, kind: ReportKind, first: date) -> Row:
    stands, coming = words.standing(entry), entry.coming
    same = coming is not None and entry.period == coming.period
    stories = [_story(each) for each in entry.told]
    days = [
        DayFacts(date=first + n * ONE_DAY, used=used, expected=None)
        for n, used in enumerate(entry.days or ())
    ]
    return Row(
        name=entry.name,
        tone=_TONES[stands],
        standing=words.label(stands, kind),
        used=words.used(entry),
        gauge=gauge_of(
            entry.used,
            entry.limit,
            coming if same else None,
            drops=entry.drops,
            lost=entry.lost,
        ),
        days=bars_of(days, tallest=_TALLEST) if any(entry.days or ()) else (),
        lines=tuple(words.lines(entry, kind)),
        sites=words.sites(entry),
        stories=tuple(stories[:_MOST_STORIES]),
        more=max(len(stories) - _MOST_STORIES, 0),
    )


def _story(each: StoryFacts) -> str:
    """Write a story in a line: when it began, what it was about, and whether it is over."""
    over = "" if each.ended_at is not None else " (still true)"
    return f"{short_day(each.started_at.date())}: {each.title}{over}"
