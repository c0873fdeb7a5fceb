"""What a message shows of its facts, worked out once for mails and chats. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from quota_watch.config.addresses import MAILTO
from quota_watch.lib.text import (
    about,
    brief,
    certainty,
    days,
    events,
    largest_first,
    long_day,
    moment,
    number,
    one_line,
    plural,
    rough,
    share,
    short_day,
)
from quota_watch.messages.facts import REPORT, TEST, Facts, UsageFacts
from quota_watch.messages.picture import Chart, Gauge, chart_of, gauge_of
from quota_watch.messages.report import ReportView, lines_of, report_view
from quota_watch.messages.words import CHOOSE, FIX
from quota_watch.model.period import is_over, percent
from quota_watch.model.watch import Rule, Severity
from quota_watch.rules.registry import REGISTRY, Matter
from quota_watch.views.reports import PeriodFacts

_SUBJECT, _BUTTON = 200, 14
_MOST_TYPES, _MOST_STEPS, _MOST_FACTS = 12, 6, 4
_FULL = 100


@dataclass(frozen=True, slots=True)
class Button:
    """A link to press."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One event type: how many events, their share of all counted ones, and that in percent."""

    name: str
    used: int
    share: str
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is shown of one organization, or of what is about none.

    `tone` is `critical`, `warning`, `info`, `resolved` or `test`, `badge` the word for it; `late`
    says that it comes late, or is empty. `lead` is the consequence, `preheader` what it costs to
    wait, `steps` what to do under `heading`, `figures` at most four facts, `others` the titles of
    what else there is of the same organization. There is one picture: `gauge`, or `chart` where
    the days matter. `bar`, `facts` and `types` are for templates that want more: percent of the
    limit used, labelled lines, the breakdown. `silence` is a command. `report` is what a periodic
    report shows, else None.
    """

    tone: str
    badge: str
    late: str
    title: str
    lead: str
    preheader: str
    buttons: tuple[Button, ...]
    heading: str
    steps: tuple[str, ...]
    note: str
    ordered: bool
    figures: tuple[str, ...]
    others: tuple[str, ...]
    gauge: Gauge | None
    chart: Chart | None
    bar: int | None
    facts: tuple[tuple[str, str], ...]
    types: tuple[TypeRow, ...]
    why: str
    why_url: str | None
    silence: str
    silence_url: str | None
    report: ReportView | None


def view_of(
    *facts: Facts, channel: str | None = None, now: datetime | None = None, charts: bool = True
) -> View:
    """Show facts of one organization, the most severe first, that are sent at `now`."""
    first = facts[0]
    alert, usage, links = first.alert, first.usage, first.links
    tone, report, late = tone_of(first), report_view(first), late_period(first, now)
    chart = chart_of(first) if charts and _matter_of(first) is Matter.DAYS else None
    return View(
        tone=tone,
        badge=f"{alert.reason} report".capitalize() if report else _label(first, now),
        late=f"Sent late: this was decided before the period ended on {long_day(late.end)}."
        if late
        else "",
        title=alert.title,
        lead=alert.lead,
        preheader=alert.preheader or alert.lead,
        buttons=_buttons(first),
        heading=alert.heading,
        steps=_steps(facts),
        note=alert.note,
        ordered=alert.heading == FIX,
        figures=_figures(first),
        others=tuple(_also(each) for each in facts[1:]),
        gauge=None if chart else _gauge(first),
        chart=chart,
        bar=_bar(usage),
        facts=tuple(lines_of(report) if report else _lines(first)),
        types=_types(usage.by_type, usage.used) if usage else (),
        why=why(facts, channel),
        why_url=links.why,
        silence=_silence(first),
        silence_url=links.silence,
        report=report,
    )


def grouped(facts: Sequence[Facts]) -> list[list[Facts]]:
    """Put facts of the same organization together, in the order of the first of each."""
    groups: dict[str, list[Facts]] = {}
    for n, each in enumerate(facts):
        of = each.organization
        groups.setdefault(f"{of.server} {of.id}" if of else str(n), []).append(each)
    return list(groups.values())


def subject(facts: Facts, *others: Facts, now: datetime | None = None) -> str:
    """Write a mail's subject: the severity, the organization, the one number that matters.

    Sent at `now`, what is late says so; of the `others` joined to it, it says how many they are.
    """
    title, late = facts.alert.title, late_period(facts, now)
    if facts.type == REPORT:
        return one_line(title, _SUBJECT)
    tail = f", the period ended {short_day(late.end)}" if late else ""
    title = f"c{title[1:]}" if title.startswith("Can't ") else title
    rest = f" (and {number(len(others))} more)" if others else ""
    return one_line(f"{_label(facts, now)}: {title}{tail}", _SUBJECT - len(rest)) + rest


def late_period(facts: Facts, now: datetime | None) -> PeriodFacts | None:
    """Find the period that has ended before a critical message of it is sent, at `now`."""
    period, is_critical = facts.period, facts.alert.severity == Severity.CRITICAL.label
    if now is None or period is None or now < period.resets_at:
        return None
    return period if is_critical and facts.is_going_on else None


def tone_of(facts: Facts) -> str:
    """Name the severity, `resolved` or `test`."""
    if facts.type == TEST:
        return TEST
    return "resolved" if facts.is_end else facts.alert.severity


def why(facts: Sequence[Facts], channel: str | None) -> str:
    """Say why one gets a message of these facts."""
    place = "one of its channels"
    if channel is not None:
        place = "its config" if channel.startswith(MAILTO) else f"its channel “{channel}”"
    names = {each.organization.id: each.organization.name for each in facts if each.organization}
    for each in facts:
        names |= {of.id: of.name for of in (each.report.organizations if each.report else ())}
    who = next(iter(names.values())) if len(names) == 1 else plural(len(names), "organization")
    what = f" watches {who} and" if names else ""
    return f"You get this because quota-watch{what} has your address in {place}."


def _label(facts: Facts, now: datetime | None) -> str:
    return tone_of(facts).capitalize() + (", late" if late_period(facts, now) else "")


def _also(facts: Facts) -> str:
    first = facts.alert.steps[:1] if facts.alert.heading != CHOOSE else ()
    title = facts.alert.title.rstrip(".")
    return " ".join([f"{tone_of(facts).capitalize()}: {title}.", *first])


def _steps(facts: Sequence[Facts]) -> tuple[str, ...]:
    """Make one list of what to do about all of them."""
    main, *others = facts
    same = [each for each in others if each.alert.heading == main.alert.heading == CHOOSE]
    steps = dict.fromkeys(step for each in (main, *same) for step in each.alert.steps)
    return tuple(steps)[: max(_MOST_STEPS, len(main.alert.steps))]


def _matter_of(facts: Facts) -> Matter | None:
    return next((each.matter for rule, each in REGISTRY.items() if rule == facts.alert.rule), None)


def _buttons(facts: Facts) -> tuple[Button, ...]:
    buttons, of, links = [], facts.organization, facts.links
    if of is not None and facts.is_going_on:
        if _matter_of(facts) is Matter.LIMIT:
            buttons += [Button("Change plan", links.plan)] if links.plan else []
        else:
            buttons.append(Button("Open Rybbit", of.server))
    if links.organization is not None:
        name = one_line(of.name) if of else "status page"
        short = name if len(name) <= _BUTTON else "details"
        buttons.append(Button(f"Open {short}", links.organization))
    return tuple(buttons)


def _silence(facts: Facts) -> str:
    if facts.organization is None or not facts.can_be_silenced:
        return ""
    return (
        f"quota-watch silence {facts.organization.id} --rule {facts.alert.rule} "
        '--until period-end --reason "…"'
    )


def _gauge(facts: Facts) -> Gauge | None:
    usage, of = facts.usage, facts.organization
    if usage is None or facts.alert.rule == Rule.BLIND:
        return None
    drops = of.drops if of else None
    return gauge_of(usage.used, usage.limit, facts.forecast, drops=drops, lost=facts.lost)


def _figures(facts: Facts) -> tuple[str, ...]:
    """Name at most four facts."""
    usage, zone, forecast = facts.usage, facts.time_zone, facts.forecast
    figures = []
    if usage is not None:
        of = "" if usage.limit is None else f" of {number(usage.limit)}"
        if facts.alert.rule == Rule.BLIND and usage.measured_at is not None and not facts.is_end:
            return (f"Last count: {number(usage.used)}{of}, {brief(usage.measured_at, zone)}",)
        figures.append(f"{number(usage.used)}{of} used")
    # An end names the risk in its text; odds beside it would say the same twice.
    warns = facts.alert.rule == Rule.FORECAST and not facts.is_end
    if warns and forecast is not None and forecast.probability_over is not None:
        figures.append(f"confidence {certainty(forecast.probability_over)}")
    if facts.lost is not None and facts.lost.likely:
        figures.append(f"lost: {about(facts.lost)}")
    if usage is not None and usage.measured_at is not None:
        figures.append(f"counted {brief(usage.measured_at, zone)}")
    if facts.period is not None and facts.period.resets_at > facts.timestamp:
        figures.append(f"resets {brief(facts.period.resets_at, zone)}")
    return tuple(figures[:_MOST_FACTS])


def _bar(usage: UsageFacts | None) -> int | None:
    if usage is None or usage.limit is None:
        return None
    part = _FULL if usage.percent is None else int(usage.percent)  # a limit of 0 is always reached
    return min(max(part, 1 if usage.used else 0), _FULL)


def _lines(facts: Facts) -> list[tuple[str, str]]:
    zone, period, organization = facts.time_zone, facts.period, facts.organization
    label = "Last known" if facts.alert.rule == Rule.BLIND and not facts.is_end else "Used"
    lines = _usage_lines(facts.usage, zone, label=label) if facts.usage else []
    if facts.forecast is not None:
        forecast = facts.forecast
        bounds = f"{rough(forecast.p10)} to {rough(forecast.p90)}"
        lines.append(("Forecast", f"about {rough(forecast.p50)} events (80 % range: {bounds})"))
    if facts.lost is not None:
        lines.append(("Lost", f"{about(facts.lost)} events"))
    if period is not None:
        lines.append(("Period", f"{days(period.start, period.end)} (UTC)"))
        lines.append(("Resets", moment(period.resets_at, zone)))
    if organization is not None:
        lines.append(("Organization", f"{organization.name} ({organization.id})"))
        if organization.plan is not None:
            lines.append(("Plan", organization.plan))
        lines.append(("Server", organization.server))
    return lines


def _usage_lines(usage: UsageFacts, zone: str, *, label: str) -> list[tuple[str, str]]:
    part = "" if usage.percent is None else f" ({share(usage.percent)})"
    lines = [(label, f"{events(usage.used)}{part}")]
    if usage.limit is not None:
        over = "Over by" if is_over(usage.used, usage.limit) else "Left"
        lines.append(("Limit", events(usage.limit)))
        lines.append((over, events(abs(usage.limit - usage.used))))
    if usage.measured_at is not None:
        lines.append(("Measured", moment(usage.measured_at, zone)))
    return lines


def _types(by_type: Mapping[str, int], used: int) -> tuple[TypeRow, ...]:
    """List the largest types; those that are too many to show become one row."""
    ordered = largest_first(by_type)
    if len(ordered) > _MOST_TYPES:
        rest = ordered[_MOST_TYPES - 1 :]
        ordered = ordered[: _MOST_TYPES - 1]
        ordered.append((f"{number(len(rest))} more types", sum(n for _, n in rest)))
    return tuple(_row(name, n, used) for name, n in ordered)


def _row(name: str, n: int, used: int) -> TypeRow:
    part = percent(n, used) or 0.0
    return TypeRow(name, n, share(part), min(max(int(part), 1), _FULL))
