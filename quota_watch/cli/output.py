"""What people see: JSON, plain tables where output is piped, coloured ones on a terminal."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from quota_watch.lib.text import one_line

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


def print_json(answer: dict[str, Any]) -> None:
    """Print one object, as every `--json` does."""
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


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

    On a terminal the last column alone wraps, and those of `piped_only` are left out.
    """
    if not is_terminal():
        print_plain(headers, rows)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [n for n, header in enumerate(headers) if header not in piped_only]
    for n in shown:
        table.add_column(headers[n], no_wrap=n != shown[-1], overflow="ellipsis")
    for row in rows:
        cells = [one_line(str(row[n]), None) for n in shown]
        table.add_row(*(Text(cell, style=STATES.get(cell, ("", ""))[1]) for cell in cells))
    console().print(table)


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


def short_time(moment: str | None) -> str:
    """Write an ISO time as `2026-03-15 12:00Z`, or `-`."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%MZ}" if moment else "-"
