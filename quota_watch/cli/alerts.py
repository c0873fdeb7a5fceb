"""`alerts`, `deliveries` and `test-alert`: what was told, and whether it arrived."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

import click

from quota_watch.cli.context import Context, chosen, meant, refuse_foreign_folder
from quota_watch.cli.explain import explain
from quota_watch.cli.output import plural, print_json, print_table, short_time
from quota_watch.cli.silence import in_words
from quota_watch.lib.text import one_line

if TYPE_CHECKING:
    from quota_watch.channels.channel import Channel
    from quota_watch.config import Config
    from quota_watch.storage.database import Database
    from quota_watch.views.alerts import Alert, DeliveryRecord, LoggedAttempt, OutboxEntry

_EXPLAIN = "explain"
_TEST_SECONDS = 60.0
_MOST_SHOWN = 100


@click.command()
@click.argument("organizations", metavar="[[ORG]...|explain ORG]", nargs=-1)
@click.option("--open", "only_open", is_flag=True, help="Only open alerts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def alerts(
    context: Context, organizations: tuple[str, ...], only_open: bool, as_json: bool
) -> None:
    """Show alerts by organization, the most severe first.

    `explain ORG` says why it was told or not, to whom, and what each rule says now.
    """
    from quota_watch.views import alerts as views

    if organizations[:1] == (_EXPLAIN,):
        if only_open or len(organizations) != len((_EXPLAIN, "ORG")):
            raise click.UsageError("say `alerts explain ORG` with one organization")
        explain(context, organizations[1], as_json=as_json)
        return
    config = context.config()
    watches = chosen(config, organizations) if organizations else None
    with context.existing(config) as database, database.read() as connection:
        shown = views.alerts(connection, watches, only_open=only_open)
        silenced = views.silences_shown(connection, now=context.clock.now())
    if as_json:
        print_json({"alerts": shown})
        return
    if not shown:
        click.echo("no alerts", err=True)
        return
    headers = ("started", "severity", "state", "rule", "reason", "organization", "title")
    rows = chain.from_iterable(views.grouped(shown).values())
    print_table(headers, map(_alert_cells, rows), piped_only=("reason", "organization"))
    for silence in silenced:
        click.echo(in_words(silence), err=True)


@click.group(invoke_without_command=True)
@click.option("--failed", "only_failed", is_flag=True, help="Only deliveries that failed for good.")
@click.option("-v", "--verbose", is_flag=True, help="Show every attempt.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def deliveries(ctx: click.Context, only_failed: bool, verbose: bool, as_json: bool) -> None:
    """Show what was sent to whom, what is waiting and what failed."""
    if ctx.invoked_subcommand is not None:
        return
    from quota_watch.views.alerts import outbox

    context: Context = ctx.obj
    most = None if as_json else _MOST_SHOWN + 1
    with context.existing(context.config()) as database, database.read() as connection:
        shown = outbox(connection, only_failed=only_failed, most=most)
    if as_json:
        print_json({"deliveries": shown})
        return
    if not shown:
        click.echo("no deliveries", err=True)
        return
    _print_deliveries(shown[:_MOST_SHOWN], attempts=verbose or context.level <= logging.DEBUG)
    if len(shown) > _MOST_SHOWN:
        click.echo(f"showing the newest {_MOST_SHOWN}; --json prints all", err=True)


def _print_deliveries(shown: "Sequence[OutboxEntry]", *, attempts: bool) -> None:
    headers = ("id", "created", "state", "attempts", "type", "what", "organization", "to")
    piped_only = ("id", "attempts", "type")
    print_table(headers, map(_delivery_cells, shown), piped_only=piped_only)
    for delivery in (each.delivery for each in shown if attempts and each.delivery.attempts_log):
        click.echo(f"\n{delivery.id}, {_whereto(delivery)}")
        for attempt in delivery.attempts_log:
            click.echo(f"  {_attempt_line(attempt)}")


@deliveries.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--failed", "all_failed", is_flag=True, help="Every delivery that failed for good.")
@click.pass_obj
def retry(context: Context, ids: tuple[str, ...], all_failed: bool) -> int:
    """Let failed deliveries be tried again.

    The daemon or the next `poll` sends them.
    """
    from quota_watch.storage import deliveries

    if bool(ids) == all_failed:
        raise click.UsageError("name the deliveries, or use --failed for all that failed")
    with context.existing(context.config()) as database:
        refuse_foreign_folder(database)
        with database.write() as connection:
            found = deliveries.retry(connection, ids or None, now=context.clock.now())
    click.echo(f"{plural(len(found), 'delivery')} will be retried")
    for missing in sorted(set(ids) - set(found)):
        click.echo(f"no failed delivery {missing}: see `quota-watch deliveries --failed`", err=True)
    return 1 if set(ids) - set(found) else 0


@click.command("test-alert")
@click.argument("channels", metavar="[CHANNEL]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def test_alert(context: Context, channels: tuple[str, ...], as_json: bool) -> int:
    """Send a marked test message through the channels."""
    from quota_watch.channels.build import build_channels
    from quota_watch.config import Use

    config = context.config()
    unknown = sorted(set(channels) - set(config.channels))
    if unknown:
        known = ", ".join(config.channels) or "none"
        hint = meant(unknown[0], list(config.channels)) or f" There are: {known}."
        raise click.UsageError(f'no channel "{unknown[0]}" in the config.{hint}')
    if not config.channels:
        raise click.UsageError("the config has no [channels]: alerts can't reach anybody")
    context.start_logging(config, Use.DELIVER, Use.STORE)
    with context.upgraded(config) as database, ExitStack() as resources:
        built = build_channels(config, resources)
        shown = _send_test(context, config, database, built, channels or tuple(built))
    if as_json:
        print_json({"deliveries": shown})
    else:
        for each in shown:
            _print_test(each.delivery)
    return 0 if all(each.delivery.state == "done" for each in shown) else 1


def _send_test(
    context: Context,
    config: "Config",
    database: "Database",
    channels: "Mapping[str, Channel]",
    names: Sequence[str],
) -> "list[OutboxEntry]":
    """Send a test to the channels of these names; return the deliveries it made."""
    from quota_watch.pipeline.deliver import Outbox
    from quota_watch.pipeline.enqueue import enqueue_test
    from quota_watch.views.alerts import outbox

    with database.write() as connection:
        ids = enqueue_test(
            connection,
            [channels[name] for name in names],
            nonce=secrets.token_hex(8),
            now=context.clock.now(),
            time_zone=config.alerts.time_zone,
        )
    Outbox(database=database, channels=channels, clock=context.clock).flush(_TEST_SECONDS)
    with database.read() as connection:
        found = outbox(connection)
    return [each for each in found if each.delivery.id in ids]


def _print_test(delivery: "DeliveryRecord") -> None:
    name, recipient = delivery.channel, delivery.recipient
    if recipient and not name.endswith(recipient):  # as "mailto:anna@example.com" does
        name += f" {recipient}"
    if delivery.state == "done":
        click.echo(f"✓ {name}: accepted")
        return
    error = delivery.last_error.message if delivery.last_error else "not attempted yet"
    later = "; it will be retried" if delivery.state == "pending" else ""
    click.echo(f"✗ {name}: {one_line(error, None)}{later}")


def _alert_cells(alert: "Alert") -> tuple[object, ...]:
    level = "" if alert.level is None else f" {alert.level} %"
    return (
        short_time(alert.started_at),
        alert.severity,
        "held" if alert.held else alert.state,
        alert.rule + level,
        alert.reason,
        alert.organization or "-",
        alert.title,
    )


def _delivery_cells(entry: "OutboxEntry") -> tuple[object, ...]:
    delivery = entry.delivery
    over = delivery.reason if delivery.state in {"failed", "dropped"} else None
    return (
        delivery.id,
        short_time(delivery.created_at),
        delivery.state + (f" ({over})" if over else ""),
        delivery.attempts,
        delivery.type,
        entry.title or "-",
        entry.organization or "-",
        _whereto(delivery),
    )


def _whereto(delivery: "DeliveryRecord") -> str:
    """Say who is to get it, in whose place, when it is tried next and what was wrong."""
    to = one_line(f"{delivery.channel} {delivery.recipient or ''}", None)
    if delivery.fallback_for:
        to += f", as {delivery.fallback_for} failed"
    if delivery.next_attempt:
        to += f", next try {short_time(delivery.next_attempt)}"
    if delivery.last_error:
        to += f": {one_line(delivery.last_error.message, None)}"
    return to


def _attempt_line(attempt: "LoggedAttempt") -> str:
    status = "" if attempt.status is None else f" {attempt.status}"
    error = "" if attempt.error is None else f": {one_line(attempt.error, None)}"
    return f"{attempt.at:%Y-%m-%d %H:%M:%SZ} {attempt.outcome}{status}{error}"
