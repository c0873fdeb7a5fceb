"""Progress where a person watches: a bar on a terminal, nothing or plain lines elsewhere."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

import click


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
