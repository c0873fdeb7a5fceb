"""What people see: JSON, tables, bars, progress; and the options that are dates."""

import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TextIO

import click

from quota_watch.lib.text import one_line, plain

if TYPE_CHECKING:
    from rich.console import Console


STATES = {
    "critical": ("■", "bold red"),
    "unknown": ("○", "magenta"),
    "warning": ("▲", "yellow"),
    "info": ("◆", "cyan"),
    "ok": ("●", "green"),
}
"""Sign and style of each state an organization can be in, the most urgent first."""


_LEAST_WIDTH, _GAP = 20, 3
DROPPED = "; Rybbit drops new events within 30 minutes of that"
"""What follows from being over a limit, where events are dropped."""


def print_json(answer: Mapping[str, object]) -> None:
    """Print one object of facts, as every `--json` does; escaped, whatever the output can show."""
    click.echo(json.dumps(plain(answer), indent=2))


def is_terminal() -> bool:
    """Tell whether stdout is a terminal that shows more than plain text."""
    return bool(sys.stdout) and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def plural(n: int, thing: str) -> str:
    """Write a count of things: `1 delivery`, `2 deliveries`, `3 days`."""
    is_ies = thing.endswith("y") and thing[-2] not in "aeiou"
    many = f"{thing[:-1]}ies" if is_ies else f"{thing}s"
    return f"{n} {thing if n == 1 else many}"


def console() -> "Console":
    """Return rich's console for stdout; NO_COLOR is honoured by rich itself."""
    from rich.console import Console

    return Console(highlight=False)


def print_plain(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns that line up, without colour, for pipes and files."""
    table = [list(headers), *([one_line(str(cell), None) for cell in row] for row in rows)]
    widths = [max(len(row[n]) for row in table) for n in range(len(headers))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def print_table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, piped_only: Collection[str] = ()
) -> None:
    """Print a table: by rich on a terminal, plain elsewhere.

    On a terminal the last column alone wraps, though not to nothing where others are long, and
    those of `piped_only` are left out.
    """
    if not is_terminal():
        print_plain(headers, rows)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [n for n, header in enumerate(headers) if header not in piped_only]
    lines = [[one_line(str(row[n]), None) for n in shown] for row in rows]
    screen = console()
    widths = _widths([[headers[n] for n in shown], *lines], screen.width)
    for n, width in zip(shown, widths, strict=True):
        if n == shown[-1]:
            table.add_column(headers[n], min_width=width)
        else:
            table.add_column(headers[n], no_wrap=True, overflow="ellipsis", max_width=width)
    for cells in lines:
        table.add_row(*(Text(cell, style=STATES.get(cell, ("", ""))[1]) for cell in cells))
    screen.print(table)


def _widths(lines: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return how wide columns can be: the widest gives way until all fit, the last one wraps."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[-1] = min(widths[-1], _LEAST_WIDTH)
    while sum(widths) + _GAP * len(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def bar(share: float | None, cells: int) -> str:
    """Draw a share of 0 to 100 percent; what is more fills the bar."""
    if share is None:
        return "·" * cells
    eighths = min(int(share * cells * 8 / 100), cells * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(cells, "░")


def sparkline(counts: Sequence[int | None]) -> str:
    """Draw counts as columns one cell wide; a day that is unknown is a dot."""
    most = max((n for n in counts if n is not None), default=0) or 1
    return "".join("·" if n is None else "▁▂▃▄▅▆▇█"[min(n * 8 // most, 7)] for n in counts)


def short_time(at: datetime | None) -> str:
    """Write a time as `2026-03-15 12:00Z`, or `-`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%MZ}" if at else "-"


def is_watched() -> bool:
    """Tell whether stderr is a terminal that can show a bar."""
    return bool(sys.stderr) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@dataclass(frozen=True, slots=True)
class Progress:
    """Says how far it is: `advance` by so many steps, `say` what is done now."""

    advance: Callable[[int], object]
    say: Callable[[str], object]


@contextmanager
def progress(what: str, total: int, *, bar: bool, lines: bool = False) -> Iterator[Progress]:
    """Show progress on stderr while the block runs.

    As a bar if `bar` and a terminal is there, else what is said as lines, if `lines`.
    """
    if not (bar and is_watched()):
        say = _line if lines else _nothing
        yield Progress(advance=_nothing, say=say)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.fields[what]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    before = sys.stderr
    shown = Bars(*columns, console=Console(stderr=True), transient=True)
    with shown as bars, _log_above(before):
        task = bars.add_task("", total=total, what=what)
        yield Progress(
            advance=lambda steps: bars.advance(task, steps),
            say=lambda text: bars.update(task, what=text),
        )


@contextmanager
def _log_above(before: TextIO) -> Iterator[None]:
    """Let the log take the way through the bar's own stderr: it would write into its line."""
    handlers = [
        each
        for each in logging.getLogger().handlers
        if isinstance(each, logging.StreamHandler) and each.stream is before
    ]
    for each in handlers:
        each.setStream(sys.stderr)
    try:
        yield
    finally:
        for each in handlers:
            each.setStream(before)


def _line(text: str) -> None:
    click.echo(text, err=True)


def _nothing(_: object) -> None:
    return


class _Day(click.DateTime):
    """A day, refused with words instead of a format."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx).date()
        except click.BadParameter:
            self.fail(f"'{value}' is not a day; write it as 2026-11-01", param, ctx)


DATE = _Day(["%Y-%m-%d"])
"""The type of an option that is a day in UTC."""


def refuse_backward(first: date | None, last: date | None) -> None:
    """Raise `click.UsageError` where the range is the wrong way round."""
    if first is not None and last is not None and first > last:
        raise click.UsageError(f"--from {first} is later than --to {last}")
