"""`status`: what is known now, at a glance."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NoReturn

import click
from sqlalchemy import Connection

from quota_watch.cli.context import (
    GROUP,
    JSON,
    ORGANIZATIONS,
    STATES,
    Context,
    bar,
    dropped,
    given,
    is_terminal,
    print_json,
    print_table,
    say,
    short_time,
)
from quota_watch.forecast.forecast import KeptForecast
from quota_watch.lib.text import (
    about,
    ago,
    aside,
    growth,
    iso,
    listed,
    one_line,
    plural,
    rough,
    share,
    span,
    sparkline,
    verb,
    what_and_advice,
)
from quota_watch.model.period import ONE_DAY
from quota_watch.model.watch import Watch
from quota_watch.storage import deliveries
from quota_watch.storage.database import Database
from quota_watch.views.known import SiteStatus
from quota_watch.views.status import Status, by_urgency, statuses

if TYPE_CHECKING:
    from rich.text import Text

_MEDIUM_SCREEN, _WIDE_SCREEN, _WIDE_BAR, _NARROW_BAR = 100, 140, 24, 12
_SPARK_DAYS = 14
_LINES_AROUND = 7  # of a window: title, heads, rules, what is hidden, what waits
_WATCH_SECONDS = 5.0
_OLD_LIMIT = timedelta(days=2)
_SITES_NAMED = 5
_COUNTS = {"%", "used of limit", "forecast"}  # columns of numbers


@click.command()
@ORGANIZATIONS
@JSON
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
    if go_on and (as_json or sites):
        raise click.UsageError(
            f"--watch and {'--json' if as_json else '--sites'} exclude each other"
        )
    watches = context.watches(organizations, group)
    with context.existing() as database:
        show_now = partial(_show_now, context, database, watches)
        if go_on:
            show_again(partial(show_now, fits=True), threading.Event().wait)
        show_now(as_json=as_json, sites=sites)


def show_again(show: Callable[[], None], wait: Callable[[float], object]) -> NoReturn:
    """Show it every few seconds until interrupted: in place on a terminal, else below."""
    while True:
        if is_terminal():
            click.clear()
        show()
        wait(_WATCH_SECONDS)
        if not is_terminal():
            click.echo()


def _show_now(
    context: Context,
    database: Database,
    watches: Sequence[Watch],
    *,
    as_json: bool = False,
    sites: bool = False,
    fits: bool = False,
) -> None:
    from quota_watch.views.periods import daily_totals

    now, interval = context.clock.now(), context.config.poll.interval
    with database.read() as connection:
        organizations = statuses(connection, watches, now=now, interval=interval)
        if as_json:
            print_json({"organizations": organizations})
            return
        pending = deliveries.count_pending(connection)
        keys = {each.known.pk: each.id for each in organizations if each.known.pk is not None}
        first = now.date() - (_SPARK_DAYS - 1) * ONE_DAY
        days = daily_totals(connection, keys, first, now.date()) if is_terminal() else {}
    if sites:
        _show_sites(organizations, now)
        return
    show(organizations, now=now, pending=pending, fits=fits, days=days)
    for watch in watches:
        if not watch.channels and not fits:
            click.echo(f"{watch.organization.id}: nobody gets its alerts", err=True)


def _show_sites(organizations: Sequence[Status], now: datetime) -> None:
    """Print who used the plan: each site's share, growth and budget."""
    if old := old_numbers(organizations, now):
        say(old, style="bold magenta")
    print_table(
        ("organization", "site", "used", "share", "growth", "budget", "note"),
        [
            (
                each.name,
                site.domain,
                site.used,
                None if site.share is None else share(site.share),
                growth(site.growth) or None,
                site.budget,
                _note_of_site(site),
            )
            for each in organizations
            for site in each.sites
        ],
    )
    for each in organizations:
        if not each.sites:
            click.echo(f"{each.id}: Rybbit has listed no site yet", err=True)


def _note_of_site(site: SiteStatus) -> str:
    if site.requires_plan:
        return "collects nothing without a plan"
    if site.unreadable:
        return "the key can't read its usage (scope sites:read)"
    return "not read yet" if site.used is None else ""


