"""`status`: what is known now, at a glance."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from quota_watch.cli.context import Context, chosen
from quota_watch.cli.output import (
    STATES,
    bar,
    console,
    is_terminal,
    plural,
    print_json,
    print_plain,
    short_time,
)
from quota_watch.figures import ago, what_and_advice
from quota_watch.text import one_line

_WIDE_SCREEN, _WIDE_BAR, _NARROW_BAR = 100, 24, 12


@click.command()
@click.argument("organizations", metavar="[ORG]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(context: Context, organizations: tuple[str, ...], as_json: bool) -> None:
    """Show what is known now."""
    from quota_watch.storage import outbox, views

    config = context.config()
    watches = chosen(config.watches(), organizations)
    now = context.clock.now()
    with context.existing(config) as database, database.read() as connection:
        shown = views.organizations(connection, watches, now=now)
        pending = outbox.count_pending(connection)
    if as_json:
        print_json({"organizations": shown})
    else:
        show(shown, now=now, pending=pending)
        for watch in watches:
            if not watch.channels:
                click.echo(f"{watch.organization.id}: nobody hears of its alerts", err=True)


def show(organizations: Sequence[dict[str, Any]], *, now: datetime, pending: int) -> None:
    """Print the organizations, the most urgent first: a table with bars, or plain columns."""
    if is_terminal():
        _show_table(sorted(organizations, key=_urgency), now)
    else:
        _show_plain(organizations, now)
    if pending:
        verb = "waits" if pending == 1 else "wait"
        click.echo(f"{plural(pending, 'delivery')} {verb}: see `quota-watch deliveries`")


def _urgency(shown: dict[str, Any]) -> tuple[int, float]:
    return list(STATES).index(shown["state"]), -(shown["percent"] or 0)


def _show_table(organizations: Sequence[dict[str, Any]], now: datetime) -> None:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    screen = console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.title = Text(_period_line(organizations, now), style="dim")
    table.add_column("organization", no_wrap=True, overflow="ellipsis", max_width=36)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("used of limit", justify="right", no_wrap=True)
    table.add_column("seen", no_wrap=True)
    cells = _WIDE_BAR if screen.width >= _WIDE_SCREEN else _NARROW_BAR
    for shown in organizations:
        sign, style = STATES[shown["state"]]
        table.add_row(
            Text.assemble((f"{sign} ", style), (one_line(shown["name"]), "bold")),
            Text(bar(shown["percent"], cells), style=style),
            Text(_percent(shown), style=style),
            _used_of_limit(shown),
            ago(shown["last_ok"], now),
        )
    screen.print(table)
    for shown in organizations:
        if note := _note(shown):
            sign, style = STATES[shown["state"]]
            name = Text.assemble((f"{sign} ", style), (f"{one_line(shown['name'])}: ", "bold"))
            screen.print(Padding(name.append(one_line(note, None)), (0, 0, 0, 1)))


def _show_plain(organizations: Sequence[dict[str, Any]], now: datetime) -> None:
    headers = ("organization", "state", "percent", "used", "limit", "resets", "seen", "note")
    rows = [
        (
            shown["name"],
            shown["state"],
            _percent(shown),
            "-" if shown["used"] is None else shown["used"],
            "-" if shown["limit"] is None else shown["limit"],
            shown["period"]["resets_at"],
            ago(shown["last_ok"], now),
            _note(shown),
        )
        for shown in organizations
    ]
    print_plain(headers, rows)


def _period_line(organizations: Sequence[dict[str, Any]], now: datetime) -> str:
    if not organizations:
        return ""
    period = organizations[0]["period"]
    days = (datetime.fromisoformat(period["resets_at"]) - now).days
    left = f"in {days} days" if days > 1 else "within two days" if days else "within a day"
    return f"{period['start']} to {period['end']} (UTC), resets {left}"


def _percent(shown: dict[str, Any]) -> str:
    return "-" if shown["percent"] is None else f"{shown['percent']:.1f} %"


def _used_of_limit(shown: dict[str, Any]) -> str:
    used = "?" if shown["used"] is None else f"{shown['used']:,}"
    limit = "no limit known" if shown["limit"] is None else f"{shown['limit']:,}"
    return f"{used} / {limit}"


def _note(shown: dict[str, Any]) -> str:
    notes = []
    if shown["limit"] is None:
        notes.append("no limit is known, so no level is judged")
    if shown["over"]:
        drops = "events are being dropped (or within 30 minutes)" if shown["drops"] else "over"
        notes.append(f"{drops} since {shown['crossed_on']}")
    if shown["last_error"]:
        word = "blind, polls fail" if shown["blind"] else "polls fail"
        error = what_and_advice(shown["last_error"]["message"])[0]
        notes.append(f"{word} since {short_time(shown['failing_since'])}: {error}")
    elif shown["last_poll"] is None:
        notes.append("not polled yet")
    return "; ".join(notes)
