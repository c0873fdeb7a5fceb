"""`history`, `export` and `db`: what is kept, to read, for other programs and to look after."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from quota_watch.cli.context import (
    DATE,
    Context,
    bar,
    chosen,
    is_terminal,
    plural,
    print_json,
    print_table,
    progress,
    refuse_backward,
    refuse_foreign_folder,
)
from quota_watch.lib.text import csv_text

if TYPE_CHECKING:
    from quota_watch.views.days import DayRecord, ExportedDay


_DEFAULT_DAYS = 31
_BAR, _LARGEST = 16, 3
_CAPPED = "capped"


@click.command()
@click.argument("organization", metavar="ORG")
@click.option(
    "--from",
    "first",
    type=DATE,
    metavar="DATE",
    help="First day [default: 30 days before --to; by month, 11 months before].",
)
@click.option("--to", "last", type=DATE, metavar="DATE", help="Last day [default: today, UTC].")
@click.option("--by", type=click.Choice(["day", "month"]), default="day", show_default=True)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def history(
    context: Context,
    organization: str,
    first: date | None,
    last: date | None,
    by: str,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show the stored counts of an organization."""
    from quota_watch.views import days as views

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    config = context.config()
    (watch,) = chosen(config, (organization,))
    start, end = _range(first, last, context.clock.now().date(), by_month=by == "month")
    with context.existing(config) as database, database.read() as connection:
        days = views.history(connection, watch, start, end)
    rows = views.by_month(days) if by == "month" else days
    if as_json:
        print_json({"history": rows})
    elif as_csv:
        _print_csv(rows)
    else:
        _print_days(rows)


def _range(
    first: date | None, last: date | None, today: date, *, by_month: bool
) -> tuple[date, date]:
    end = last or today
    usual = end - timedelta(days=_DEFAULT_DAYS - 1)
    if by_month:  # whole ones: this and the eleven before it
        usual = end.replace(year=end.year - 1 + end.month // 12, month=end.month % 12 + 1, day=1)
    start = first or usual
    refuse_backward(start, end)
    return start, end


def _types(rows: "Sequence[DayRecord]", part: str) -> list[str]:
    return sorted({kind for row in rows for kind in getattr(row, part)})


def _print_csv(rows: "Sequence[DayRecord]") -> None:
    counted, rest = _types(rows, "by_type"), _types(rows, "not_counted")
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["date", "used", *counted, *(f"not_counted:{kind}" for kind in rest), "capped"])
    for row in rows:
        types = [row.by_type.get(kind, 0) for kind in counted]
        outside = [row.not_counted.get(kind, 0) for kind in rest]
        out.writerow([row.date, row.used, *types, *outside, str(row.capped).lower()])


def _print_days(rows: "Sequence[DayRecord]") -> None:
    if not rows:
        click.echo("nothing is stored for these days yet", err=True)
        return
    rest = _types(rows, "not_counted")
    if not is_terminal():
        _print_plain(rows, rest)
        return
    most = max(row.used for row in rows) or 1
    print_table(
        ("date", "used", "", "by type"),
        [(row.date, f"{row.used:,}", bar(100 * row.used / most, _BAR), _mix(row)) for row in rows],
    )
    total = sum(row.used for row in rows)
    click.echo(f"{total:,} counted events" + (f"; not counted: {', '.join(rest)}" if rest else ""))
    if any(row.capped for row in rows):
        click.echo(
            f"{_CAPPED}: events past the limit were dropped, so traffic was higher than the count"
        )


def _print_plain(rows: "Sequence[DayRecord]", rest: Sequence[str]) -> None:
    counted = _types(rows, "by_type")
    print_table(
        ["date", "used", *counted, *(f"({kind})" for kind in rest), "note"],
        [
            [
                row.date,
                row.used,
                *(row.by_type.get(kind, 0) for kind in counted),
                *(row.not_counted.get(kind, 0) for kind in rest),
                _CAPPED if row.capped else "",
            ]
            for row in rows
        ],
    )


