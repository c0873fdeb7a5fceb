"""Words of a periodic report: how each organization stands, what changed, what is coming."""

from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Any

from quota_watch.lib.figures import (
    Estimate,
    chances,
    days,
    estimate,
    events,
    listed,
    long_day,
    number,
    rough,
    share,
    short_day,
    weekday,
)
from quota_watch.lib.text import join, one_line
from quota_watch.messages.words.words import Words
from quota_watch.model.report import ReportKind, ReportSpan

Entry = Mapping[str, Any]

_NAME = 40
_NAMED = 3
_EVEN, _AT_RISK = 0.5, 0.1


class Standing(StrEnum):
    """How an organization stands, the most urgent first."""

    OVER = "over the limit"
    LIKELY = "will probably pass the limit"
    AT_RISK = "may pass the limit"
    UNKNOWN = "not seen"
    NO_LIMIT = "no limit known"
    FINE = "fine"


_URGENT = (Standing.OVER, Standing.LIKELY, Standing.UNKNOWN)


def standing(entry: Entry) -> Standing:
    """Return how an organization stands in the period that the report shows, or the next."""
    if entry["used"] is None:
        return Standing.UNKNOWN
    if entry["limit"] is None:
        return Standing.NO_LIMIT
    if entry["over"]:
        return Standing.OVER
    odds = (entry["coming"] or {}).get("probability_over") or 0.0
    if odds >= _EVEN:
        return Standing.LIKELY
    return Standing.AT_RISK if odds >= _AT_RISK else Standing.FINE


def most_urgent_first(entries: Sequence[Entry]) -> list[Entry]:
    """Return the organizations by how they stand, and by how much of the limit is used."""
    order = list(Standing)
    return sorted(
        entries, key=lambda each: (order.index(standing(each)), -(each["percent"] or 0.0))
    )


def words_of(span: ReportSpan, entries: Sequence[Entry]) -> Words:
    """Say the most of it in a line, and what to do."""
    weekly = span.kind is ReportKind.WEEKLY
    month = long_day(span.first).split(" ", 1)[1]
    when = days(span.first, span.last) if weekly else month
    return Words(
        title=f"{span.kind.capitalize()} report, {when}: {_headline(entries, span.kind)}",
        summary=join(
            [
                _all_told(entries, span.kind),
                *[_needs_a_look(each, span.kind) for each in entries if _is_urgent(each)][:_NAMED],
            ]
        ),
        next_step=_next_step(entries, span.kind),
    )


def label(each: Standing, kind: ReportKind) -> str:
    """Return a standing in words, for a period that goes on or for one that is over."""
    if each is Standing.OVER and kind is ReportKind.MONTHLY:
        return "went over the limit"
    return str(each)


def _headline(entries: Sequence[Entry], kind: ReportKind) -> str:
    if len(entries) == 1:
        entry = entries[0]
        part = f", {share(entry['percent'])} used" if entry["percent"] is not None else ""
        return f"{_name(entry)} {_is(standing(entry), kind)}{part}"
    urgent = [(each, n) for each, n in _counts(entries).items() if each in _URGENT]
    if urgent:
        first, n = urgent[0]
        rest = [f"{number(n)} {label(each, kind)}" for each, n in urgent[1:]]
        what = _is(first, kind, many=n > 1)
        return listed([f"{number(n)} of {_organizations(len(entries))} {what}", *rest])
    at_risk = _counts(entries).get(Standing.AT_RISK, 0)
    some = f", {number(at_risk)} may pass the limit" if at_risk else ""
    return f"none of {_organizations(len(entries))} needs a look{some}"


def _counts(entries: Sequence[Entry]) -> dict[Standing, int]:
    """Return how many stand how, the most urgent first, without those that nothing stands."""
    found = [standing(entry) for entry in entries]
    return {each: found.count(each) for each in Standing if each in found}


def _is(each: Standing, kind: ReportKind, *, many: bool = False) -> str:
    """Return a standing as what follows a name or a number."""
    said = label(each, kind)
    if said.startswith(("will", "may", "went")):
        return said
    return f"{'are' if many else 'is'} {said}"


def _all_told(entries: Sequence[Entry], kind: ReportKind) -> str:
    if len(entries) == 1:
        return ""
    counted = [f"{number(n)} {label(each, kind)}" for each, n in _counts(entries).items()]
    return f"{_organizations(len(entries))}: {listed(counted)}."


def _organizations(n: int) -> str:
    return f"{number(n)} organization{'' if n == 1 else 's'}"


def _name(entry: Entry) -> str:
    return one_line(entry["name"], _NAME)


def _is_urgent(entry: Entry) -> bool:
    return standing(entry) in _URGENT


