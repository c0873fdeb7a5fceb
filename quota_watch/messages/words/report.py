"""Words of a periodic report: how each organization stands, what changed, what is coming."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from quota_watch.lib.text import (
    NAME,
    about,
    aside,
    certainty,
    days,
    events,
    growth,
    long_day,
    number,
    one_line,
    plural,
    rough,
    share,
    short_day,
)
from quota_watch.messages.words import Words, named
from quota_watch.messages.words.forecast import beyond, hits, risk
from quota_watch.model.period import percent
from quota_watch.model.schedule import ReportKind, ReportSpan
from quota_watch.views.known import SiteStatus
from quota_watch.views.reports import ComingFacts, EntryFacts, SpanFacts

_SITES = 5
_EVEN, _AT_RISK = 0.5, 0.1


class Standing(StrEnum):
    """How an organization stands, the most urgent first."""

    OVER = "over the limit"
    LIKELY = "likely to hit the limit"
    AT_RISK = "might hit the limit"
    UNKNOWN = "not read"
    NO_LIMIT = "no limit known"
    FINE = "fine"


def standing(entry: EntryFacts) -> Standing:
    """Say how an organization stands in the period that the report shows, or the next."""
    if entry.used is None:
        return Standing.UNKNOWN
    if entry.limit is None:
        return Standing.NO_LIMIT
    if entry.over:
        return Standing.OVER
    odds = _odds(entry)
    if odds >= _EVEN:
        return Standing.LIKELY
    return Standing.AT_RISK if odds >= _AT_RISK else Standing.FINE


def _odds(entry: EntryFacts) -> float:
    return (entry.coming.probability_over if entry.coming else None) or 0.0


def most_urgent_first(entries: Sequence[EntryFacts]) -> list[EntryFacts]:
    """Sort organizations by how they stand, then by how much of the limit is used."""
    order = list(Standing)
    return sorted(entries, key=lambda each: (order.index(standing(each)), -(each.percent or 0.0)))


def words_of(span: ReportSpan, entries: Sequence[EntryFacts]) -> Words:
    """Say the most of it in a line, and what to do."""
    weekly = span.kind is ReportKind.WEEKLY
    month = long_day(span.first).split(" ", 1)[1]
    when = days(span.first, span.last) if weekly else month
    return Words(
        title=f"{span.kind.capitalize()} report, {when}: {_headline(entries, span.kind)}",
        lead=_in_all(entries, span.kind),
        steps=_steps(entries, span.kind),
    )


def label(each: Standing, kind: ReportKind) -> str:
    """Say a standing in words, for a period that goes on or for one that is over."""
    if each is Standing.OVER and kind is ReportKind.MONTHLY:
        return "went over the limit"
    return str(each)


def _headline(entries: Sequence[EntryFacts], kind: ReportKind) -> str:
    if len(entries) == 1:
        entry = entries[0]
        part = f", {share(entry.percent)} used" if entry.percent is not None else ""
        return f"{one_line(entry.name, NAME)} {_is(standing(entry), kind)}{part}"
    worst, n = next(iter(_counts(entries).items()))
    part = "all" if n == len(entries) else f"{number(n)} of"
    return f"{part} {plural(len(entries), 'organization')} {_is(worst, kind, many=n > 1)}"


def _counts(entries: Sequence[EntryFacts]) -> dict[Standing, int]:
    """Count how many stand how, the most urgent first."""
    standings = [standing(entry) for entry in entries]
    return {each: standings.count(each) for each in Standing if each in standings}


def _is(each: Standing, kind: ReportKind, *, many: bool = False) -> str:
    """Say a standing as what follows a name or a number."""
    are, have = ("are", "have") if many else ("is", "has")
    over = "went over" if kind is ReportKind.MONTHLY else f"{are} over the limit"
    return {
        Standing.OVER: over,
        Standing.LIKELY: f"{are} likely to hit the limit",
        Standing.AT_RISK: "might hit the limit",
        Standing.UNKNOWN: f"{have} no data",
        Standing.NO_LIMIT: f"{have} no known limit",
        Standing.FINE: f"{are} fine",
    }[each]


def _in_all(entries: Sequence[EntryFacts], kind: ReportKind) -> str:
    counts = _counts(entries)
    if len(counts) == 1:
        return ""
    counted = [f"{number(n)} {_is(each, kind, many=n > 1)}" for each, n in counts.items()]
    return f"{plural(len(entries), 'organization')}: {'; '.join(counted)}."


def _steps(entries: Sequence[EntryFacts], kind: ReportKind) -> tuple[str, ...]:
    """Say what is to be done: of a period that is over nothing, but of the present one."""
    full = [entry.name for entry in entries if _will_be_full(entry, kind)]
    unread = [entry.name for entry in entries if standing(entry) is Standing.UNKNOWN]
    steps = [f"Upgrade or cut traffic: {named(full)}."] if full else []
    if unread:
        steps.append(f"No data: {named(unread)}. `quota-watch status` says why.")
    return tuple(steps) or ("Nothing to do.",)


def _will_be_full(entry: EntryFacts, kind: ReportKind) -> bool:
    if standing(entry) is Standing.OVER and kind is ReportKind.WEEKLY:
        return True
    return _odds(entry) >= _EVEN


def used(entry: EntryFacts) -> str:
    """Say what was used of the limit."""
    if entry.used is None:
        return "No data yet"
    if entry.limit is None:
        return events(entry.used)
    return f"{number(entry.used)} of {events(entry.limit)} ({share(entry.percent)})"


def lines(entry: EntryFacts, kind: ReportKind) -> Iterator[str]:
    """Say what is coming, what changed, what was lost, and how plan and forecasts fit."""
    if entry.coming is not None:
        yield _coming(entry, entry.coming)
    if entry.span is not None and entry.span.used is not None:
        yield _changed(entry.span, entry.span.used, kind)
    if entry.lost is not None and entry.lost.likely:
        yield f"Lost: {about(entry.lost)} events, dropped past the limit."
    plan, accuracy = entry.smaller_plan, entry.accuracy
    if plan is not None:
        price = f", {one_line(plan.price)}" if plan.price else ""
        yield (
            f"A smaller plan would do: {plan.plan} with {events(plan.limit)}{price}. No more than "
            "40 % of the limit was used in any of the last three months."
        )
    if accuracy is not None:
        n = accuracy.periods
        of = "last month" if n == 1 else f"the last {number(n)} months"
        mean = "" if n == 1 else " on average"
        yield (
            f"Forecasts made on day {accuracy.day} of {of} were off by "
            f"{accuracy.error_percent:.1f} %{mean}."
        )


def _coming(entry: EntryFacts, forecast: ComingFacts) -> str:
    """Say where the present period ends, and whether that fits."""
    end, odds = short_day(forecast.period.end), forecast.probability_over
    is_over = bool(entry.over) and entry.period == forecast.period
    if is_over and entry.drops and entry.used is not None:
        more = about(beyond(forecast, entry.used)).capitalize()
        return f"{more} more will be lost by {end}."
    bounds = aside(forecast.p10, forecast.p90, "80 % range: ")
    total = f"About {rough(forecast.p50)} by {end}{bounds}"
    if odds is None or is_over:
        return f"{total}."
    if odds >= _EVEN and forecast.crosses_on is not None and forecast.crosses_on.likely:
        return f"{total}; {hits(forecast.crosses_on, odds)} (confidence {certainty(odds)})."
    return f"{total}, within the limit." if odds < _AT_RISK else f"{total}; {risk(odds)}."


def _changed(span: SpanFacts, used: int, kind: ReportKind) -> str:
    """Say what the reported days came to, against those before."""
    # Months differ in length.
    unit, a_day = ("week", "") if kind is ReportKind.WEEKLY else ("month", " a day")
    count = f"{events(used)} in the {unit}"
    if span.growth is None:
        return f"{count}."
    percent = round(span.growth)
    if percent == 0:
        return f"{count}, as many{a_day} as in the {unit} before."
    way = "more" if percent > 0 else "fewer"
    return f"{count}, {number(abs(percent))} % {way}{a_day} than in the {unit} before."


def sites(entry: EntryFacts) -> tuple[str, ...]:
    """Say who used the plan, those that used most first, and of whom that is unknown."""
    if entry.sites is None:
        return ("Rybbit lists no sites to this key (scope org:read).",) if entry.used else ()
    counted = [site for site in entry.sites if site.used is not None]
    unreadable = sum(site.unreadable for site in entry.sites)
    waiting = len(entry.sites) - len(counted) - unreadable
    largest = counted[:_SITES] if len(entry.sites) > 1 or any(s.budget for s in counted) else []
    lines = [_of_site(site) for site in largest]
    if largest and len(counted) > len(largest):
        lines.append(f"and {number(len(counted) - len(largest))} smaller ones.")
    if unreadable:
        lines.append(
            f"The key can't read the usage of {plural(unreadable, 'site')} (scope sites:read)."
        )
    if largest and waiting:
        lines.append(f"Not counted yet: {plural(waiting, 'site')}.")
    return tuple(lines)


def _of_site(site: SiteStatus) -> str:
    used = site.used or 0
    parts = [events(used), share(site.share)]
    parts += [growth(site.growth)] if site.growth is not None else []
    if site.budget:
        parts.append(f"{share(percent(used, site.budget))} of its budget of {number(site.budget)}")
    return f"{one_line(site.domain, NAME)}: {', '.join(parts)}"
