"""`demo`: a month of five organizations in about a minute, with everything real but the world."""

import logging
import shutil
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import click

from quota_watch.cli.context import Context
from quota_watch.cli.output import STATES, is_terminal
from quota_watch.cli.status import show
from quota_watch.config import Config, load
from quota_watch.config.needs import has_web
from quota_watch.demo.simulator import Simulator
from quota_watch.demo.stage import (
    END,
    START,
    DemoClock,
    MailSink,
    WebhookSink,
    free_port,
    scenes,
    write_config,
)
from quota_watch.lib.logs import setup_logging
from quota_watch.lib.text import one_line
from quota_watch.service.service import Page
from quota_watch.storage import outbox
from quota_watch.storage.database import Database
from quota_watch.views import organizations as views

SPEED = 45_000
"""Seconds that the demo's clock goes on in one real second: a month a minute."""

PORT = 8420
"""Where the status page is looked for first."""

_TICK_SECONDS = 0.1
_FIRST_SECONDS = 15.0
_STOP_SECONDS = 10.0
_REFRESH_SECONDS = 2
_MARK_EVERY = timedelta(days=4)
_LINE = 100  # characters; a wider terminal is not filled


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What is set up while the month is played."""

    config: Config
    database: Database
    clock: DemoClock
    folder: Path


@click.command()
@click.option(
    "--speed",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    default=SPEED,
    show_default=True,
    help="Seconds of the demo's time in one real second.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    metavar="P",
    default=PORT,
    show_default=True,
    help="Where the status page is served; the next free one where this is taken.",
)
@click.option(
    "--for",
    "seconds",
    type=click.IntRange(1, 86_400),
    metavar="SECONDS",
    help="End after so many real seconds [default: with the month, on a terminal with Ctrl-C].",
)
@click.pass_obj
def demo(context: Context, speed: int, port: int, seconds: int | None) -> None:
    """Play a month in a minute, without an account.

    An embedded Rybbit on loopback, the real daemon against it, its status page, mails and
    webhooks that are kept. On a terminal the page stays open until Ctrl-C.
    """
    until = min(seconds or float("inf"), (END - START).total_seconds() / speed)
    folder = Path(tempfile.mkdtemp(prefix="quota-watch-demo-"))
    with (
        _staged(context, folder, DemoClock(speed, until), port) as stage,
        closing(
            Page(database=stage.database, clock=stage.clock, refresh_seconds=_REFRESH_SECONDS)
        ) as page,
    ):
        page.take_up(stage.config)
        _introduce(stage, page.url, port, until)
        with _serving(stage):
            _play(stage, until)
        _conclude(stage, page.url, stays=seconds is None and is_terminal())


@contextmanager
def _staged(context: Context, folder: Path, clock: DemoClock, port: int) -> Iterator[_Stage]:
    """Set up upstream, the receivers of messages, config, log and database."""
    from quota_watch.storage.migrate import upgrade

    played = scenes()
    with (
        Simulator(clock, played) as upstream,
        MailSink(folder, lambda mail: _tell_mail(clock, mail)) as mails,
        WebhookSink(lambda body: _tell_webhook(clock, body)) as hook,
        (folder / "quota-watch.log").open("w", encoding="utf-8") as log,
    ):
        file = write_config(
            folder,
            played,
            upstream=upstream.url,
            hook=hook.url,
            smtp_port=mails.port,
            page_port=free_port(port) if has_web() else None,
        )
        config = load(file)
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        setup_logging(level=min(context.level, logging.INFO), stream=log)
        with closing(Database(config.database_url())) as database:
            upgrade(database)
            yield _Stage(config=config, database=database, clock=clock, folder=folder)


def _introduce(stage: _Stage, url: str | None, port: int, seconds: float) -> None:
    """Say first where the page is."""
    if url is None:
        click.echo("No status page: pip install 'quota-watch[web]' brings it.")
    else:
        click.echo(f"Status page: {click.style(url, bold=True)} (open it now and watch)")
        if not url.endswith(f":{port}"):
            click.echo(f"  Port {port} is taken, so it is another one.")
    click.echo(f"Playing March 2026 of five organizations in {seconds:.0f} s, all on this machine;")
    click.echo(f"config, database, log and mails: {stage.folder}\n")


@contextmanager
def _serving(stage: _Stage) -> Iterator[None]:
    """Run the daemon as `run` does, in a thread of its own."""
    from quota_watch.service.liveness import Notifier
    from quota_watch.service.runtime import Runtime
    from quota_watch.service.service import Service

    service = Service(
        lambda _: Runtime(stage.config, database=stage.database, clock=stage.clock),
        clock=stage.clock,
        notifier=Notifier({}),
        tick_seconds=_TICK_SECONDS,
    )
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        service.stop()
        thread.join(_STOP_SECONDS)


def _play(stage: _Stage, seconds: float) -> None:
    """Let time pass, and mark every few days where each organization is."""
    clock = stage.clock
    _wait_for_history(stage)
    clock.hurry()
    ends = clock.monotonic() + seconds
    mark = START + _MARK_EVERY
    while (left := ends - clock.monotonic()) > 0:
        time.sleep(min(_TICK_SECONDS, left))
        if clock.now() >= mark:
            mark += _MARK_EVERY
            levels = [f"{each['name'].split()[0]} {_level(each)}" for each in _known(stage)]
            click.echo(click.style(f"── {clock.now():%d %b}: {' · '.join(levels)}", dim=True))


def _wait_for_history(stage: _Stage) -> None:
    """Wait until every organization was polled once, which fetches the year before."""
    latest = time.monotonic() + _FIRST_SECONDS
    while time.monotonic() < latest and not all(each["last_poll"] for each in _known(stage)):
        time.sleep(_TICK_SECONDS)


def _conclude(stage: _Stage, url: str | None, *, stays: bool) -> None:
    """Say how the month ended and where to look; with a page, wait if it `stays` open."""
    now = stage.clock.now()
    with stage.database.read() as connection:
        pending = outbox.count_pending(connection)
    click.echo(f"\nIt is {now:%d %B %Y, %H:%M} UTC there. `quota-watch status` says:\n")
    show(_known(stage), now=now, pending=pending)
    config = stage.folder / "config.toml"
    click.echo(f"\nMails      {stage.folder} (.eml, and .html for a browser)")
    click.echo(f"Try it on  {sys.argv[0]} -c {config} alerts")
    if url is None or not stays:
        return
    click.echo(f"The page   {click.style(url, bold=True)} stays open; Ctrl-C ends it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo()


def _known(stage: _Stage) -> list[dict[str, Any]]:
    with stage.database.read() as connection:
        return views.organizations(connection, stage.config.watches(), now=stage.clock.now())


def _level(shown: dict[str, Any]) -> str:
    return "?" if shown["percent"] is None else f"{shown['percent']:.0f} %"


def _tell_mail(clock: DemoClock, mail: EmailMessage) -> None:
    _, style = STATES.get(str(mail["X-Quota-Watch-Severity"]), STATES["ok"])
    _tell(clock, "mail", str(mail["Subject"]), colour=style.split()[-1])


def _tell_webhook(clock: DemoClock, body: dict[str, Any]) -> None:
    alert = body["alert"]
    level = "" if alert["level"] is None else f" {alert['level']} %"
    about = (body["organization"] or {"name": "all"})["name"]
    _tell(clock, "webhook", f"{body['type']}  {alert['rule']}{level}  {about}")


def _tell(clock: DemoClock, how: str, what: str, *, colour: str | None = None) -> None:
    """Print what came in; on a terminal none of it is wider than that."""
    head, text = f"{clock.now():%d %b %H:%M}  {how:<7}  ", one_line(what)
    width = min(shutil.get_terminal_size().columns, _LINE) - len(head)
    lines = textwrap.wrap(text, width) if is_terminal() and width > 0 else [text]
    after = "\n" + " " * len(head)
    with suppress(BrokenPipeError):  # the play itself ends at its next line
        click.echo(head + after.join(click.style(line, fg=colour) for line in lines))