def _needs_a_look(entry: Entry, kind: ReportKind) -> str:
    if standing(entry) is Standing.UNKNOWN:
        return f"Of {_name(entry)} nothing is known for this period."
    if standing(entry) is not Standing.OVER:
        return f"{_name(entry)}: {coming(entry)}"
    used_up = "used" if kind is ReportKind.MONTHLY else "has used"
    lost_some = f" {lost(entry)}" if lost(entry) else ""
    return f"{_name(entry)} {used_up} {used(entry)}.{lost_some}"


def _next_step(entries: Sequence[Entry], kind: ReportKind) -> str:
    """Return what is to be done: of a period that is over nothing, but of the present one."""
    full = [_name(entry) for entry in entries if _will_be_full(entry, kind)]
    unseen = [_name(entry) for entry in entries if standing(entry) is Standing.UNKNOWN]
    steps = [
        f"Raise the plan of {_shown(full)}, or let less come there." if full else "",
        f"See with `quota-watch status` why nothing is known of {_shown(unseen)}."
        if unseen
        else "",
    ]
    return join(steps) or "Nothing to do."


def _will_be_full(entry: Entry, kind: ReportKind) -> bool:
    if standing(entry) is Standing.OVER and kind is ReportKind.WEEKLY:
        return True
    return ((entry["coming"] or {}).get("probability_over") or 0.0) >= _EVEN


def _shown(names: Sequence[str]) -> str:
    """Return the first names and how many more there are."""
    more = len(names) - _NAMED
    return listed([*names[:_NAMED], *([f"{number(more)} more"] if more > 0 else [])])


def used(entry: Entry) -> str:
    """Return what was used of the limit."""
    if entry["used"] is None:
        return "Nothing is known of this period yet."
    if entry["limit"] is None:
        return f"{events(entry['used'])}; no limit is known."
    return f"{number(entry['used'])} of {events(entry['limit'])} ({share(entry['percent'])})"


def changed(entry: Entry, kind: ReportKind) -> str:
    """Return what the reported days came to, against those before."""
    span = entry["span"]
    if span is None or span["used"] is None:
        return ""
    unit = "week" if kind is ReportKind.WEEKLY else "month"
    came = f"In the {unit} {events(span['used'])} came"
    if span["growth"] is None:
        return f"{came}."
    percent = round(span["growth"])
    a_day = "" if kind is ReportKind.WEEKLY else " a day"  # months differ in length
    if percent == 0:
        return f"{came}, as many{a_day} as in the {unit} before."
    way = "more" if percent > 0 else "less"
    return f"{came}, {number(abs(percent))} % {way}{a_day} than in the {unit} before."


def coming(entry: Entry) -> str:
    """Return what the present period will come to, and whether that fits."""
    ahead = entry["coming"]
    if ahead is None:
        return ""
    end = short_day(date.fromisoformat(ahead["period"]["end"]))
    low, likely, high = (rough(ahead[name]) for name in ("p10", "p50", "p90"))
    said = f"By {end} probably {likely} ({low}\N{EN DASH}{high})"
    odds, crosses = ahead["probability_over"], ahead["crosses_on"] or {}
    if odds is None or entry["over"]:
        return f"{said}."
    if odds >= _EVEN and crosses.get("likely"):
        day = weekday(date.fromisoformat(crosses["likely"]))
        return f"{said}; the limit is then passed on {day} ({chances(odds)})."
    return f"{said}, {_fits(odds)}."


def _fits(odds: float) -> str:
    if odds < _AT_RISK:
        return "within the limit"
    return f"with {chances(odds)} to pass the limit"


def lost(entry: Entry) -> str:
    """Return what was dropped."""
    if entry["lost"] is None or not entry["lost"]["likely"]:
        return ""
    gone = Estimate(**entry["lost"])
    return f"Lost: {estimate(gone)}, dropped past the limit."


def accurate(entry: Entry) -> str:
    """Return how far off forecasts were."""
    found = entry["accuracy"]
    if found is None:
        return ""
    n = found["periods"]
    of = "last month" if n == 1 else f"the last {number(n)} months"
    mean = "" if n == 1 else " on average"
    return (
        f"Forecasts made on day {found['day']} of {of} were off by "
        f"{found['error_percent']:.1f} %{mean}."
    )


def smaller(entry: Entry) -> str:
    """Return that a smaller plan would do."""
    plan = entry["smaller_plan"]
    if plan is None:
        return ""
    return (
        f"A smaller plan would do: {plan['plan']} with {events(plan['limit'])}. In none of the "
        "last three months was more than 40 % of the limit used."
    )
