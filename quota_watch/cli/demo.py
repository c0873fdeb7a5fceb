"""`demo`: the past weeks of some organizations in about a minute, up to now, and on from there."""

import logging
import secrets
import shlex
import shutil
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import click

from quota_watch.cli.context import STATES, Context, given, is_terminal, say, styled
from quota_watch.cli.status import show
from quota_watch.config import Config, load
from quota_watch.config.settings import missing_packages
from quota_watch.demo.scenes import CASTS, Scene
from quota_watch.demo.simulator import Simulator
from quota_watch.demo.stage import (
    PLAYED_EVERY,
    REAL_EVERY,
    DemoClock,
    MailSink,
    WebhookSink,
    beginning,
    free_port,
    write_config,
)
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.logs import setup_logging
from quota_watch.lib.text import days, one_line, plural
from quota_watch.service.health import Notifier
from quota_watch.service.runtime import Runtime
from quota_watch.service.service import Page, Service
from quota_watch.storage import deliveries, outbox
from quota_watch.storage.database import Database
from quota_watch.storage.upkeep import upgrade
from quota_watch.views.periods import Wanted, how_many_days
from quota_watch.views.status import Status, statuses

SPEED = 60_000
"""Seconds that the demo's clock goes on in one real second, while it plays the past."""

PORT = 8420
"""Where the status page is looked for first."""

