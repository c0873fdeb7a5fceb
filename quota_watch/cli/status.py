"""`status`: what is known now, at a glance."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

import click

from quota_watch.cli.context import (
    DROPPED,
    GROUP,
    STATES,
    Context,
    bar,
    chosen,
    console,
    is_terminal,
    plural,
    print_json,
    print_table,
    short_time,
    sparkline,
)
from quota_watch.lib.text import ago, iso, listed, one_line, what_and_advice
from quota_watch.model.period import ONE_DAY
from quota_watch.model.schedule import span

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quota_watch.model.watch import Watch
    from quota_watch.rules.known import KeptForecast
    from quota_watch.storage.database import Database
    from quota_watch.views.known import SiteStatus
    from quota_watch.views.status import Status

_MEDIUM_SCREEN, _WIDE_SCREEN, _WIDE_BAR, _NARROW_BAR = 100, 140, 24, 12
_SPARK_DAYS = 14
_LINES_AROUND = 7  # of a window: title, heads, rules, what is hidden, what waits
_WATCH_SECONDS = 5.0
_OLD_LIMIT = timedelta(days=2)
_SITES_NAMED = 5


@click.command()
@click.argument("organizations", metavar="[ORG]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--watch",
    "go_on",
    is_flag=True,
    help="Show the worst that fit the window, refreshed every few seconds.",
)
@click.option("--sites", is_flag=True, help="Show each site's share and growth instead.")
@GROUP
@click.pass_obj
def status(
    context: Context,
    organizations: tuple[str, ...],
    as_json: bool,
    sites: bool,
    go_on: bool,
    group: str | None,
) -> None:
    """Show where each organization stands now."""
    if as_json and go_on:
        raise click.UsageError("--json and --watch exclude each other")
    config = context.config()
    watches = chosen(config, organizations, group)
    with context.existing(config) as database:
        shows = partial(_show_once, context, database, watches, config.poll.interval)
        if sites and not as_json:
            _show_sites(context, database, watches)
            return
        if go_on:
            show_again(partial(shows, as_json=False, fits=True), threading.Event().wait)
        shows(as_json=as_json)


def _show_sites(context: Context, database: "Database", watches: Sequence["Watch"]) -> None:
    """Print who used the plan: each site's share, growth and budget."""
    from quota_watch.lib.text import growth, share
    from quota_watch.views.status import statuses

    with database.read() as connection:
        found = statuses(connection, watches, now=context.clock.now())
    rows = [
        (
            status.name,
            site.domain,
            "-" if site.used is None else f"{site.used:,}",
            "-" if site.share is None else share(site.share),
            growth(site.growth) or "-",
            "-" if site.budget is None else f"{site.budget:,}",
            _note_of(site),
        )
        for status in found
        for site in status.sites
    ]
    print_table(("organization", "site", "used", "share", "growth", "budget", "note"), rows)
    for status in found:
        if not status.sites:
            click.echo(f"{status.id}: Rybbit has listed no site yet", err=True)


def _note_of(site: "SiteStatus") -> str:
    if site.requires_plan:
        return "collects nothing without a plan"
    if site.unreadable:
        return "the key can't read its usage (scope sites:read)"
    return "not read yet" if site.used is None else ""


def show_again(show: Callable[[], None], wait: Callable[[float], object]) -> NoReturn:
    """Show it every few seconds until interrupted: in place on a terminal, else after a blank."""
    while True:
        if is_terminal():
            click.clear()
        show()
        wait(_WATCH_SECONDS)
        if not is_terminal():
            click.echo()


def _show_once(
    context: Context,
    database: "Database",
    watches: Sequence["Watch"],
    interval: timedelta,
    *,
    as_json: bool,
    fits: bool = False,
) -> None:
    from quota_watch.views.status import statuses

    now = context.clock.now()
    with database.read() as connection:
        found = statuses(connection, watches, now=now, interval=interval)
        if as_json:
            print_json({"organizations": found})
            return
        from quota_watch.storage import deliveries

        pending = deliveries.count_pending(connection)
        days = _last_days(connection, found, now.date()) if is_terminal() else {}
    show(found, now=now, pending=pending, fits=fits, days=days)
    for watch in watches:
        if not watch.channels and not fits:
            click.echo(f"{watch.organization.id}: nobody gets its alerts", err=True)


