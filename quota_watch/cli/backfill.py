"""`backfill`: fetch older days."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import click

from quota_watch.cli.context import Context, chosen, refuse_foreign_folder
from quota_watch.cli.dates import DATE
from quota_watch.cli.output import plural
from quota_watch.cli.progress import progress
from quota_watch.model.organization import Organization
from quota_watch.model.schedule import span
from quota_watch.model.source import NotYet
from quota_watch.model.watch import Watch

if TYPE_CHECKING:
    from quota_watch.config import Config
    from quota_watch.model.period import Period
    from quota_watch.service.backfill import Filled, OlderDays
    from quota_watch.storage.database import Database


@click.command()
@click.argument("organizations", metavar="ORG...", nargs=-1, required=True)
@click.option(
    "--from",
    "first",
    type=DATE,
    metavar="DATE",
    required=True,
    help="How far back: to the month that holds this day.",
)
@click.option("--again", is_flag=True, help="Fetch also what is stored already.")
@click.pass_obj
def backfill(context: Context, organizations: tuple[str, ...], first: datetime, again: bool) -> int:
    """Fetch older days, a month at a time, the newest first.

    What is stored is passed over, so the same command goes on where it was broken off. Safe
    beside a running daemon, whose polls go first where the key's rate budget is short.
    """
    from quota_watch.config import Use

    config = context.config()
    watches = chosen(config.watches(), organizations)
    start = _start(config, first.date(), context.clock.now().date())
    context.start_logging(config, Use.POLL, Use.STORE)
    with context.existing(config) as database, ExitStack() as resources:
        refuse_foreign_folder(database)
        ask = _asking(context, config, resources)
        filled = _fill(context, database, ask, watches, start, again=again)
    for watch in watches:
        _report(watch.organization.id, filled[watch.organization])
    return 1 if any(each.left for each in filled.values()) else 0


def _start(config: "Config", first: date, today: date) -> date:
    """Return the first day of the month to go back to; refuses what would be thinned out."""
    start = first.replace(day=1)
    oldest = today - config.database.keep_days
    if start < oldest:
        raise click.UsageError(
            f"days before {oldest} would be deleted again: database.keep_days is"
            f" {span(config.database.keep_days)}; raise it, or begin with"
            f" {(oldest.replace(day=1) + timedelta(days=31)).replace(day=1)}"
        )
    return start


def _asking(context: Context, config: "Config", resources: ExitStack) -> "OlderDays":
    from quota_watch.rybbit.build import build_source
    from quota_watch.rybbit.pacing import Pacer, Purpose

    keys = {each: key.reveal() for each, key in config.credentials().items()}
    source = build_source(config, keys, resources, pacer=Pacer(), clock=context.clock)
    for organization in keys:  # so it knows how much of the budget the polls need
        source.interval_for(organization, config.poll.interval)
    return partial(source.days, purpose=Purpose.EXTRA)


def _fill(
    context: Context,
    database: "Database",
    ask: "OlderDays",
    watches: Sequence[Watch],
    start: date,
    *,
    again: bool,
) -> dict[Organization, "Filled"]:
    from quota_watch.service.backfill import Backfill, months_back
    from quota_watch.storage import claims

    now = context.clock.now()
    with database.write() as connection:
        keys = claims.register(connection, watches, now=now)
    steps = len(months_back(start, now.date())) * len(watches)
    with progress("backfill", steps, bar=True, lines=True) as shown:
        work = Backfill(
            database=database,
            ask=ask,
            clock=context.clock,
            sleep=time.sleep,
            note=shown.say,
            done=lambda: shown.advance(1),
        )
        return {
            watch.organization: work.fill(keys[watch.organization], watch, start, again=again)
            for watch in watches
        }


def _report(organization: str, filled: "Filled") -> None:
    parts = [f"{plural(len(filled.fetched), 'month')} fetched"]
    if filled.present:
        parts.append(f"{len(filled.present)} stored already")
    if filled.capped:
        parts.append(f"{plural(filled.capped, 'day')} marked as capped")
    click.echo(f"{organization}: {', '.join(parts)}")
    if filled.left:
        why = filled.stopped
        reason = (
            f"the rate limit leaves no request for the next {span(timedelta(seconds=why.seconds))}"
            if isinstance(why, NotYet)
            else str(why)
        )
        click.echo(
            f"error: {reason}. {_months(filled.left, organization)} left; what came"
            " is kept, and the same command goes on there",
            err=True,
        )


def _months(left: Sequence["Period"], organization: str) -> str:
    newest, oldest = left[0].start, left[-1].start
    range_ = f"{oldest:%Y-%m}" + (f" to {newest:%Y-%m}" if newest != oldest else "")
    verb = "is" if len(left) == 1 else "are"
    return f"{plural(len(left), 'month')} of {organization} ({range_}) {verb}"
