"""`run` and `poll`: the daemon, and one cycle of it."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from quota_watch.cli.context import GROUP, Context, chosen, print_json, print_table, progress
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.logs import get_logger, log_uncaught_exceptions
from quota_watch.lib.text import by_field, what_and_advice
from quota_watch.model.period import Period, percent
from quota_watch.model.schedule import span
from quota_watch.model.source import ErrorKind
from quota_watch.model.watch import Watch

if TYPE_CHECKING:
    from quota_watch.config import Config
    from quota_watch.pipeline.watcher import PollSummary
    from quota_watch.rules.known import Known
    from quota_watch.rules.story import Transition
    from quota_watch.service.health import Health
    from quota_watch.service.runtime import Runtime
    from quota_watch.service.service import Page
    from quota_watch.storage.database import Database
    from quota_watch.views.status import PollError

log = get_logger(__name__)

_FLUSH_SECONDS = 60.0
_MANY = 5  # organizations; fewer are polled before a bar could be read
_CLOSE_SECONDS = 5.0
_M_ARENA_MAX = -8  # of glibc's mallopt


@click.command()
@click.pass_obj
def run(context: Context) -> int:
    """Poll, alert and deliver until stopped: the service."""
    from quota_watch.service.health import Health, Notifier, clocks_apart
    from quota_watch.service.service import Page, Service, wait_for_database

    # Until the service handles them: there is nothing yet to end, or to reload.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    share_one_heap()
    config = context.config()
    context.start_logging(config)
    # A long cycle skips the ticks that fall into it, which is as it should be.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    log_uncaught_exceptions()
    notifier, health = Notifier(os.environ), Health(clock=context.clock)
    with context.unchecked(config) as database:
        wait_for_database(database, notifier=notifier)
    with (
        context.upgraded(config) as database,
        closing(Page(database=database, clock=context.clock, health=health.reasons)) as page,
    ):
        database.on_write = health.wrote
        if apart := clocks_apart(database, context.clock):
            log.warning(apart)

        load = _loader(context, config, database, health, page)
        service = Service(load, clock=context.clock, notifier=notifier, health=health)
        service.handle_signals()
        all_ended = service.run()
        page.close()
        code = 1 if service.failed else 0
        if not all_ended:  # a thread that is stuck can't be ended, and would keep the process
            logging.shutdown()
            os._exit(code)
    return code


def share_one_heap() -> None:
    """Let all threads take memory from one heap: with one for each, each keeps what it once needed.

    They don't wait for each other there, for the interpreter lets one run at a time anyway.
    """
    import ctypes

    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _loader(
    context: Context, first: "Config", database: "Database", health: "Health", page: "Page"
) -> "Callable[[Runtime | None], Runtime]":
    """Return what builds a runtime of the `first` config, and later ones of what stands there."""
    from quota_watch.config import warnings
    from quota_watch.service.discovery import with_found
    from quota_watch.service.runtime import Runtime

    def take_up(old: Runtime | None) -> Runtime:
        new = first if old is None else context.config()
        context.start_logging(new)
        if new.database_url() != first.database_url():
            log.warning("database.url has changed: restart to use it")
        for warning in warnings(new):
            log.warning(warning)
        found = () if old is None else old.found
        if new.rybbit.discover == "watch":
            new = with_found(new, found)
        with ExitStack() as undo:
            runtime = Runtime(new, database=database, clock=context.clock, health=health)
            undo.callback(runtime.close, 0)
            page.take_up(new)
            undo.pop_all()
        runtime.found = found
        return runtime

    def load(old: Runtime | None) -> Runtime:
        try:
            return take_up(old)
        except Exception:
            page.refuse()
            raise

    return load


@click.command()
@click.argument("organizations", metavar="[ORG]...", nargs=-1)
@click.option("--no-deliver", is_flag=True, help="Decide and enqueue, but send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@GROUP
@click.pass_obj
def poll(
    context: Context,
    organizations: tuple[str, ...],
    no_deliver: bool,
    as_json: bool,
    group: str | None,
) -> int:
    """Run one cycle now and send the alerts it raises.

    For all or the named organizations, due or not; safe beside a running daemon, fit for cron.
    """
    from quota_watch.config import Use
    from quota_watch.service.runtime import Runtime

    config = context.config()
    watches = chosen(config, organizations, group)
    context.start_logging(config, Use.POLL, Use.DELIVER, Use.STORE)
    with context.upgraded(config) as database:
        runtime = Runtime(config, database=database, clock=context.clock, deliver=not no_deliver)
        try:
            with progress("poll", len(watches), bar=len(watches) >= _MANY) as shown:
                named = [watch.organization for watch in watches]
                found, put_off = runtime.poll_named(named, done=shown.advance)
            runtime.report()
            runtime.tell_of_channels()
            deliveries = runtime.flush(_FLUSH_SECONDS)
            if (
                not organizations and group is None
            ):  # who polls from cron has no daemon that does it
                runtime.thin_out()
            if config.heartbeat and any(each.error is None for each in found.values()):
                runtime.look()
                runtime.beat()
        except QuotaWatchError:
            raise
        except Exception:
            runtime.tell_of_defect("poll")
            raise
        finally:
            runtime.close(_CLOSE_SECONDS)
        polled = [
            _polled(each, found.get(each.organization), put_off.get(each.organization))
            for each in watches
        ]
        polled = _with_taken_over(polled, watches, database, context)
    if as_json:
        print_json({"organizations": polled, "deliveries": deliveries})
    else:
        _print_polled(polled, deliveries)
    failed = deliveries["failed"] or not all(each.ok for each in polled)
    return 1 if failed else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Polled:
    """What became of the poll of one organization, as `poll` shows it."""

    id: str
    ok: bool
    error: "PollError | None"
    used: int | None
    limit: int | None
    period: Period | None
    transitions: "Sequence[Transition]" = ()

    @property
    def percent(self) -> float | None:
        return None if self.used is None else percent(self.used, self.limit)

    def to_json(self) -> dict[str, Any]:
        transitions = [
            {
                "type": f"alert.{each.type}",
                "rule": each.story.rule,
                "level": each.story.level,
                "alert_id": each.story.id,
                "told": each.told,
            }
            for each in self.transitions
        ]
        rest = {"percent": self.percent, "transitions": transitions}
        return by_field(self, without={"transitions"}) | rest


def _polled(watch: Watch, found: "PollSummary | None", wait: timedelta | None) -> _Polled:
    good = found.usage if found else None
    taken_over = found is None and wait is None
    return _Polled(
        id=watch.organization.id,
        ok=good is not None or taken_over,
        error=_error(found, wait),
        used=good.used if good else None,
        limit=found.limit if found else watch.limit,
        period=found.period if found else None,
        transitions=found.transitions if found else (),
    )


def _with_taken_over(
    polled: Sequence[_Polled],
    watches: Sequence[Watch],
    database: "Database",
    context: Context,
) -> list[_Polled]:
    """Show what is kept where another process took the poll over: that one records it."""
    from quota_watch.views.known import known_of

    taken = {
        each.id: watch
        for each, watch in zip(polled, watches, strict=True)
        if each.ok and each.used is None
    }
    if not taken:
        return list(polled)
    with database.read() as connection:
        found = known_of(connection, list(taken.values()), now=context.clock.now())
    known = dict(zip(taken, found, strict=True))
    return [_as_kept(each, known[each.id]) if each.id in known else each for each in polled]


def _as_kept(polled: _Polled, known: "Known") -> _Polled:
    used = None if known.usage is None else known.usage.used
    return replace(polled, used=used, limit=known.watch.limit, period=known.period)


def _error(found: "PollSummary | None", wait: timedelta | None) -> "PollError | None":
    from quota_watch.views.status import PollError

    if found is None and wait is not None:
        message = (
            f"not asked: its key's rate limit leaves no request for the next {span(wait)}. Other"
            " programs with keys of the same owner use it too"
        )
        return PollError(kind=ErrorKind.RATE_LIMITED, message=message, status=None)
    error = found.error if found else None
    return None if error is None else PollError.of(error)


def _print_polled(polled: Sequence[_Polled], deliveries: dict[str, int]) -> None:
    rows = [
        (
            each.id,
            "ok" if each.error is None else each.error.kind,
            "-" if each.used is None else each.used,
            "-" if each.limit is None else each.limit,
            "-" if each.percent is None else f"{each.percent} %",
            _note(each),
        )
        for each in polled
    ]
    print_table(("organization", "poll", "used", "limit", "percent", "note"), rows)
    click.echo("deliveries: " + ", ".join(f"{n} {name}" for name, n in deliveries.items()))


def _note(polled: _Polled) -> str:
    if polled.error:
        return what_and_advice(polled.error.message)[0]
    return ", ".join(
        f"{each.type} {each.story.rule}"
        + (f" {each.story.level} %" if each.story.level is not None else "")
        + ("" if each.told else " (not sent)")
        for each in polled.transitions
    )
