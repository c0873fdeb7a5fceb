"""What commands share: config, database, organizations, common options, and how they print."""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

import click

from quota_watch.lib.machine import Clock

if TYPE_CHECKING:
    from quota_watch.config import Config, Use
    from quota_watch.config.models import OrganizationTable
    from quota_watch.model.watch import Watch
    from quota_watch.storage.database import Database

_LEAST_WIDTH, _GAP, _WIDEST = 20, 3, 100
_MOST_LISTED = 20

Value = TypeVar("Value")

STATES = {
    "critical": ("■", "bold red"),
    "unknown": ("○", "magenta"),
    "warning": ("▲", "yellow"),
    "info": ("◆", "cyan"),
    "ok": ("●", "green"),
}
"""Sign and style of each state an organization can be in, the most urgent first."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The options before the command, and what follows from them."""

    config_file: Path | None
    level: int
    log_format: Literal["text", "json"]
    clock: Clock = field(default_factory=Clock)

    @cached_property
    def config(self) -> "Config":
        """The config; raises `ConfigError`."""
        from quota_watch.config import find_config, load

        return load(find_config(self.config_file, os.environ))

    def start_logging(self, *uses: "Use") -> None:
        """Log to stderr from now on, with the secrets needed for `uses` blanked out.

        Raises `ConfigError` where one of them is not available.
        """
        from quota_watch.lib.logs import setup_logging

        setup_logging(
            log_format=self.log_format,
            level=self.level,
            secrets=chain.from_iterable(map(_forms, self.config.reveal_all(*uses).values())),
        )

    @contextmanager
    def existing(self, *, to_write: bool = False) -> Iterator["Database"]:
        """Open the database as it is; raises `StorageError` unless its schema is this version's.

        One that is opened `to_write` must be in a folder of this user's.
        """
        from quota_watch.storage.upkeep import require_current

        with self.unchecked() as database:
            require_current(database)
            if to_write:
                refuse_foreign_folder(database)
            yield database

    @contextmanager
    def upgraded(self) -> Iterator["Database"]:
        """Open the database, made or migrated where needed; raises `StorageError`."""
        from quota_watch.storage.upkeep import upgrade

        with self.unchecked() as database:
            refuse_foreign_folder(database)
            upgrade(database)
            yield database

    def unchecked(self) -> "closing[Database]":
        """Open the database without looking at what is there, to be closed by `with`."""
        from quota_watch.config.values import ConfigError, Problem
        from quota_watch.storage import DatabaseUrlError
        from quota_watch.storage.database import Database

        try:
            return closing(Database(self.config.database_url()))
        except DatabaseUrlError as error:
            raise ConfigError(self.config.path, [Problem("database.url", str(error))]) from None

    def watches(self, names: Sequence[str], group: str | None = None) -> tuple["Watch", ...]:
        """Choose the organizations of these ids or names, or all; only those of a group if given.

        Raises `click.UsageError` for a name that the config does not have.
        """
        tables: Sequence[OrganizationTable] = self.config.organizations
        if group is not None:
            pick("group", group, dict.fromkeys(table.group for table in tables if table.group))
            tables = [table for table in tables if table.group == group]
        if names:
            known = {table.name or table.id: table for table in tables}
            known |= {table.id: table for table in tables}
            matches = [pick("organization", name, known) for name in names]
            tables = list({table.id: table for table in matches}.values())
        return tuple(map(self.config.watch, tables))


def refuse_foreign_folder(database: "Database") -> None:
    """Raise `StorageError` where our files would not belong to the owner of the folder."""
    from quota_watch.storage import StorageError

    folder = database.path.parent if database.path is not None else None
    if folder is None or not folder.is_dir() or folder.stat().st_uid == os.geteuid():
        return
    try:
        user = folder.owner()
    except KeyError:
        user = f"#{folder.stat().st_uid}"
    raise StorageError(
        f"{folder} belongs to user {user}, and files made by this user would lock "
        f"the service out: run `sudo -u {user} quota-watch …` instead"
    )


def _forms(secret: str) -> set[str]:
    """List the secret, its words (`Bearer …`), and the password if it is a URL."""
    password = urlsplit(secret).password if "://" in secret else None
    return {secret, *secret.split(), password or secret}


def pick(thing: str, name: str, known: Mapping[str, Value]) -> Value:
    """Return the value of that name; raises `click.UsageError` with what was probably meant."""
    if name in known:
        return known[name]
    from quota_watch.config.values import closest

    near = closest(name, list(known))
    some = [*list(known)[:_MOST_LISTED], *(["…"] if len(known) > _MOST_LISTED else [])]
    hint = f'Did you mean "{near}"?' if near else f"Known: {', '.join(some) or 'none'}."
    raise click.UsageError(f'no {thing} "{name}". {hint}')