def _mix(row: "DayRecord") -> str:
    """Return the largest types of a day with their shares, after what makes it no ordinary one."""
    largest = sorted(row.by_type.items(), key=lambda item: -item[1])[:_LARGEST]
    mix = ", ".join(f"{kind} {100 * n // row.used} %" for kind, n in largest if n)
    return ": ".join(part for part in (_CAPPED if row.capped else "", mix) if part)


_FORMATS = ("csv", "json", "jsonl")
_COLUMNS = ("organization", "name", "server", "date", "used", "not_counted", "capped")
_STEP = 500

Writer = Callable[[TextIO, "Iterable[ExportedDay]"], None]


@click.command()
@click.argument("organizations", metavar="[ORG]...", nargs=-1)
@click.option("--from", "first", type=DATE, metavar="DATE", help="First day [default: all].")
@click.option("--to", "last", type=DATE, metavar="DATE", help="Last day [default: all].")
@click.option(
    "--format",
    "format_",
    type=click.Choice(_FORMATS),
    help="[default: from FILE's extension, else csv]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Where to write, atomically [default: stdout].",
)
@click.pass_obj
def export(
    context: Context,
    organizations: tuple[str, ...],
    first: date | None,
    last: date | None,
    format_: str | None,
    output: Path | None,
) -> None:
    """Export all stored daily counts.

    Of all organizations, also those that the config does not name, or of the named.
    """
    from quota_watch.storage import claims
    from quota_watch.views.days import Wanted, all_days, how_many_days, types_of

    refuse_backward(first, last)
    config = context.config()
    watches = config.watches()
    path = None if output in {None, Path("-")} else output
    kind = format_ or _by_ending(path)
    with context.existing(config) as database, database.read() as connection:
        pks = None
        if organizations:
            named = [watch.organization for watch in chosen(config, organizations)]
            pks = list(claims.keys_of(connection, named).values())
        wanted = Wanted(pks=pks, first=first, last=last)
        outside = {watch.organization: watch.not_counted for watch in watches}
        total = how_many_days(connection, wanted)
        writer = _csv(types_of(connection, wanted)) if kind == "csv" else _WRITERS[kind]
        with (
            _opened(path) as file,
            progress("export", total, bar=path is not None) as shown,
            closing(all_days(connection, wanted, not_counted=outside)) as rows,
        ):
            writer(file, _watched(rows, shown.advance))
    if path is not None:
        click.echo(f"{plural(total, 'day')} written to {path}", err=True)


def _by_ending(path: Path | None) -> str:
    ending = path.suffix.removeprefix(".").lower() if path else ""
    return ending if ending in _FORMATS else _FORMATS[0]


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    from quota_watch.lib.machine import whole_file

    if path is None:
        if sys.stdout is None:
            raise click.UsageError("there is no stdout to write to: give --output FILE")
        yield sys.stdout
        return
    with whole_file(path) as file:
        yield file


def _watched(
    rows: "Iterator[ExportedDay]", advance: Callable[[int], object]
) -> "Iterator[ExportedDay]":
    while part := list(islice(rows, _STEP)):
        yield from part
        advance(len(part))


def _csv(found: Iterable[str]) -> Writer:
    """Return what writes CSV: a column for each of Rybbit's types, then for each other found."""
    from quota_watch.rybbit.answers import KNOWN_TYPES

    types = (*KNOWN_TYPES, *sorted(set(found) - set(KNOWN_TYPES)))

    def write(file: TextIO, rows: "Iterable[ExportedDay]") -> None:
        out = csv.writer(file, lineterminator="\n")
        out.writerow((*_COLUMNS, *types))
        for row in rows:
            day, whose = row.day, row.organization
            counts = {**day.by_type, **day.not_counted}
            cells = (whose.id, csv_text(row.name), whose.server, day.date, day.used)
            rest = (sum(day.not_counted.values()), str(day.capped).lower())
            out.writerow((*cells, *rest, *(counts.get(type_, 0) for type_ in types)))

    return write