def _last_days(
    connection: "Connection", found: Sequence["Status"], today: date
) -> Mapping[str, Sequence[int | None]]:
    from quota_watch.views.days import daily_totals

    keys = {each.known.pk: each.id for each in found if each.known.pk is not None}
    return daily_totals(connection, keys, today - (_SPARK_DAYS - 1) * ONE_DAY, today)


def show(
    organizations: Sequence["Status"],
    *,
    now: datetime,
    pending: int,
    fits: bool = False,
    days: Mapping[str, Sequence[int | None]] = MappingProxyType({}),
) -> None:
    """Print the organizations, the most urgent first: a table with bars, or plain columns.

    `days` are the last ones of each by its id, which become a line. On a terminal that `fits` is
    cut to its window.
    """
    from quota_watch.views.status import by_urgency

    if trouble := _unwatched(organizations, now):
        click.echo(click.style(trouble, fg="magenta", bold=True) if is_terminal() else trouble)
    if is_terminal():
        _show_table(by_urgency(organizations), now, days, fits=fits)
    else:
        _show_plain(organizations, now)
    if pending:
        verb = "waits" if pending == 1 else "wait"
        click.echo(
            f"{plural(pending, 'delivery', 'deliveries')} {verb}: see `quota-watch deliveries`"
        )


def _unwatched(organizations: Sequence["Status"], now: datetime) -> str:
    """Say so where nobody has polled for too long: then nothing below is of now."""
    polls = [each.last_poll for each in organizations if each.last_poll]
    good = [each for each in organizations if each.last_ok]
    if not polls or not all(each.stale for each in good):
        return ""
    last = max(polls)
    if last not in {each.last_ok for each in good}:
        return ""  # polls are made, and fail: each organization says why
    return (
        f"Nothing has been polled since {short_time(last)} ({ago(last, now)}):"
        " is `quota-watch run` running? All numbers below are from then."
    )


def _show_table(
    organizations: Sequence["Status"],
    now: datetime,
    days: Mapping[str, Sequence[int | None]],
    *,
    fits: bool,
) -> None:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    screen = console()
    rows = max(screen.height - _LINES_AROUND, 1) if fits else len(organizations)
    organizations, hidden = organizations[:rows], organizations[rows:]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.title = Text(_period_line(organizations, now), style="dim")
    table.add_column("organization", no_wrap=True, overflow="ellipsis", max_width=36)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("used of limit", justify="right", no_wrap=True)
    has_days, has_forecast = screen.width >= _MEDIUM_SCREEN, screen.width >= _WIDE_SCREEN
    if has_days:
        table.add_column("14 days", no_wrap=True)
    if has_forecast:
        table.add_column("forecast", justify="right", no_wrap=True)
    table.add_column("seen", no_wrap=True)
    cells = _WIDE_BAR if has_forecast else _NARROW_BAR
    for shown in organizations:
        sign, style = STATES[shown.state]
        table.add_row(
            Text.assemble((f"{sign} ", style), (one_line(shown.name), "bold")),
            Text(bar(shown.percent, cells), style=style),
            Text(_percent(shown), style=style),
            _used_of_limit(shown),
            *([sparkline(days.get(shown.id, ()))] if has_days else []),
            *([_band(shown.forecast)] if has_forecast else []),
            ago(shown.last_ok, now),
        )
    screen.print(table)
    if hidden:
        screen.print(Text(f" … and {plural(len(hidden), 'organization')} less urgent", "dim"))
    left = screen.height - len(organizations) - _LINES_AROUND
    for shown in organizations:
        note = _note(shown, now)
        if not note or (fits and left <= 0):
            continue
        sign, style = STATES[shown.state]
        name = Text.assemble((f"{sign} ", style), (f"{one_line(shown.name)}: ", "bold"))
        line = name.append(one_line(note, None))
        if fits:
            line.truncate(screen.width - 1, overflow="ellipsis")
            left -= 1
        screen.print(Padding(line, (0, 0, 0, 1)))


