"""`run` and `poll`: the daemon, and one cycle of it."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from quota_watch.cli.context import (
    GROUP,
    JSON,
    ORGANIZATIONS,
    Context,
    given,
    print_json,
    print_table,
    progress,
)
from quota_watch.config import Use, warnings
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.logs import get_logger, log_uncaught_exceptions
from quota_watch.lib.text import span, what_and_advice
from quota_watch.model.period import Period, Usage, percent
from quota_watch.model.source import ErrorKind, Organization, Trouble, UpstreamError
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

Json = dict[str, Any]

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
    context.start_logging()
    # A long cycle skips the ticks that fall into it, as it should: no reason to warn.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    log_uncaught_exceptions()
    notifier, health = Notifier(os.environ), Health(clock=context.clock)
    with context.unchecked() as database:
        wait_for_database(database, notifier=notifier)
    with (
        context.upgraded() as database,
        closing(Page(database=database, clock=context.clock, health=health.reasons)) as page,
    ):
        database.on_write = health.wrote
        if apart := clocks_apart(database, context.clock):
            log.warning(apart)
        service = Service(
            _loader(context, database, health, page),
            clock=context.clock,
            notifier=notifier,
            health=health,
        )
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
    context: Context, database: Database, health: Health, page: "Page"
) -> Callable[[Runtime | None], Runtime]:
    """Return what builds a runtime of the config, and on a reload of the file's new one."""
    from quota_watch.service.discovery import with_found

    def load(old: Runtime | None) -> Runtime:
        with ExitStack() as undo:
            undo.callback(page.refuse)
            newest = context if old is None else replace(context)  # which reads the file anew
            config = newest.config
            newest.start_logging()
            if config.database_url() != context.config.database_url():
                log.warning("database.url has changed: restart to use it")
            for warning in warnings(config):
                log.warning(warning)
            discoveries = () if old is None else old.found
            if config.rybbit.discover == "watch":
                config = with_found(config, discoveries)
            runtime = Runtime(config, database=database, clock=context.clock, health=health)
            undo.callback(runtime.close, 0)
            page.take_up(config)
            undo.pop_all()
        runtime.found = discoveries
        return runtime

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
    config = context.config
    watches = context.watches(organizations, group)
    context.start_logging(Use.POLL, Use.DELIVER, Use.STORE)
    with context.upgraded() as database:
        runtime = Runtime(config, database=database, clock=context.clock, deliver=not no_deliver)
        try:
            with progress("poll", len(watches), bar=len(watches) >= _MANY) as bar:
                summaries, put_off = runtime.poll_named(
                    [watch.organization for watch in watches], done=bar.advance
                )
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
        polled = list(_polled(context, database, watches, summaries, put_off))
    if as_json:
        print_json({"organizations": polled, "deliveries": deliveries})
    else:
        print_table(
            ("organization", "poll", "used", "limit", "percent", "note"), map(_cells, polled)
        )
        click.echo("deliveries: " + ", ".join(f"{n} {name}" for name, n in deliveries.items()))
    return 1 if deliveries["failed"] or any(each["error"] for each in polled) else 0


def _polled(
    context: Context,
    database: Database,
    watches: Sequence[Watch],
    summaries: Mapping[Organization, PollSummary],
    put_off: Mapping[Organization, timedelta],
) -> Iterator[Json]:
    """Write how each poll ended.

    Where another process took it over, or we failed to judge it, that is what was recorded.
    """
    answered = summaries.keys() | put_off.keys()
    elsewhere = [watch for watch in watches if watch.organization not in answered]
    with database.read() as connection:
        now = context.clock.now()
        recorded = iter(known_of(connection, elsewhere, now=now) if elsewhere else ())
    for watch in watches:
        if summary := summaries.get(watch.organization):
            yield _ended(
                watch,
                error=summary.error,
                usage=summary.usage,
                limit=summary.limit,
                period=summary.period,
                transitions=summary.transitions,
            )
        elif watch.organization in put_off:
            yield _ended(watch, error=_not_asked(put_off[watch.organization]), limit=watch.limit)
        else:
            known = next(recorded)
            yield _ended(
                watch,
                error=known.trouble,
                usage=None if known.trouble else known.usage,
                limit=known.watch.limit,
                period=known.period,
            )


def _ended(
    watch: Watch,
    *,
    limit: int | None,
    error: UpstreamError | Trouble | None = None,
    usage: Usage | None = None,
    period: Period | None = None,
    transitions: Sequence[Transition] = (),
) -> Json:
    """Write how the poll of one organization ended, as `poll --json` prints it."""
    return {
        "id": watch.organization.id,
        "ok": error is None,
        "error": error,
        "used": usage.used if usage else None,
        "limit": limit,
        "period": period,
        "percent": percent(usage.used, limit) if usage else None,
        "transitions": [
            {
                "type": f"alert.{each.type}",
                "rule": each.story.rule,
                "level": each.story.level,
                "alert_id": each.story.id,
                "told": each.told,
            }
            for each in transitions
        ],
    }


def _not_asked(wait: timedelta) -> UpstreamError:
    message = (
        f"not asked: its key's rate limit leaves no request for the next {span(wait)}. Other"
        " programs with keys of the same owner use it too"
    )
    return UpstreamError(ErrorKind.RATE_LIMITED, message, may_pass=True)


def _cells(polled: Json) -> Sequence[object]:
    kind, note = "ok", ", ".join(map(_transition, polled["transitions"]))
    if polled["error"]:
        kind, note = polled["error"].kind.value, what_and_advice(polled["error"].message)[0]
    share = None if polled["percent"] is None else f"{polled['percent']} %"
    return polled["id"], kind, polled["used"], polled["limit"], share, note


def _transition(step: Json) -> str:
    level = given(" {} %", step["level"])
    suffix = "" if step["told"] else " (not sent)"
    return f"{step['type'].removeprefix('alert.')} {step['rule']}{level}{suffix}"
