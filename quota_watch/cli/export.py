"""`export`: all daily counts, as a file for other programs."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click

from quota_watch.cli.context import Context, chosen
from quota_watch.cli.dates import DATE, day_of, refuse_backward
from quota_watch.cli.output import plural
from quota_watch.cli.progress import progress
from quota_watch.lib.text import one_line

_FORMATS = ("csv", "json", "jsonl")
_COLUMNS = ("organization", "name", "server", "date", "used", "not_counted", "capped")
_STEP = 500
_FORMULA = ("=", "+", "-", "@")

Json = dict[str, Any]
Writer = Callable[[TextIO, Iterable[Json]], None]


@click.command()
@click.argument("organizations", metavar="[ORG]...", nargs=-1)
@click.option("--from", "first", type=DATE, metavar="DATE", help="First day [default: all].")
@click.option("--to", "last", type=DATE, metavar="DATE", help="Last day [default: all].")
@click.option(
    "--format",
    "format_",
    type=click.Choice(_FORMATS),
    help="[default: by the ending of FILE, else csv]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Where to write, whole or not at all [default: stdout].",
)
@click.pass_obj
def export(
    context: Context,
    organizations: tuple[str, ...],
    first: datetime | None,
    last: datetime | None,
    format_: str | None,
    output: Path | None,
) -> None:
    """Write all daily counts that are kept.

    Of all organizations, also those that the config does not name, or of the named.
    """
    from quota_watch.storage import claims
    from quota_watch.views.export import Wanted, days, how_many, types_of

    refuse_backward(day_of(first), day_of(last))
    config = context.config()
    watches = config.watches()
    path = None if output in {None, Path("-")} else output
    kind = format_ or _by_ending(path)
    with context.existing(config) as database, database.read() as connection:
        pks = None
        if organizations:
            named = [watch.organization for watch in chosen(watches, organizations)]
            pks = list(claims.keys_of(connection, named).values())
        wanted = Wanted(pks=pks, first=day_of(first), last=day_of(last))
        outside = {watch.organization: watch.not_counted for watch in watches}
        total = how_many(connection, wanted)
        writer = _csv(types_of(connection, wanted)) if kind == "csv" else _WRITERS[kind]
        with (
            _opened(path) as file,
            progress("export", total, bar=path is not None) as shown,
            closing(days(connection, wanted, not_counted=outside)) as rows,
        ):
            writer(file, _watched(rows, shown.advance))
    if path is not None:
        click.echo(f"{plural(total, 'day')} written to {path}", err=True)


def _by_ending(path: Path | None) -> str:
    ending = path.suffix.removeprefix(".").lower() if path else ""
    return ending if ending in _FORMATS else _FORMATS[0]


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    from quota_watch.lib.files import whole_file

    if path is None:
        if sys.stdout is None:
            raise click.UsageError("there is no stdout to write to: give --output FILE")
        yield sys.stdout
        return
    with whole_file(path) as file:
        yield file


def _watched(rows: Iterator[Json], advance: Callable[[int], object]) -> Iterator[Json]:
    while part := list(islice(rows, _STEP)):
        yield from part
        advance(len(part))


def _csv(found: Iterable[str]) -> Writer:
    """Return what writes CSV: a column for each of Rybbit's types, then for each other found."""
    from quota_watch.rybbit.answers import KNOWN_TYPES

    types = (*KNOWN_TYPES, *sorted(set(found) - set(KNOWN_TYPES)))

    def write(file: TextIO, rows: Iterable[Json]) -> None:
        out = csv.writer(file, lineterminator="\n")
        out.writerow((*_COLUMNS, *types))
        for row in rows:
            counts = row["by_type"] | row["not_counted"]
            cells = row | {
                "name": _harmless(row["name"]),
                "not_counted": sum(row["not_counted"].values()),
                "capped": str(row["capped"]).lower(),
            }
            out.writerow(
                [*(cells[name] for name in _COLUMNS), *(counts.get(type_, 0) for type_ in types)]
            )

    return write


def _harmless(name: str) -> str:
    """Return a name that no spreadsheet takes for a formula."""
    line = one_line(name)
    return f"'{line}" if line.startswith(_FORMULA) else line


def _json(file: TextIO, rows: Iterable[Json]) -> None:
    file.write('{"history":[')
    for n, row in enumerate(rows):
        file.write(",\n" if n else "\n")
        file.write(json.dumps(row, ensure_ascii=False))
    file.write("\n]}\n")


def _jsonl(file: TextIO, rows: Iterable[Json]) -> None:
    file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


_WRITERS: dict[str, Writer] = {"json": _json, "jsonl": _jsonl}
