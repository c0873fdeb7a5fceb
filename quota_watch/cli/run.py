"""`run` and `poll`: the daemon, and one cycle of it."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from quota_watch.cli.context import (
    GROUP,
    JSON,
    ORGANIZATIONS,
    Context,
    print_json,
    print_table,
    progress,
    select_watches,
)
from quota_watch.config import Config, Use, warnings
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.logs import get_logger, log_uncaught_exceptions
from quota_watch.lib.text import by_field, span, what_and_advice
from quota_watch.model.period import Period, percent
from quota_watch.model.source import ErrorKind, Organization, UpstreamError
from quota_watch.model.watch import Watch
from quota_watch.pipeline.watcher import PollSummary
from quota_watch.rules.story import Transition
from quota_watch.service.health import Health, Notifier, clocks_apart
from quota_watch.service.runtime import Runtime
from quota_watch.storage.database import Database
from quota_watch.views.known import known_of

if TYPE_CHECKING:
    from quota_watch.service.service import Page

log = get_logger(__name__)

_FLUSH_SECONDS = 60.0
_MANY = 5  # organizations; fewer are polled before a bar could be read
_CLOSE_SECONDS = 5.0
_M_ARENA_MAX = -8  # of glibc's mallopt


@click.command()
@click.pass_obj
def run(context: Context) -> int:
    """Poll, alert and deliver until stopped: the service."""
    from quota_watch.service.service import Page, Service, wait_for_database

    share_one_heap()
    config = context.config()
    context.start_logging(config)
    # A long cycle skips the ticks that fall into it, as it should: no reason to warn.
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
        code = 1 if health.lost else 0
        if not all_ended:  # a stuck thread can't be ended, and would keep the process alive
            logging.shutdown()
            os._exit(code)
    return code


def share_one_heap() -> None:
    """Let all threads allocate from one heap: each heap of its own keeps the most it ever held.

    They don't wait for each other there, for the interpreter lets one run at a time anyway.
    """
    import ctypes

    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _loader(
    context: Context, first: Config, database: Database, health: Health, page: "Page"
) -> Callable[[Runtime | None], Runtime]:
    """Return what builds a runtime of the `first` config, and on a reload of the file's new one."""
    from quota_watch.service.discovery import with_found

    def take_up(old: Runtime | None) -> Runtime:
        new = first if old is None else context.config()
        context.start_logging(new)
        if new.database_url() != first.database_url():
            log.warning("database.url has changed: restart to use it")
        for warning in warnings(new):
            log.warning(warning)
        discoveries = () if old is None else old.found
        if new.rybbit.discover == "watch":
            new = with_found(new, discoveries)
        with ExitStack() as undo:
            runtime = Runtime(new, database=database, clock=context.clock, health=health)
            undo.callback(runtime.close, 0)
            page.take_up(new)
            undo.pop_all()
        runtime.found = discoveries
        return runtime

    def load(old: Runtime | None) -> Runtime:
        try:
            return take_up(old)
        except Exception:
            page.refuse()
            raise

    return load


@click.command()
@ORGANIZATIONS
@click.option("--no-deliver", is_flag=True, help="Decide and enqueue, but send nothing.")
@JSON
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
    config = context.config()
    watches = select_watches(config, organizations, group)
    context.start_logging(config, Use.POLL, Use.DELIVER, Use.STORE)
    with context.upgraded(config) as database:
        runtime = Runtime(config, database=database, clock=context.clock, deliver=not no_deliver)
        try:
            with progress("poll", len(watches), bar=len(watches) >= _MANY) as bar:
                identities = [watch.organization for watch in watches]
                summaries, put_off = runtime.poll_named(identities, done=bar.advance)
            runtime.reports.enqueue_due()
            runtime.notify_of_channels()
            deliveries = runtime.flush(_FLUSH_SECONDS)
            if len(watches) == len(config.organizations):
                runtime.thin_out()  # who polls from cron has no daemon that does it
            if config.heartbeat and any(each.error is None for each in summaries.values()):
                runtime.self_check.look()
                runtime.beat()
        except QuotaWatchError:
            raise
        except Exception:
            runtime.last_line.note_all("poll")
            raise
        finally:
            runtime.close(_CLOSE_SECONDS)
        polled = _polled(context, database, watches, summaries, put_off)
    if as_json:
        print_json({"organizations": polled, "deliveries": deliveries})
    else:
        headers = ("organization", "poll", "used", "limit", "percent", "note")
        print_table(headers, map(_cells, polled))
        click.echo("deliveries: " + ", ".join(f"{n} {name}" for name, n in deliveries.items()))
    return 1 if deliveries["failed"] or any(each.error for each in polled) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Polled:
    """How the poll of one organization ended, as `poll` shows it."""

    id: str
    error: UpstreamError | None
    used: int | None
    limit: int | None
    period: Period | None
    transitions: Sequence[Transition] = ()

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
        return {
            "id": self.id,
            "ok": self.error is None,
            **by_field(self, without={"transitions"}),
            **rest,
        }


def _polled(
    context: Context,
    database: Database,
    watches: Sequence[Watch],
    summaries: Mapping[Organization, PollSummary],
    put_off: Mapping[Organization, timedelta],
) -> list[_Polled]:
    """Report how each poll ended; where another process took it over, what that recorded."""
    answered = summaries.keys() | put_off.keys()
    elsewhere = [watch for watch in watches if watch.organization not in answered]
    with database.read() as connection:
        now = context.clock.now()
        recorded = known_of(connection, elsewhere, now=now) if elsewhere else []
    polled = {
        known.watch.organization: _Polled(
            id=known.watch.organization.id,
            error=None,
            used=known.usage.used if known.usage else None,
            limit=known.watch.limit,
            period=known.period,
        )
        for known in recorded
    }
    for watch in watches:
        organization = watch.organization
        if summary := summaries.get(organization):
            polled[organization] = _Polled(
                id=organization.id,
                error=summary.error,
                used=summary.usage.used if summary.usage else None,
                limit=summary.limit,
                period=summary.period,
                transitions=summary.transitions,
            )
        elif organization in put_off:
            polled[organization] = _Polled(
                id=organization.id,
                error=_not_asked(put_off[organization]),
                used=None,
                limit=watch.limit,
                period=None,
            )
    return [polled[watch.organization] for watch in watches]


def _not_asked(wait: timedelta) -> UpstreamError:
    message = (
        f"not asked: its key's rate limit leaves no request for the next {span(wait)}. Other"
        " programs with keys of the same owner use it too"
    )
    return UpstreamError(ErrorKind.RATE_LIMITED, message, may_pass=True)


def _cells(polled: _Polled) -> Sequence[object]:
    share = None if polled.percent is None else f"{polled.percent} %"
    if polled.error:
        kind, note = polled.error.kind.value, what_and_advice(polled.error.message)[0]
    else:
        kind, note = "ok", ", ".join(map(_transition, polled.transitions))
    return polled.id, kind, polled.used, polled.limit, share, note


def _transition(transition: Transition) -> str:
    level = "" if transition.story.level is None else f" {transition.story.level} %"
    suffix = "" if transition.told else " (not sent)"
    return f"{transition.type} {transition.story.rule}{level}{suffix}"