def old_numbers(organizations: Sequence[Status], now: datetime) -> str:
    """Say how old the numbers of all of them are, and why; empty where some are current."""
    polled = [each for each in organizations if each.last_poll and each.last_ok]
    if not polled or not all(each.stale for each in polled):
        return ""
    last_poll, last_ok = max((each.last_poll, each.last_ok) for each in polled)
    since = f"{short_time(last_ok)} ({ago(last_ok, now)})"
    if last_poll == last_ok:
        why = f"Nothing has been polled since {since}: is `quota-watch run` running?"
    else:
        why = f"No poll has succeeded since {since}."
    return f"{why} All numbers below are from then."


def warn_of_old(context: Context, connection: Connection, watches: Sequence[Watch]) -> None:
    """Say on stderr how old the numbers are that a view shows, where they are old."""
    now, interval = context.clock.now(), context.config.poll.interval
    organizations = statuses(connection, watches, now=now, interval=interval, brief=True)
    if old := old_numbers(organizations, now):
        click.echo(old, err=True)


def show(
    organizations: Sequence[Status],
    *,
    now: datetime,
    pending: int,
    fits: bool = False,
    days: Mapping[str, Sequence[int | None]] = MappingProxyType({}),
) -> None:
    """Print the organizations: on a terminal as bars, the most urgent first, else as columns.

    `days` are the last ones of each by its id, which become a line. On a terminal that `fits` is
    cut to its window.
    """
    old = old_numbers(organizations, now)
    if old:
        say(old, style="bold magenta")
    if is_terminal():
        _show_bars(by_urgency(organizations), now, days, old=old, fits=fits)
    else:
        print_table(
            ("organization", "state", "percent", "used", "limit", "resets", "seen", "note"),
            [
                (
                    each.name,
                    each.state,
                    _percent(each),
                    each.used,
                    each.limit,
                    iso(each.period.resets_at),
                    ago(each.last_ok, now),
                    _note(each, now, is_old=bool(old)),
                )
                for each in organizations
            ],
        )
    if pending:
        waiting = "delivery waits" if pending == 1 else "deliveries wait"
        click.echo(f"{pending:,} {waiting}: see `quota-watch deliveries`")