def _json(file: TextIO, rows: "Iterable[ExportedDay]") -> None:
    file.write('{"history":[')
    for n, row in enumerate(rows):
        file.write(",\n" if n else "\n")
        file.write(json.dumps(row.to_json()))
    file.write("\n]}\n")


def _jsonl(file: TextIO, rows: "Iterable[ExportedDay]") -> None:
    file.writelines(json.dumps(row.to_json()) + "\n" for row in rows)


_WRITERS: dict[str, Writer] = {"json": _json, "jsonl": _jsonl}


@click.group()
def db() -> None:
    """Migrate, check, back up or copy the database."""


@db.command()
@click.pass_obj
def upgrade(context: Context) -> None:
    """Make the database, or bring its schema up to this version."""
    from quota_watch.storage import upkeep

    with context.unchecked(context.config()) as database:
        refuse_foreign_folder(database)
        before, after = upkeep.upgrade(database)
    change = "is at" if before == after else f"went from {before or 'nothing'} to"
    click.echo(f"{database.label} {change} {after}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def current(context: Context, as_json: bool) -> int:
    """Show the schema the database has and the one this version needs."""
    from quota_watch.storage import upkeep
    from quota_watch.storage.schema import HEAD

    with context.unchecked(context.config()) as database:
        revision = upkeep.current(database)
    if as_json:
        shown = {"database": database.label, "revision": revision, "needed": HEAD}
        print_json({"schemas": [shown]})
    else:
        click.echo(f"{database.label} is at {revision or 'nothing'}; this version needs {HEAD}")
    return 0 if revision is not None else 1


@db.command()
@click.pass_obj
def check(context: Context) -> int:
    """Check that the database has this version's schema and is sound."""
    from quota_watch.storage import upkeep

    with context.existing(context.config()) as database:
        problems = upkeep.unsound(database)
    for problem in problems:
        click.echo(problem, err=True)
    if not problems:
        click.echo(f"{database.label} is sound")
    return 1 if problems else 0


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def backup(context: Context, file: Path) -> None:
    """Copy the SQLite database to FILE while it is in use."""
    from quota_watch.storage import upkeep

    with context.unchecked(context.config()) as database:
        if database.path is None:
            command = upkeep.dump_command(database, str(file))
            raise click.UsageError(f"use PostgreSQL's own tool for this: {command}")
        upkeep.require_current(database)
        upkeep.backup(database.path, file)
        click.echo(f"{database.path} copied to {file}")


@db.command()
@click.argument("url")
@click.pass_obj
def copy(context: Context, url: str) -> None:
    """Copy everything to the new, empty database at URL.

    URL may be "env:NAME", "file:/path" or "credential:NAME", so that no password stands in the
    shell's history.

    Stop the service first: what it writes meanwhile is not copied. Then set database.url to it.
    """
    from quota_watch.storage import DatabaseUrlError, upkeep
    from quota_watch.storage.database import Database

    try:
        new = Database(_revealed(url))
    except DatabaseUrlError as error:
        raise click.UsageError(str(error)) from None
    with context.existing(context.config()) as source, closing(new) as target:
        rows = upkeep.copy(source, target)
        click.echo(f"{rows} rows copied to {target.label}; set database.url to it")


def _revealed(url: str) -> str:
    """Return the URL that is written or referred to; raises `click.UsageError` without it.

    One that is broken is refused before a library reads it: what stands behind an `@` in a
    password would pass for the host, and be shown.
    """
    from quota_watch.config.addresses import database_complaint
    from quota_watch.config.secrets import secret
    from quota_watch.config.values import ConfigError, InvalidValueError

    try:
        return secret(database_complaint)(url).reveal()
    except InvalidValueError as error:
        raise click.UsageError(f"URL: {error}") from None
    except ConfigError as error:
        raise click.UsageError(f"URL: {error.problems[0].message}") from None
