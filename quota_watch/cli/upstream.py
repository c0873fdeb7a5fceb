"""`organizations` and `backfill`: what is asked of Rybbit on request."""

import os
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from functools import partial
from typing import Any

import click

from quota_watch.cli.context import (
    DATE,
    JSON,
    Context,
    print_json,
    print_table,
    progress,
)
from quota_watch.config import Config, ConfigError, Secret, Use
from quota_watch.config.addresses import CLOUD, server
from quota_watch.config.secrets import API_KEY
from quota_watch.config.values import InvalidValueError
from quota_watch.lib.http import Client
from quota_watch.lib.machine import Clock
from quota_watch.lib.text import plural, span, what_and_advice
from quota_watch.model.period import Period, percent
from quota_watch.model.source import NotYet, Organization, UpstreamError
from quota_watch.rybbit.client import RybbitClient, build_source
from quota_watch.rybbit.pacing import Purpose
from quota_watch.service.backfill import Backfill, Filled, OlderDays, months_back
from quota_watch.service.discovery import Credential, Sight, credentials_of, listed, look_at
from quota_watch.storage import claims

VARIABLE = "RYBBIT_API_KEY"
"""The environment variable that holds the key where there is no config."""

_TIMEOUT = 15.0


def server_url(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a server's base URL in the one form that a config has too; refuses what is none."""
    try:
        return None if value is None else server(value)
    except InvalidValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def key_reference(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a reference to a key; refuses the key itself, which a shell would keep."""
    if value is None:
        return None
    secret = Secret(value, check=API_KEY)
    if secret.is_literal:
        raise click.BadParameter("allowed: env:NAME, file:/path, credential:NAME", ctx, param)
    try:
        secret.reveal()
    except ConfigError as error:
        raise click.BadParameter(error.problems[0].message, ctx, param) from None
    return value


def credential(key: str, server: str | None, ids: tuple[str, ...] = ()) -> Credential:
    """Return a key, literal or `env:…`, for a server or else Rybbit's own."""
    return Credential(
        server=server or CLOUD,
        secret=Secret(key, key="the API key", check=API_KEY),
        named=ids,
    )


@contextmanager
def plain_client(clock: Clock) -> Iterator[RybbitClient]:
    """Open a client that asks as a config without any settings would."""
    with Client(connections=1) as http:
        yield RybbitClient(http, keys={}, timeout=_TIMEOUT, clock=clock)


@click.command()
@click.option(
    "--base-url",
    metavar="URL",
    callback=server_url,
    help=f"Ask this server with the key in ${VARIABLE}, ignoring the config.",
)
@JSON
@click.pass_obj
def organizations(context: Context, base_url: str | None, as_json: bool) -> int:
    """Show what the keys can see upstream: plan, limit and usage.

    Without a config the key is that of $RYBBIT_API_KEY, for app.rybbit.io unless --base-url says
    otherwise.
    """
    config = None if base_url else _config(context)
    watched = {watch.organization for watch in config.watches()} if config else set()
    sights: dict[Organization, Sight] = {}
    failures: list[str] = []
    today = context.clock.now().date()
    with ExitStack() as resources:
        client, credentials = _upstream(context, config, base_url, resources)
        for each in credentials:
            try:
                for entry in listed(client, each):
                    sight = look_at(client, each, entry, today=today)
                    sights.setdefault(sight.organization, sight)
            except UpstreamError as error:
                failures.append(str(error))
            except NotYet as error:
                failures.append(f"{each.server}: {error}")
    for failure in dict.fromkeys(failures):  # once, though several keys fail alike
        click.echo(f"error: {failure}", err=True)
    rows = [_row(sight, watched) for sight in sights.values()]
    if as_json:
        print_json({"organizations": rows})
    elif rows:
        _print(rows)
    return 1 if failures or any(row["error"] for row in rows) else 0


def _config(context: Context) -> Config | None:
    """Return the config, or None where there is none and the environment has a key instead."""
    try:
        return context.config
    except ConfigError as error:
        if error.path is not None or not os.environ.get(VARIABLE):
            raise
        return None


def _upstream(
    context: Context, config: Config | None, base_url: str | None, resources: ExitStack
) -> tuple[RybbitClient, Sequence[Credential]]:
    if config is None:
        if not os.environ.get(VARIABLE):
            raise click.UsageError(f"no key: put it in the environment variable {VARIABLE}")
        client = resources.enter_context(plain_client(context.clock))
        return client, [credential(f"env:{VARIABLE}", base_url)]
    context.start_logging(Use.POLL)
    client = build_source(config, {}, resources, clock=context.clock)
    return client, credentials_of(config)


def _row(sight: Sight, watched: Container[Organization]) -> dict[str, Any]:
    """Write what a key sees of one organization, as `organizations --json` prints it."""
    account = sight.account
    limit = account.limit if account else None
    sold = None if limit is None else account
    return {
        "id": sight.organization.id,
        "name": sight.name,
        "server": sight.organization.server,
        "role": sight.role,
        "plan": sold.plan if sold else None,
        "status": sold.status if sold else None,
        "limit": limit,
        "used": sight.used,
        "percent": None if sight.used is None else percent(sight.used, limit),
        "no_limit": account is not None and limit is None,
        "in_config": sight.organization in watched,
        "error": sight.trouble,
    }


def _print(rows: Sequence[dict[str, Any]]) -> None:
    is_one_server = len({row["server"] for row in rows}) == 1
    print_table(
        ("organization", "name", "server", "plan", "limit", "used", "in config", "note"),
        [
            (
                row["id"],
                row["name"],
                row["server"],
                row["plan"],
                "none" if row["no_limit"] else row["limit"],
                row["used"],
                "yes" if row["in_config"] else "no",
                what_and_advice(row["error"].message)[0] if row["error"] else "",
            )
            for row in rows
        ],
        piped_only=("server",) if is_one_server else (),
    )
    if new := sum(not row["in_config"] for row in rows):
        click.echo(f"{plural(new, 'organization')} not in the config", err=True)


@click.command()
@click.argument("organizations", metavar="ORG...", nargs=-1, required=True)
@click.option(
    "--from",
    "first",
    type=DATE,
    metavar="DATE",
    required=True,
    help="How far back: to the month of this day.",
)
@click.option("--again", is_flag=True, help="Also fetch months already stored.")
@click.pass_obj
def backfill(context: Context, organizations: tuple[str, ...], first: date, again: bool) -> int:
    """Fetch older days, month by month, newest first.

    Skips what is stored, so the same command continues where it stopped. Safe beside a running
    daemon, whose polls go first where the key's rate budget is short.
    """
    watches = context.watches(organizations)
    today = context.clock.now().date()
    start = _start(context.config, first, today)
    context.start_logging(Use.POLL, Use.STORE)
    steps = len(months_back(start, today)) * len(watches)
    with (
        context.existing(to_write=True) as database,
        ExitStack() as resources,
        progress("backfill", steps, bar=True) as bar,
    ):
        work = Backfill(
            database=database,
            ask=_asking(context, resources),
            clock=context.clock,
            sleep=time.sleep,
            note=bar.say,
            done=bar.advance,
        )
        with database.write() as connection:
            keys = claims.register(connection, watches, now=context.clock.now())
        filled = [work.fill(keys[each.organization], each, start, again=again) for each in watches]
    for watch, its in zip(watches, filled, strict=True):
        _report(watch.organization.id, its)
    return 1 if any(each.left for each in filled) else 0


def _start(config: Config, first: date, today: date) -> date:
    """Return the first day of the month to go back to; refuses what would be thinned out."""
    if first >= today:
        raise click.UsageError(f"--from {first} has not ended; give a day before today")
    start = first.replace(day=1)
    oldest = today - config.database.keep_days
    if start < oldest:
        raise click.UsageError(
            f"days before {oldest} would be deleted at once: database.keep_days is"
            f" {span(config.database.keep_days)}; raise it, or begin with"
            f" {(oldest.replace(day=1) + timedelta(days=31)).replace(day=1)}"
        )
    return start


def _asking(context: Context, resources: ExitStack) -> OlderDays:
    config = context.config
    keys = {each: key.reveal() for each, key in config.credentials().items()}
    source = build_source(config, keys, resources, clock=context.clock)
    for organization in keys:  # so it knows how much of the budget the polls need
        source.pace(organization, config.poll.interval)
    return partial(source.days, purpose=Purpose.EXTRA)


def _report(organization: str, filled: Filled) -> None:
    parts = [f"{plural(len(filled.fetched), 'month')} fetched"]
    if filled.present:
        parts.append(f"{len(filled.present)} stored already")
    if filled.capped:
        parts.append(f"{plural(filled.capped, 'day')} marked as capped")
    click.echo(f"{organization}: {', '.join(parts)}")
    if filled.left:
        reason = str(filled.stopped)
        if isinstance(filled.stopped, NotYet):
            wait = span(timedelta(seconds=filled.stopped.seconds))
            reason = f"the rate limit leaves no request for the next {wait}"
        click.echo(
            f"error: {reason}. {_months(filled.left, organization)} left; what was"
            " fetched is kept, and the same command continues from there",
            err=True,
        )


def _months(left: Sequence[Period], organization: str) -> str:
    newest, oldest = left[0].start, left[-1].start
    range_ = f"{oldest:%Y-%m}" + (f" to {newest:%Y-%m}" if newest != oldest else "")
    verb = "is" if len(left) == 1 else "are"
    return f"{plural(len(left), 'month')} of {organization} ({range_}) {verb}"