def _show_bars(
    organizations: Sequence[Status],
    now: datetime,
    days: Mapping[str, Sequence[int | None]],
    *,
    old: str,
    fits: bool,
) -> None:
    """Print a table with bars, then the notes; cut to the window if it `fits`."""
    from rich import box
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    screen = Console(highlight=False)
    cells = _WIDE_BAR if screen.width >= _WIDE_SCREEN else _NARROW_BAR
    columns: Mapping[str, tuple[int, Callable[[Status], str | Text]]] = {
        "organization": (0, _name),
        " ": (0, lambda each: Text(bar(each.percent, cells), style=STATES[each.state][1])),
        "%": (0, lambda each: Text(_percent(each), style=STATES[each.state][1])),
        "used of limit": (0, _used_of_limit),
        "14 days": (_MEDIUM_SCREEN, lambda each: sparkline(days.get(each.id, ()))),
        "forecast": (_WIDE_SCREEN, lambda each: _band(each.forecast)),
        "seen": (0, lambda each: ago(each.last_ok, now)),
    }
    left = screen.height - _LINES_AROUND - -(-len(old) // screen.width) if fits else None
    rows = organizations if left is None else organizations[: max(left, 1)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.title = Text(_period_line(rows, now), style="dim")
    drawn = {name: cell for name, (least, cell) in columns.items() if screen.width >= least}
    for name in drawn:
        justify: Literal["left", "right"] = "right" if name in _COUNTS else "left"
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", max_width=46)
    for each in rows:
        table.add_row(*(cell(each) for cell in drawn.values()))
    screen.print(table)
    if hidden := len(organizations) - len(rows):
        screen.print(Text(f" … and {plural(hidden, 'organization')} less urgent", "dim"))
    notes = ((each, note) for each in rows if (note := _note(each, now, is_old=bool(old))))
    for each, note in list(notes)[: None if left is None else max(left - len(rows), 0)]:
        line = _name(each).append(f": {one_line(note, None)}", "not bold")
        if fits:
            line.truncate(screen.width - 1, overflow="ellipsis")
        screen.print(Padding(line, (0, 0, 0, 1)))


def _name(status: Status) -> "Text":
    from rich.text import Text

    sign, style = STATES[status.state]
    return Text.assemble((f"{sign} ", style), (one_line(status.name), "bold"))


def _period_line(organizations: Sequence[Status], now: datetime) -> str:
    if not organizations:
        return ""
    period = organizations[0].period
    days = (period.resets_at - now).days
    left = f"in {days} days" if days > 1 else "within two days" if days else "within a day"
    return f"{period.start} to {period.last_day} (UTC), resets {left}"


def _percent(status: Status) -> str:
    return "-" if status.percent is None else f"{status.percent:.1f} %"


def _used_of_limit(status: Status) -> str:
    used = "?" if status.used is None else f"{status.used:,}"
    limit = "no limit known" if status.limit is None else f"{status.limit:,}"
    return f"{used} / {limit}"


def _band(forecast: KeptForecast | None) -> str:
    if forecast is None:
        return "-"
    return f"{rough(forecast.p50)}{aside(forecast.p10, forecast.p90)}"


def _note(status: Status, now: datetime, *, is_old: bool) -> str:
    """Write what the numbers don't show; their age only unless `is_old`: then a banner has it."""
    age = [f"not seen since {short_time(status.last_ok)}"] if status.stale and not is_old else []
    return "; ".join((*age, *_of_polls(status), *_of_counts(status, now), *_of_limit(status, now)))


def _of_polls(status: Status) -> Iterator[str]:
    if status.last_error:
        word = "blind, polls failing" if status.blind else "polls failing"
        error = what_and_advice(status.last_error.message)[0]
        yield f"{word} since {short_time(status.failing_since)}: {error}"
    elif status.last_poll is None:
        yield "not polled yet"
    if pace := stretched(status):
        yield pace
    for silence in status.silences:
        yield (
            f"{silence.rule or 'all'} silenced until {short_time(silence.ends_at)} "
            f"({silence.reason})"
        )


def stretched(status: Status) -> str:
    """Say how often it is polled where that is not as configured; empty where it is."""
    interval = status.interval
    if interval is None or not interval.stretched:
        return ""
    every, configured = (
        span(timedelta(seconds=seconds or 0)) for seconds in (interval.current, interval.configured)
    )
    return (
        f"polled every {every}, not {configured}: the key's daily budget allows no more, "
        "or this config is newer than the poll"
    )


def _of_counts(status: Status, now: datetime) -> Iterator[str]:
    if status.over:
        yield f"over since {status.crossed_on}" + (
            dropped(status.crossed_on, now) if status.drops else ""
        )
    elif status.enforced:
        yield "Rybbit reports it over its limit; new events are dropped"
    if without := [site.domain for site in status.sites if site.requires_plan]:
        yield f"without a plan nothing is collected for {listed(without[:_SITES_NAMED])}"
    if status.lost and status.lost.high:
        yield f"{about(status.lost)} events lost"
    forecast, limit = status.forecast, status.limit
    if forecast is None or limit is None or status.over or forecast.p90 <= limit:
        return
    how = verb(forecast.probability_over or 0.0)
    when = given(f", {how} hit its limit on {{}}", status.crosses_on)
    as_of = f" of {forecast.as_of}" if status.stale else ""
    yield f"forecast{as_of} {_band(forecast)} by the end{when}"


def _of_limit(status: Status, now: datetime) -> Iterator[str]:
    if status.limit is None:
        yield "no limit is known, so no level is checked"
    as_of = status.limit_as_of
    is_old = as_of is not None and now - as_of > _OLD_LIMIT and not status.stale
    if status.limit_source == "upstream" and is_old:
        yield f"the limit was read from Rybbit {ago(as_of, now)}"
    if pending := status.limit_pending:
        lower = "no limit" if pending.limit is None else f"{pending.limit:,}"
        lower += given(" (subscription {})", pending.status)
        yield f"Rybbit says {lower}, to be confirmed at {pending.confirmed_at:%H:%M} UTC"
    if differs := status.limit_differs:
        theirs = f"{differs.upstream:,}{given(' (plan {})', differs.plan)}"
        yield f"the config's limit is {differs.config:,}, Rybbit's {theirs}"
    mismatch = status.mismatch
    if mismatch and mismatch.ours is not None and mismatch.theirs is not None:
        sure = "" if mismatch.confirmed else ", not confirmed yet"
        yield f"counted {mismatch.ours:,} here, {mismatch.theirs:,} at Rybbit{sure}"
