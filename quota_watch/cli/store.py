"""`history`, `export` and `db`: the stored days to read or to export, and care of the database."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import TextIO

import click

from quota_watch.cli.context import (
    DATE,
    JSON,
    ORGANIZATIONS,
    Context,
    bar,
    is_terminal,
    print_json,
    print_table,
    progress,
    refuse_backward,
    refuse_foreign_folder,
)
from quota_watch.cli.status import warn_of_old
from quota_watch.config.addresses import database_url
from quota_watch.config.secrets import secret
from quota_watch.config.values import ConfigError, InvalidValueError
from quota_watch.lib.machine import whole_file
from quota_watch.lib.text import csv_text, plural
from quota_watch.rybbit.answers import KNOWN_TYPES
from quota_watch.storage import DatabaseUrlError, claims, upkeep
from quota_watch.storage.database import Database
from quota_watch.storage.schema import HEAD
from quota_watch.views import periods as views
from quota_watch.views.periods import DayRecord, ExportedDay, Wanted

_DEFAULT_DAYS = 31
_BAR, _LARGEST, _WIDE_SCREEN = 14, (2, 3), 100
_CAPPED = "capped"
_FORMATS = ("csv", "json", "jsonl")
_COLUMNS = ("organization", "name", "server", "date", "used", "not_counted", "capped")
_STEP = 500


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
@JSON
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
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    (watch,) = context.watches((organization,))
    end = last or context.clock.now().date()
    start = first or _usual_start(end, by)
    refuse_backward(start, end)
    with context.existing() as database, database.read() as connection:
        rows = views.history(connection, watch, start, end)
        if not (as_csv or as_json):
            warn_of_old(context, connection, [watch])
    if by == "month":
        rows = views.by_month(rows)
    if as_json:
        print_json({"history": rows})
    elif as_csv:
        lines = _lines(rows, "not_counted:{}", _CAPPED, ("false", "true"))
        csv.writer(sys.stdout, lineterminator="\n").writerows(lines)
    elif not rows:
        click.echo("nothing is stored for these days yet", err=True)
    elif is_terminal():
        _print_bars(rows, "%Y-%m" if by == "month" else "%Y-%m-%d")
    else:
        heads, *lines = _lines(rows, "({})", "note", ("", _CAPPED))
        print_table(list(map(str, heads)), lines)


def _usual_start(end: date, by: str) -> date:
    if by == "day":
        return end - timedelta(days=_DEFAULT_DAYS - 1)
    # whole months: this and the eleven before it
    return end.replace(year=end.year - 1 + end.month // 12, month=end.month % 12 + 1, day=1)


def _types(rows: Sequence[DayRecord], part: str) -> list[str]:
    return sorted({kind for row in rows for kind in getattr(row, part)})


def _lines(
    rows: Sequence[DayRecord], outside: str, mark: str, marks: tuple[str, str]
) -> list[list[object]]:
    """Write days as cells, below the heads: each type's count, and one of `marks` where capped.

    The heads of types outside the bill are written in the form `outside`.
    """
    counted, rest = _types(rows, "by_type"), _types(rows, "not_counted")
    days: list[list[object]] = [
        [
            row.date,
            row.used,
            *(row.by_type.get(kind, 0) for kind in counted),
            *(row.not_counted.get(kind, 0) for kind in rest),
            marks[row.capped],
        ]
        for row in rows
    ]
    return [["date", "used", *counted, *map(outside.format, rest), mark], *days]


def _print_bars(rows: Sequence[DayRecord], day: str) -> None:
    most = max(row.used for row in rows) or 1
    largest = _LARGEST[shutil.get_terminal_size().columns >= _WIDE_SCREEN]
    cells = [
        (f"{row.date:{day}}", row.used, bar(100 * row.used / most, _BAR), _mix(row, largest))
        for row in rows
    ]
    print_table(("date", "used", "", "by type"), cells)
    rest = ", ".join(_types(rows, "not_counted"))
    total = f"{sum(row.used for row in rows):,} counted events"
    click.echo(f"{total}; not counted: {rest}" if rest else total)
    if any(row.capped for row in rows):
        click.echo(
            f"{_CAPPED}: events past the limit were dropped, so traffic was higher than the count"
        )


def _mix(row: DayRecord, most: int) -> str:
    """Write the largest types of a day with their shares, and first whether it was capped."""
    largest = sorted(row.by_type.items(), key=lambda item: -item[1])[:most]
    mix = ", ".join(f"{kind} {100 * n // row.used} %" for kind, n in largest if n)
    return ": ".join(filter(None, (_CAPPED if row.capped else "", mix)))


@click.command()
@ORGANIZATIONS
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

    Of the named organizations, or of all, even those that the config does not name.
    """
    refuse_backward(first, last)
    path = None if output in {None, Path("-")} else output
    ending = path.suffix.removeprefix(".").lower() if path else ""
    kind = format_ or (ending if ending in _FORMATS else _FORMATS[0])
    with context.existing() as database, database.read() as connection:
        pks = None
        if organizations:
            identities = [watch.organization for watch in context.watches(organizations)]
            pks = list(claims.keys_of(connection, identities).values())
        query = Wanted(pks=pks, first=first or date.min, last=last or date.max)
        outside = {watch.organization: watch.not_counted for watch in context.config.watches()}
        total = views.how_many_days(connection, query)
        types = views.types_of(connection, query) if kind == "csv" else set()
        with (
            whole_file(path) if path else nullcontext(sys.stdout) as file,
            progress("export", total, bar=path is not None) as bar,
            closing(views.all_days(connection, query, not_counted=outside)) as rows,
        ):
            _write(file, _counted(rows, bar.advance), kind, types)
    if path is not None:
        click.echo(f"{plural(total, 'day')} written to {path}", err=True)