class _Day(click.DateTime):
    """A day; one that is malformed is refused with an example instead of a format."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx).date()
        except click.BadParameter:
            self.fail(f"'{value}' is not a day; write it as 2026-11-01", param, ctx)


DATE = _Day(["%Y-%m-%d"])
"""The type of an option that is a day in UTC."""

ORGANIZATIONS = click.argument("organizations", metavar="[ORG]...", nargs=-1)
GROUP = click.option("--group", metavar="NAME", help="Only organizations of this [groups.NAME].")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def refuse_backward(first: date | None, last: date | None) -> None:
    """Raise `click.UsageError` where the range is the wrong way round."""
    if first is not None and last is not None and first > last:
        raise click.UsageError(f"--from {first} is later than --to {last}")


def print_json(answer: Mapping[str, object]) -> None:
    """Print one object, as every `--json` does; ASCII only, whatever the output can show."""
    import json

    from quota_watch.lib.text import plain

    click.echo(json.dumps(plain(answer), indent=2))


def is_terminal(*, err: bool = False) -> bool:
    """Check whether stdout (or stderr) is a terminal that shows more than plain text."""
    return (sys.stderr if err else sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """Colour a text, such as `bold red`, where it goes to a terminal and NO_COLOR is not set."""
    if not style or not is_terminal() or os.environ.get("NO_COLOR"):
        return text
    words = style.split()
    colour = next((word for word in words if word not in {"bold", "dim"}), None)
    return click.style(text, fg=colour, bold="bold" in words, dim="dim" in words)


def print_table(
    headers: Sequence[str],
    *groups: Iterable[Sequence[object]],
    piped_only: Collection[str] = (),
    gap: bool = False,
) -> None:
    """Print rows as a table: by rich on a terminal, elsewhere as plain columns that line up.

    What is None shows as `-`. On a terminal a line divides the groups, counts have separators, and
    the last column alone wraps, though not to nothing where others are long; those of
    `piped_only` are left out. There a table begins with a free line, elsewhere only with a `gap`.
    """
    from quota_watch.lib.text import one_line

    def text(value: object) -> str:
        if isinstance(value, datetime):
            return short_time(value)
        if terminal and isinstance(value, int):
            return f"{value:,}"
        return "-" if value is None else one_line(str(value), None)

    terminal = is_terminal()
    columns = [n for n, header in enumerate(headers) if not (terminal and header in piped_only)]
    parts = [[[text(row[n]) for n in columns] for row in group] for group in groups]
    heads, lines = [headers[n] for n in columns], list(chain.from_iterable(parts))
    if not terminal:
        if gap:
            click.echo()
        widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
        for line in (heads, *lines):
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            click.echo("  ".join(padded).rstrip())
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    screen = Console(highlight=False)
    *widths, last = _widths([heads, *lines], screen.width)
    for head, width in zip(heads, widths, strict=False):
        table.add_column(head, no_wrap=True, overflow="ellipsis", max_width=width)
    table.add_column(heads[-1], min_width=last)
    for part in parts:
        for cells in part:
            table.add_row(*(Text(cell, style=STATES.get(cell, ("", ""))[1]) for cell in cells))
        table.add_section()
    screen.print(table)


def _widths(lines: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return how wide columns can be: the widest gives way until all fit, the last one wraps."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    widths[-1] = min(widths[-1], _LEAST_WIDTH)
    while sum(widths) + _GAP * len(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    return widths


def say(text: str, *, style: str = "", first: str = "", rest: str = "", width: int = 0) -> None:
    """Print a text, on a terminal wrapped to it (`width` everywhere), after these indents."""
    import shutil
    import textwrap

    if not width and is_terminal():
        width = min(shutil.get_terminal_size().columns, _WIDEST)
    lines = textwrap.wrap(
        text,
        width or sys.maxsize,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )
    for line in lines:
        click.echo(styled(line, style))


def short_time(at: datetime | None) -> str:
    """Write a time as `2026-03-15 12:00Z`, or `-`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%MZ}" if at else "-"


def dropped(crossed_on: date | None, now: datetime) -> str:
    """Say what follows from being over a limit, where events are dropped."""
    soon = " within 30 minutes of that" if crossed_on == now.date() else ""
    return f"; new events are dropped{soon}"


def given(form: str, value: object) -> str:
    """Write what is known into its place in a form, ` ({})`; nothing where there is none."""
    return "" if value in {None, ""} else form.format(value)


def bar(share: float | None, cells: int) -> str:
    """Draw a share of 0 to 100 percent; more than that fills the bar."""
    if share is None:
        return "·" * cells
    full, rest = divmod(min(int(share * cells * 8 / 100), cells * 8), 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(cells, "░")


@dataclass(frozen=True, slots=True)
class Progress:
    """Shows how far a command is: `advance` by so many steps, `say` what is done now."""

    advance: Callable[[int], object]
    say: Callable[[str], object]


@contextmanager
def progress(what: str, total: int, *, bar: bool) -> Iterator[Progress]:
    """Show progress on stderr while the block runs.

    As a bar, if `bar` and stderr is a terminal; else as the lines passed to `say`.
    """
    if not (bar and is_terminal(err=True)):
        yield Progress(advance=lambda _: None, say=lambda text: click.echo(text, err=True))
        return
    import logging

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
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars, ExitStack() as undo:
        for each in logging.getLogger().handlers:  # through the bar's stderr, not into its line
            if isinstance(each, logging.StreamHandler) and each.stream is before:
                undo.callback(each.setStream, each.setStream(sys.stderr))
        task = bars.add_task("", total=total, what=what)
        yield Progress(
            advance=lambda steps: bars.advance(task, steps),
            say=lambda text: bars.update(task, what=text),
        )
