"""How `forecast ORG` reads: what will come, what would help, and how right it was before."""

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from quota_watch.cli.output import (
    DROPPED,
    bar,
    is_terminal,
    plural,
    print_plain,
    print_table,
    sparkline,
)
from quota_watch.forecast.accuracy import CheckDay, DateCheck
from quota_watch.forecast.capped import Losses
from quota_watch.forecast.forecast import DayAhead, Forecast
from quota_watch.forecast.remedies import Part, PeriodFit
from quota_watch.lib.text import (
    Estimate,
    ago,
    certainty,
    days,
    estimate,
    events,
    growth,
    long_day,
    moment,
    number,
    one_line,
    rough,
    share,
    weekday,
)
from quota_watch.messages.words import forecast as words
from quota_watch.model.period import Usage, each_day, is_over, percent
from quota_watch.views.forecast import PeriodForecast

_WIDEST, _BAR, _MOST_PARTS, _NAME = 100, 14, 8, 40
_MARK = "│"
_ALL = 100  # percent


def show(ahead: PeriodForecast, *, now: datetime, stale: bool = False) -> None:
    """Print it, wrapped and with bars on a terminal, a line for each sentence elsewhere.

    Where it is `stale` it says first how old it is.
    """
    if stale and ahead.known.last_ok is not None:
        seen = moment(ahead.known.last_ok, ahead.known.watch.time_zone)
        age = ago(ahead.known.last_ok, now)
        _say([f"Not seen since {seen} ({age}): all that follows is of then, the forecast too."])
    _say(_head(ahead, now))
    forecast, usage = ahead.known.forecast, ahead.known.usage
    if usage is None:
        _say(["This period has no counts yet, so there is no forecast."])
    elif ahead.too_early is not None:
        known, needed = ahead.too_early.days, ahead.too_early.needed
        _say(
            [f"Too early: a forecast needs {needed} days of counts, and there are {known} so far."]
        )
    if forecast is not None and usage is not None:
        _section("Forecast", _outlook(ahead, forecast, usage))
        _show_days(ahead, usage)
        _show_help(ahead)
    if ahead.losses is not None:
        _show_losses(ahead.losses)
    if ahead.accuracy or ahead.date_accuracy:
        dates = map(_judged_date, ahead.date_accuracy)
        _section("How accurate it was", [*map(_judged, ahead.accuracy), *dates])


def show_fit(
    fits: Sequence[PeriodFit] | None, limit: int, *, plan: str | None, price: str | None
) -> None:
    """Say whether another limit would suffice for this period and the next two."""
    parts = (one_line(plan or "", _NAME), f"{events(limit)} a month", one_line(price or "", _NAME))
    title = ", ".join(part for part in parts if part)
    if fits is None:
        _section(title, ["Too little is known to say whether that is enough."])
        return
    verdict = "It is enough." if all(each.fits for each in fits) else "It is not enough."
    periods = [
        f"{days(each.start, each.end)}: at most about {rough(each.at_most)},"
        f" {'fits' if each.fits else f'{rough(each.at_most - limit)} over'}."
        for each in fits
    ]
    _section(title, [verdict, *periods])


def _head(ahead: PeriodForecast, now: datetime) -> list[str]:
    watch, usage, period = ahead.known.watch, ahead.known.usage, ahead.known.period
    name, id_ = one_line(watch.name, _NAME), one_line(watch.organization.id)
    plan = f", plan {one_line(watch.plan, _NAME)}" if watch.plan else ""
    resets = moment(period.resets_at, watch.time_zone)
    lines = [
        (name if name == id_ else f"{name} ({id_})") + plan,
        f"{days(period.start, period.last_day)} (UTC), resets {resets}",
    ]
    if usage is not None and ahead.known.measured_at is not None:
        used = f"{events(usage.used)} used, no limit is known"
        if watch.limit is not None:
            part = share(percent(usage.used, watch.limit))
            used = f"{number(usage.used)} of {events(watch.limit)} used ({part})"
        measured = moment(ahead.known.measured_at, watch.time_zone)
        lines.append(f"{used}, measured {measured}, {ago(ahead.known.measured_at, now)}")
    return lines


def _outlook(ahead: PeriodForecast, forecast: Forecast, usage: Usage) -> list[str]:
    limit, last = ahead.known.watch.limit, ahead.known.period.last_day
    if limit is None or forecast.crosses_on is None:
        return [f"{words.total(forecast, last)}."]
    if is_over(usage.used, limit):
        since = f" since {long_day(usage.crossed_on)}" if usage.crossed_on else ""
        whole = f"Without the limit it would reach about {rough(forecast.p50)} events"
        return [
            f"Over the limit{since}{DROPPED if ahead.known.watch.drops else ''}.",
            f"{whole} ({words.likely_range(forecast)}) by {long_day(last)}.",
        ]
    if forecast.p50 <= limit:
        return [words.under(forecast, last)]
    odds = forecast.probability_over or 0.0
    lost = words.loss(forecast, limit) if ahead.known.watch.drops else ""
    return [
        f"It {words.hits(forecast.crosses_on, odds)}, confidence {certainty(odds)}.",
        words.outcome(forecast, limit, forecast.crosses_on, last),
        *([lost] if lost else []),
    ]