def _show_plain(organizations: Sequence["Status"], now: datetime) -> None:
    headers = ("organization", "state", "percent", "used", "limit", "resets", "seen", "note")
    rows = [
        (
            shown.name,
            shown.state,
            _percent(shown),
            "-" if shown.used is None else shown.used,
            "-" if shown.limit is None else shown.limit,
            iso(shown.period.resets_at),
            ago(shown.last_ok, now),
            _note(shown, now),
        )
        for shown in organizations
    ]
    print_table(headers, rows)


def _period_line(organizations: Sequence["Status"], now: datetime) -> str:
    if not organizations:
        return ""
    period = organizations[0].period
    days = (period.resets_at - now).days
    left = f"in {days} days" if days > 1 else "within two days" if days else "within a day"
    return f"{period.start} to {period.last_day} (UTC), resets {left}"


def _percent(shown: "Status") -> str:
    return "-" if shown.percent is None else f"{shown.percent:.1f} %"


def _used_of_limit(shown: "Status") -> str:
    used = "?" if shown.used is None else f"{shown.used:,}"
    limit = "no limit known" if shown.limit is None else f"{shown.limit:,}"
    return f"{used} / {limit}"


def _note(shown: "Status", now: datetime) -> str:
    age = [f"not seen since {short_time(shown.last_ok)}"] if shown.stale else []
    return "; ".join([*age, *_of_polls(shown), *_of_counts(shown), *_of_limit(shown, now)])


def _of_counts(shown: "Status") -> Iterator[str]:
    if shown.over:
        yield f"over since {shown.crossed_on}{DROPPED if shown.drops else ''}"
    elif shown.enforced:
        yield "Rybbit reports it over its limit; new events are dropped"
    if without := [site.domain for site in shown.sites if site.requires_plan]:
        yield f"without a plan nothing is collected for {listed(without[:_SITES_NAMED])}"
    if lost := shown.lost:
        yield f"about {lost.likely:,} events lost ({lost.low:,} to {lost.high:,})"
    forecast, limit = shown.forecast, shown.limit
    if forecast is None or limit is None or shown.over or forecast.p90 <= limit:
        return
    likely = shown.crosses_on
    when = f", hits its limit around {likely}" if likely else ""
    made = f" of {forecast.as_of}" if shown.stale else ""
    yield f"forecast{made} {_band(forecast)} by the end{when}"


def _band(forecast: "KeptForecast | None") -> str:
    if forecast is None:
        return "-"
    return f"{forecast.p50:,} ({forecast.p10:,} to {forecast.p90:,})"


def _of_limit(shown: "Status", now: datetime) -> Iterator[str]:
    if shown.limit is None:
        yield "no limit is known, so no level is checked"
    as_of = shown.limit_as_of
    if shown.limit_source == "upstream" and as_of and now - as_of > _OLD_LIMIT:
        yield f"the limit was read from Rybbit {ago(as_of, now)}"
    if pending := shown.limit_pending:
        lower = "no limit" if pending.limit is None else f"{pending.limit:,}"
        status = f" (subscription {pending.status})" if pending.status else ""
        yield f"Rybbit says {lower}{status}, to be confirmed at {pending.confirmed_at:%H:%M} UTC"
    if differs := shown.limit_differs:
        plan = f" (plan {differs.plan})" if differs.plan else ""
        yield f"the config's limit is {differs.config:,}, Rybbit's {differs.upstream:,}{plan}"
    if mismatch := shown.mismatch:
        sure = "" if mismatch.confirmed else ", not confirmed yet"
        ours, theirs = mismatch.ours, mismatch.theirs
        if ours is not None and theirs is not None:
            yield f"counted {ours:,} here, {theirs:,} at Rybbit{sure}"


def _of_polls(shown: "Status") -> Iterator[str]:
    if shown.last_error:
        word = "blind, polls failing" if shown.blind else "polls failing"
        error = what_and_advice(shown.last_error.message)[0]
        yield f"{word} since {short_time(shown.failing_since)}: {error}"
    elif shown.last_poll is None:
        yield "not polled yet"
    interval = shown.interval
    if interval and interval.stretched:
        every, wanted = (
            span(timedelta(seconds=seconds or 0))
            for seconds in (interval.current, interval.configured)
        )
        yield f"polled every {every}, not {wanted}: the key's daily budget allows no more"
    for silence in shown.silences:
        what = silence.rule or "all"
        yield f"{what} silenced until {short_time(silence.ends_at)} ({silence.reason})"