_TICK_SECONDS = 0.05
_STEP_SECONDS = 0.2
_PATIENCE_SECONDS = 30.0
_STOP_SECONDS = 10.0
_REFRESH = 2
_PLAYED_SHARE = 0.8
_MARK_EVERY = timedelta(days=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What is set up while the demo plays; `config` polls as the past needs it."""

    config: Config
    database: Database
    clock: DemoClock
    file: Path
    scenes: Sequence[Scene]
    configure: Callable[[timedelta], Config]

    def status(self) -> list[Status]:
        """Read what `status` shows now."""
        with self.database.read() as connection:
            return statuses(connection, self.config.watches(), now=self.clock.now())

    def is_done(self) -> bool:
        """Whether no poll is due and no message is due or under way.

        Then nothing begins until the clock is moved on. A move while a message is under way would
        end the claim on it: it would be sent again.
        """
        now, channels = self.clock.now(), self.config.channels
        if any(each.next_poll is None or each.next_poll <= now for each in self.status()):
            return False
        with self.database.read() as connection:
            return not (
                outbox.due_channels(connection, channels, now=now)
                or outbox.in_flight(connection, channels, now=now)
            )


def _postgresql_url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    """Take only a PostgreSQL database's URL: without one the demo has a file of its own."""
    if url is not None and not url.startswith(("postgresql://", "postgresql+psycopg://")):
        raise click.BadParameter("not a PostgreSQL database's URL: give postgresql://…")
    return url


@click.command()
@click.option(
    "--speed",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help=f"Seconds of history per real second [default: {SPEED}, more for a short --for].",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    metavar="P",
    default=PORT,
    show_default=True,
    help="Port of the status page; the next free one if this is taken.",
)
@click.option(
    "--for",
    "seconds",
    type=click.IntRange(1, 86_400),
    metavar="SECONDS",
    help="End after this many real seconds [default: once it reaches now; on a terminal, on "
    "Ctrl-C].",
)
@click.option(
    "--scene",
    type=click.Choice(list(CASTS)),
    default="month",
    show_default=True,
    help="What to play: weeks of five organizations, a lapsing plan, a site without a plan,"
    " a site that moves in.",
)
@click.option(
    "--postgres",
    metavar="URL",
    callback=_postgresql_url,
    help="Keep the data in this empty PostgreSQL database instead.",
)
@click.pass_obj
def demo(
    context: Context,
    speed: int | None,
    port: int,
    seconds: int | None,
    scene: str,
    postgres: str | None,
) -> None:
    """Play the past weeks in a minute, then go on in real time; needs no account.

    An embedded Rybbit on loopback, the real daemon against it, its status page, mails and
    webhooks. On a terminal it goes on until Ctrl-C.
    """
    now = context.clock.now()
    clock = DemoClock(beginning(now), context.clock)
    past = (now - clock.now()).total_seconds()
    speed = speed or max(SPEED, round(past / (seconds * _PLAYED_SHARE)) if seconds else 0)
    ends = time.monotonic() + (seconds or float("inf"))
    scenes = CASTS[scene](clock.now(), now)
    with (
        _staged(context, clock, scenes, port=port, postgres=postgres) as stage,
        closing(Page(database=stage.database, clock=clock, refresh_seconds=_REFRESH)) as page,
    ):
        page.take_up(stage.config)
        _introduce(stage, page.url, port, now=now, seconds=past / speed)
        with _serving(stage, stage.config):
            every = REAL_EVERY if _play(stage, speed, ends) else PLAYED_EVERY
        page.take_up(config := stage.configure(every))
        _poll_all(stage, config)
        with _serving(stage, config):
            _wait(stage)
            _conclude(stage)
            if seconds or is_terminal():
                _go_on(page.url, ends)


@contextmanager
def _staged(
    context: Context,
    clock: DemoClock,
    scenes: Sequence[Scene],
    *,
    port: int,
    postgres: str | None,
) -> Iterator[_Stage]:
    """Set up upstream, the receivers of messages, log and database in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="quota-watch-demo-"))
    file = folder / "config.toml"
    url = postgres or f"sqlite:///{folder / 'quota-watch.db'}"
    with (
        Simulator(clock, scenes) as upstream,
        MailSink(folder, lambda mail: _print_mail(clock, mail)) as mails,
        WebhookSink(lambda body: _print_webhook(clock, body)) as hook,
        (folder / "quota-watch.log").open("w", encoding="utf-8") as log,
        closing(Database(url)) as database,
    ):
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        setup_logging(level=min(context.level, logging.INFO), stream=log)
        upgrade(database)
        with database.read() as connection:
            if how_many_days(connection, Wanted()):
                raise QuotaWatchError(f"{database.label} is not empty: name an empty database")
        write = partial(
            write_config,
            file,
            scenes,
            database=url,
            upstream=upstream.url,
            hook=f"{hook.url}/hook",
            secret="whsec_" + b64encode(secrets.token_bytes(24)).decode(),
            smtp_port=mails.port,
            page_port=None if missing_packages() else free_port(port),
        )

        def configure(interval: timedelta) -> Config:
            write(interval=interval)
            return load(file)

        yield _Stage(
            config=configure(PLAYED_EVERY),
            database=database,
            clock=clock,
            file=file,
            scenes=scenes,
            configure=configure,
        )


def _introduce(stage: _Stage, url: str | None, port: int, *, now: datetime, seconds: float) -> None:
    """Print where the page is, and what will be played."""
    page = "No status page: pip install 'quota-watch[web]' adds it."
    if url is not None:
        page = f"Status page: {styled(url, 'bold')} (open it now and watch)"
        if not url.endswith(f":{port}"):
            page += f"\n  Port {port} is taken, so another one is used."
    past = days(stage.clock.now().date(), now.date())
    what = plural(len(stage.scenes), "organization")
    click.echo(
        f"{page}\nPlaying {past} of {what} in about {seconds:.0f} s, all on this machine;\n"
        f"config, log and mails: {stage.file.parent}\n"
        "Delete that folder when you are done with it.\n"
    )


@contextmanager
def _serving(stage: _Stage, config: Config) -> Iterator[None]:
    """Run the daemon as `run` does, in a thread of its own."""
    service = Service(
        lambda _: Runtime(config, database=stage.database, clock=stage.clock),
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


def _poll_all(stage: _Stage, config: Config) -> None:
    """Poll all once more, due or not, so that none still has the interval of the past."""
    runtime = Runtime(config, database=stage.database, clock=stage.clock)
    runtime.poll_named([each.organization for each in config.watches()])
    runtime.close(_STOP_SECONDS)


def _play(stage: _Stage, speed: int, ends: float) -> bool:
    """Play the past step by step, each once the daemon is done with the one before.

    Mark every few days where each organization is. Returns whether it arrived at now in time.
    """
    clock, step = stage.clock, timedelta(seconds=speed * _STEP_SECONDS)
    _wait(stage)
    mark = clock.now() + _MARK_EVERY
    while time.monotonic() < ends:
        began = time.monotonic()
        is_now = clock.move_on(step)
        _wait(stage)
        if is_now:
            return True
        time.sleep(max(began + _STEP_SECONDS - time.monotonic(), 0))
        if clock.now() >= mark:
            mark += _MARK_EVERY
            levels = " · ".join(map(_level, stage.status()))
            click.echo(styled(f"── {clock.now():%d %b}: {levels}", "dim"))
    return False


def _wait(stage: _Stage) -> None:
    """Wait until the daemon has done what is due; the first poll fetches a year."""
    latest = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < latest and not stage.is_done():
        time.sleep(_TICK_SECONDS)


def _conclude(stage: _Stage) -> None:
    """Print where each organization stands, and commands to try."""
    now = stage.clock.now()
    with stage.database.read() as connection:
        pending = deliveries.count_pending(connection)
    click.echo(f"\nIt is {now:%d %B %Y, %H:%M} UTC. `quota-watch status` shows:\n")
    show(statuses := stage.status(), now=now, pending=pending)
    busiest, last = max(statuses, key=lambda each: each.used or 0), stage.scenes[-1]
    click.echo(f"\nMails  {stage.file.parent} (.eml, and .html for a browser)")
    program = f"{_program()} -c {shlex.quote(str(stage.file))}"
    for words in ("status", "alerts", f"forecast {busiest.id}", f"alerts explain {last.id}"):
        click.echo(f"Try    {program} {words}")


def _program() -> str:
    """Write this program's name so that a shell finds it again."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m quota_watch"
    found = shutil.which(program.name)
    if found is not None and Path(found).samefile(program):
        return program.name
    return shlex.quote(str(program.absolute()))


def _go_on(url: str | None, ends: float) -> None:
    """Let the daemon go on in real time until the end or Ctrl-C."""
    where = f"The page at {styled(url, 'bold')} goes" if url else "It goes"
    until = "; Ctrl-C ends it" if is_terminal() else ""
    click.echo(f"\n{where} on in real time{until}.")
    with suppress(KeyboardInterrupt):
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_SECONDS))


def _level(status: Status) -> str:
    percent = "?" if status.percent is None else f"{status.percent:.0f} %"
    return f"{status.name.split()[0]} {percent}"


def _print_mail(clock: DemoClock, mail: EmailMessage) -> None:
    _, style = STATES.get(str(mail["X-Quota-Watch-Severity"]), STATES["ok"])
    _print_message(clock, "mail", str(mail["Subject"]), style)


def _print_webhook(clock: DemoClock, body: dict[str, Any]) -> None:
    alert = body["alert"]
    organization = body["organization"] or {"name": "all"}
    what = f"{alert['rule']}{given(' {} %', alert['level'])}  {organization['name']}"
    _print_message(clock, "webhook", f"{body['type']}  {what}")


def _print_message(clock: DemoClock, kind: str, text: str, style: str = "") -> None:
    head = f"{clock.now():%d %b %H:%M}  {kind:<7}  "
    with suppress(BrokenPipeError):  # the play itself ends at its next line
        say(one_line(text), style=style, first=head, rest=" " * len(head))
