"""`demo`: a month of five organizations in about a minute, with everything real but the world."""

import logging
import secrets
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import click

from quota_watch.cli.context import Context
from quota_watch.cli.output import STATES
from quota_watch.cli.sinks import MailSink, WebhookSink
from quota_watch.cli.status import show
from quota_watch.config import Config, load
from quota_watch.logs import setup_logging
from quota_watch.rybbit.simulator import Scene, Simulator
from quota_watch.storage import outbox, views
from quota_watch.storage.database import Database
from quota_watch.text import one_line

SPEED = 45_000
"""Seconds that the demo's clock goes on in one real second: a month a minute."""

_START = datetime(2026, 3, 1, tzinfo=UTC)
_END = datetime(2026, 3, 31, 22, tzinfo=UTC)
_TICK_SECONDS = 0.1
_STOP_SECONDS = 10.0
_MARK_EVERY = timedelta(days=4)
_LIMIT = 100_000

_CONFIG = """\
[rybbit]
base_url = "{upstream}"

[poll]
interval = "4h"

[alerts]
blind = "6h"

[plans.demo]
limit = {limit}
drops = true
{organizations}
[channels.ops]
type = "email"
to = ["ops@example.com"]

[channels.hook]
type = "webhook"
url = "{hook}"
secret = "{secret}"

[smtp]
host = "127.0.0.1"
port = {smtp_port}
security = "none"
from = "Quota Watch <quota-watch@example.com>"
"""
_ORGANIZATION = """
[[organizations]]
id = "{id}"
name = "{name}"
plan = "demo"
api_key = "{key}"
"""


class DemoClock:
    """A clock that goes faster than the machine's, and stands still `seconds` after its start."""

    def __init__(self, speed: float, seconds: float) -> None:
        self._speed = speed
        self._seconds = seconds
        self._began = time.monotonic()

    def now(self) -> datetime:
        """Return the demo's time, to the millisecond."""
        passed = min(time.monotonic() - self._began, self._seconds)
        return _START + timedelta(milliseconds=int(passed * self._speed * 1000))

    def monotonic(self) -> float:
        """Return the machine's own monotonic clock: waiting is real."""
        return time.monotonic()


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
    "--for",
    "seconds",
    type=click.IntRange(1, 86_400),
    metavar="SECONDS",
    help="End after so many real seconds [default: when the month is over].",
)
@click.pass_obj
def demo(context: Context, speed: int, seconds: int | None) -> None:
    """Play a month in a minute, without an account.

    An embedded Rybbit on loopback, the real daemon against it, mails and webhooks that are kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="quota-watch-demo-"))
    until = min(seconds or float("inf"), (_END - _START).total_seconds() / speed)
    click.echo(f"Playing March 2026 of five organizations in {until:.0f} s. Everything is local:")
    click.echo(f"config, database, log and mails are kept in {folder}\n")
    scenes, clock = _scenes(), DemoClock(speed, until)
    with (
        Simulator(clock, scenes) as upstream,
        MailSink(folder, lambda mail: _tell_mail(clock, mail)) as mails,
        WebhookSink(lambda body: _tell_webhook(clock, body)) as hook,
        (folder / "quota-watch.log").open("w", encoding="utf-8") as log,
    ):
        config = _config(folder, scenes, upstream, mails, hook)
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        setup_logging(level=min(context.level, logging.INFO), stream=log)
        with closing(Database(config.database_url())) as database:
            with _serving(config, database, clock):
                _play(config, database, clock, until)
            _end(config, database, clock)
    click.echo(f"\nThe mails, as .eml and .html for a browser: {folder}")


def _scenes() -> list[Scene]:
    started = date(2026, 1, 1)
    revoked_at = datetime(2026, 3, 16, 9, tzinfo=UTC)

    def scene(name: str, base: int, **rest: Any) -> Scene:
        id_ = f"org_{name.lower().replace(' ', '_')}"
        key = secrets.token_urlsafe(24)
        return Scene(
            id=id_, name=name, api_key=key, base=base, started=started, limit=_LIMIT, **rest
        )

    return [
        scene("Calm Blog", 1_450),
        scene("Growing Shop", 1_010, growth=1.018),
        scene(
            "Viral Magazine", 1_700, viral=((date(2026, 3, 12), 26.0), (date(2026, 3, 13), 11.0))
        ),
        scene("Busy Game", 5_600),
        scene("Revoked Agency", 2_300, revoked_at=revoked_at),
    ]


def _config(
    folder: Path, scenes: Sequence[Scene], upstream: Simulator, mails: MailSink, hook: WebhookSink
) -> Config:
    """Write the demo's config to a file, as a user would, and load it."""
    organizations = "".join(
        _ORGANIZATION.format(id=scene.id, name=scene.name, key=scene.api_key) for scene in scenes
    )
    file = folder / "config.toml"
    file.touch(mode=0o600)
    file.write_text(
        _CONFIG.format(
            upstream=upstream.url,
            limit=_LIMIT,
            organizations=organizations,
            hook=hook.url,
            secret="whsec_" + b64encode(secrets.token_bytes(24)).decode(),
            smtp_port=mails.port,
        ),
        encoding="utf-8",
    )
    return load(file)


@contextmanager
def _serving(config: Config, database: Database, clock: DemoClock) -> Iterator[None]:
    """Run the daemon as `run` does, in a thread of its own."""
    from quota_watch.daemon.runtime import Runtime
    from quota_watch.daemon.service import Service
    from quota_watch.daemon.systemd import Notifier
    from quota_watch.storage.migrate import upgrade

    upgrade(database)
    service = Service(
        lambda _: Runtime(config, database=database, clock=clock),
        clock=clock,
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


def _play(config: Config, database: Database, clock: DemoClock, seconds: float) -> None:
    """Let time pass, and mark every few days where each organization is."""
    ends = clock.monotonic() + seconds
    mark = _START + _MARK_EVERY
    while (left := ends - clock.monotonic()) > 0:
        time.sleep(min(_TICK_SECONDS, left))
        if clock.now() >= mark:
            mark += _MARK_EVERY
            now = clock.now()
            with database.read() as connection:
                shown = views.organizations(connection, config.watches(), now=now)
            levels = " · ".join(f"{each['name']} {_level(each)}" for each in shown)
            click.echo(click.style(f"── {now:%d %B}: {levels}", dim=True))


def _end(config: Config, database: Database, clock: DemoClock) -> None:
    now = clock.now()
    with database.read() as connection:
        shown = views.organizations(connection, config.watches(), now=now)
        pending = outbox.count_pending(connection)
    click.echo(f"\nIt is {now:%d %B %Y, %H:%M} UTC there. `quota-watch status` says:\n")
    show(shown, now=now, pending=pending)


def _level(shown: dict[str, Any]) -> str:
    return "?" if shown["percent"] is None else f"{shown['percent']:.0f} %"


def _tell_mail(clock: DemoClock, mail: EmailMessage) -> None:
    subject = one_line(str(mail["Subject"]))
    _, style = STATES.get(str(mail["X-Quota-Watch-Severity"]), STATES["ok"])
    subject = click.style(subject, fg=style.split()[-1])
    click.echo(f"{clock.now():%d %b %H:%M}  mail     {subject}")


def _tell_webhook(clock: DemoClock, body: dict[str, Any]) -> None:
    organization, alert = body["organization"], body["alert"]
    level = "" if alert["level"] is None else f" {alert['level']} %"
    what = f"{body['type']}  {alert['rule']}{level}  {one_line(organization['name'])}"
    click.echo(f"{clock.now():%d %b %H:%M}  webhook  {what}")