def _counted(
    rows: Iterator[ExportedDay], advance: Callable[[int], object]
) -> Iterator[ExportedDay]:
    while part := list(islice(rows, _STEP)):
        yield from part
        advance(len(part))


def _write(file: TextIO, rows: Iterable[ExportedDay], kind: str, types: Collection[str]) -> None:
    """Write the days; CSV has a column for each of Rybbit's types, then for each other found."""
    lines = (json.dumps(row.to_json()) for row in rows)
    if kind == "json":
        file.write('{"history":[')
        file.writelines((",\n" if n else "\n") + line for n, line in enumerate(lines))
        file.write("\n]}\n")
    elif kind == "jsonl":
        file.writelines(line + "\n" for line in lines)
    else:
        types = (*KNOWN_TYPES, *sorted(set(types) - set(KNOWN_TYPES)))
        out = csv.writer(file, lineterminator="\n")
        out.writerow((*_COLUMNS, *types))
        for row in rows:
            day, whose = row.day, row.organization
            counts = {**day.by_type, **day.not_counted}
            out.writerow(
                (
                    whose.id,
                    csv_text(row.name),
                    whose.server,
                    day.date,
                    day.used,
                    sum(day.not_counted.values()),
                    str(day.capped).lower(),
                    *(counts.get(type_, 0) for type_ in types),
                )
            )


@click.group()
def db() -> None:
    """Migrate, check, back up or copy the database."""


@db.command()
@click.pass_obj
def upgrade(context: Context) -> None:
    """Make the database, or bring its schema up to this version."""
    with context.unchecked() as database:
        refuse_foreign_folder(database)
        before, after = upkeep.upgrade(database)
    change = "has" if before == after else f"upgraded from {before or 'nothing'} to"
    click.echo(f"{database.label} {change} schema {after}")


@db.command()
@JSON
@click.pass_obj
def current(context: Context, as_json: bool) -> int:
    """Show the schema the database has and the one this version needs."""
    with context.unchecked() as database:
        revision = upkeep.current(database)
    if as_json:
        print_json(
            {"schemas": [{"database": database.label, "revision": revision, "needed": HEAD}]}
        )
    else:
        schema = f"schema {revision}" if revision else "no schema yet"
        click.echo(f"{database.label} has {schema}; this version needs {HEAD}")
    return 0 if revision is not None else 1


@db.command()
@click.pass_obj
def check(context: Context) -> int:
    """Check that the database has this version's schema and is sound."""
    with context.existing() as database:
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
    with context.unchecked() as database:
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

    URL may be "env:NAME", "file:/path" or "credential:NAME", to keep a password out of the shell's
    history.

    Stop the service first: what it writes meanwhile is not copied. Then set database.url to it.
    """
    try:
        new = Database(secret(url, check=database_url).reveal())
    except DatabaseUrlError as error:
        raise click.UsageError(str(error)) from None
    except InvalidValueError as error:  # before a library parses it and shows a password's "@…"
        raise click.UsageError(f"URL: {error}") from None
    except ConfigError as error:
        raise click.UsageError(f"URL: {error.problems[0].message}") from None
    with context.existing() as source, closing(new) as target:
        rows = upkeep.copy(source, target)
        click.echo(f"{rows} rows copied to {target.label}; set database.url to it")