def _show_days(ahead: PeriodForecast, usage: Usage) -> None:
    """Print the days to come: on a terminal beside bars of the limit, else as plain columns."""
    if not ahead.path:
        return
    click.echo()
    if not is_terminal():
        headers = ("date", "expected", "p10", "p50", "p90")
        rows = [(each.day, each.expected, each.p10, each.p50, each.p90) for each in ahead.path]
        print_plain(headers, rows)
        return
    click.echo(_sparks(ahead, usage))
    limit = ahead.known.watch.limit
    most = max(limit or 0, ahead.path[-1].p50, 1)
    title = f"{_MARK} the limit" if limit else ""
    print_table(
        ("day", "expected", "total", "80 % range", title),
        [_day(each, most, limit) for each in ahead.path],
    )


def _day(each: DayAhead, most: int, limit: int | None) -> Sequence[str]:
    low, high = number(each.p10), number(each.p90)
    band = low if low == high else f"{low}\N{EN DASH}{high}"
    drawn = bar(_ALL * each.p50 / most, _BAR)
    place = _BAR * (limit or most) // most
    if limit and place < _BAR:
        drawn = drawn[:place] + _MARK + drawn[place + 1 :]
    over = " over" if is_over(each.p50, limit) else ""
    return weekday(each.day), number(each.expected), number(each.p50), band, drawn + over


def _sparks(ahead: PeriodForecast, usage: Usage) -> str:
    """Draw the period as one line: what each day had, and after the stroke what is to come."""
    known = ahead.known.analysis.past.counted if ahead.known.analysis else {}
    past = [known[day] for day in each_day(ahead.known.period.start, usage.today) if day in known]
    to_come = [each.expected for each in ahead.path]
    if to_come:
        to_come[0] += usage.used_today
    line, most = sparkline([*past, *to_come]), max([*past, *to_come, 1])
    return f"{line[: len(past)]}┊{line[len(past) :]}  up to {number(most)} a day"


def _show_help(ahead: PeriodForecast) -> None:
    analysis, watch = ahead.known.analysis, ahead.known.watch
    if analysis is None or analysis.advice is None:
        return
    advice, used = analysis.advice, ahead.known.usage.used if ahead.known.usage else 0
    lines = words.what_helps(advice, analysis.plan_fit, watch=watch, used=used)
    _section("What would help", lines)
    _show_parts(f"types, last {plural(advice.span_days, 'day')}", advice.types)
    _show_parts("sites, this month", advice.sites)


def _show_parts(title: str, parts: Sequence[Part]) -> None:
    if not parts:
        return
    _gap()
    rows = [
        (
            one_line(part.name, _NAME),
            number(part.counted),
            share(part.share_percent),
            growth(part.growth_percent) or "-",
            words.lever(part),
        )
        for part in parts[:_MOST_PARTS]
    ]
    headers = (title, "events", "share", "growth", "cause")
    behind = any(row[-1] for row in rows)
    print_table(headers if behind else headers[:-1], rows if behind else [row[:-1] for row in rows])
    if len(parts) > _MOST_PARTS:
        click.echo(f"and {number(len(parts) - _MOST_PARTS)} more")


def _show_losses(lost: Losses) -> None:
    rest = f"until the reset {estimate(lost.until_reset)} will be lost if nothing is done"
    lines = [
        f"So far {estimate(lost.total)} were dropped.",
        f"Each day loses {estimate(lost.a_day)}; {rest}.",
    ]
    _section("Lost", lines)
    _gap()
    rows = [
        (each.day, number(each.counted), number(each.lost.likely), _band(each.lost))
        for each in lost.days
    ]
    print_table(("date", "counted", "lost", "80 % range"), rows)


def _band(lost: Estimate) -> str:
    return f"{number(lost.low)} to {number(lost.high)}"


def _judged(check: CheckDay) -> str:
    error = f"{check.error_percent:.0f} %"
    if check.periods == 1:
        ended = f"that ended {'inside' if check.in_band else 'outside'} the band"
        return f"On day {check.day} of the one month known it was off by {error}; {ended}."
    return (
        f"On day {check.day} of the last {check.periods} months it was off by {error} on average; "
        f"{check.in_band} of {check.periods} ended inside the band."
    )


def _judged_date(check: DateCheck) -> str:
    limit = "Of the one month that passed the limit later, the forecast day"
    if check.periods > 1:
        limit = f"Of {check.periods} months that passed the limit later, the forecast day"
    off = f"{check.days_off:g} {'day' if check.days_off == 1 else 'days'}"
    mean = " on average" if check.periods > 1 else ""
    return f"{limit} on day {check.day} was off by {off}{mean}."


def _gap() -> None:
    """Leave a line free before a table, which on a terminal begins with one."""
    if not is_terminal():
        click.echo()


def _section(title: str, lines: Iterable[str]) -> None:
    click.echo()
    click.echo(click.style(title, bold=True) if is_terminal() else title)
    _say(lines)


def _say(lines: Iterable[str]) -> None:
    """Print sentences; on a terminal none is wider than it."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    for line in lines:
        click.echo(textwrap.fill(line, width) if is_terminal() else line)
