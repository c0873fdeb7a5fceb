"""`alerts`, `deliveries` and silences: what was sent, what failed, and what is held."""

import getpass
import logging
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import click

from quota_watch.cli.context import (
    GROUP,
    JSON,
    Context,
    given,
    print_json,
    print_table,
    short_time,
)
from quota_watch.cli.explain import explain
from quota_watch.cli.status import warn_of_old
from quota_watch.config.values import InvalidValueError, parse_duration
from quota_watch.lib.text import duration, moment, one_line, plural, zone_of
from quota_watch.model.period import month_of
from quota_watch.model.watch import Rule, Watch
from quota_watch.storage import claims, stories
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.storage.deliveries import retry as retry_deliveries
from quota_watch.views.alerts import (
    Alert,
    DeliveryRecord,
    OutboxEntry,
    SilenceRecord,
    grouped,
    outbox,
    silences_shown,
)
from quota_watch.views.alerts import alerts as alerts_of

_MOST_SHOWN = 100
_PERIOD_END = "period-end"
_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(days=3660)
_MOST_TEXT = 200


@click.command()
@click.argument("organizations", metavar="[[ORG]...|explain ORG]", nargs=-1)
@click.option("--open", "only_open", is_flag=True, help="Only open alerts.")
@JSON
@click.pass_obj
def alerts(
    context: Context, organizations: tuple[str, ...], only_open: bool, as_json: bool
) -> None:
    """Show alerts by organization, the most severe first.

    `explain ORG` says why each alert was sent or not, to whom, and what each rule says now.
    """
    if organizations[:1] == ("explain",):
        if only_open or len(organizations[1:]) != 1:
            raise click.UsageError("say `alerts explain ORG` with one organization")
        explain(context, organizations[1], as_json=as_json)
        return
    watches = context.watches(organizations)
    with context.existing() as database, database.read() as connection:
        stories = alerts_of(connection, watches if organizations else None, only_open=only_open)
        silences = silences_shown(connection, now=context.clock.now())
        if not as_json:
            warn_of_old(context, connection, watches)
    if as_json:
        print_json({"alerts": stories})
    elif not stories:
        click.echo("no open alerts" if only_open else "no alerts", err=True)
    else:
        print_table(
            ("started", "severity", "state", "rule", "reason", "organization", "title"),
            *(map(_alert_cells, alerts) for alerts in grouped(stories).values()),
            piped_only=("reason", "organization"),
        )
        for each in silences:
            until = f"until {short_time(each.ends_at)} ({each.author}: {each.reason})"
            click.echo(f"silence {each.id}: {_held_by(each)} {until}", err=True)


def _alert_cells(alert: Alert) -> tuple[object, ...]:
    return (
        alert.started_at,
        alert.severity,
        "held" if alert.held else alert.state,
        f"{alert.rule}{given(' {} %', alert.level)}",
        alert.reason,
        alert.organization,
        alert.title,
    )


@click.group(invoke_without_command=True)
@click.option("--failed", "only_failed", is_flag=True, help="Only deliveries that failed for good.")
@click.option("-v", "--verbose", is_flag=True, help="Show every attempt.")
@JSON
@click.pass_context
def deliveries(ctx: click.Context, only_failed: bool, verbose: bool, as_json: bool) -> None:
    """Show what was sent to whom, what is waiting and what failed."""
    if ctx.invoked_subcommand is not None:
        return

    context: Context = ctx.obj
    with context.existing() as database, database.read() as connection:
        entries = outbox(
            connection,
            state=DeliveryState.FAILED if only_failed else None,
            most=None if as_json else _MOST_SHOWN + 1,
        )
    if as_json:
        print_json({"deliveries": entries})
        return
    if not entries:
        click.echo("no failed deliveries" if only_failed else "no deliveries", err=True)
        return
    newest = entries[:_MOST_SHOWN]
    print_table(
        ("id", "created", "state", "attempts", "type", "what", "organization", "to"),
        map(_delivery_cells, newest),
        piped_only=("id", "attempts", "type", "organization"),  # whose title names it
    )
    if verbose or context.level <= logging.DEBUG:
        for delivery in (each for each in newest if each.attempts_log):
            click.echo(f"\n{delivery.id}, {_whereto(delivery)}")
            for attempt in delivery.attempts_log:
                result = f"{attempt.outcome}{given(' {}', attempt.status)}"
                error = given(": {}", one_line(attempt.error or "", None))
                click.echo(f"  {attempt.at:%Y-%m-%d %H:%M:%SZ} {result}{error}")
    if len(entries) > _MOST_SHOWN:
        click.echo(f"showing the newest {_MOST_SHOWN}; --json prints all", err=True)


def _delivery_cells(delivery: OutboxEntry) -> tuple[object, ...]:
    reason = delivery.reason if delivery.state in {"failed", "dropped"} else None
    return (
        delivery.id,
        delivery.created_at,
        delivery.state + given(" ({})", reason),
        delivery.attempts,
        delivery.type,
        delivery.title,
        delivery.organization,
        _whereto(delivery),
    )


def _whereto(delivery: DeliveryRecord) -> str:
    """Name the recipient, the channel it stands in for, the next attempt and the last error."""
    error = delivery.last_error.message if delivery.last_error else ""
    return "".join(
        (
            one_line(f"{delivery.channel} {delivery.recipient or ''}", None),
            given(", as {} failed", delivery.fallback_for),
            f", next try {short_time(delivery.next_attempt)}" if delivery.next_attempt else "",
            given(": {}", one_line(error, None)),
        )
    )


@deliveries.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--failed", "all_failed", is_flag=True, help="Every delivery that failed for good.")
@click.pass_obj
def retry(context: Context, ids: tuple[str, ...], all_failed: bool) -> int:
    """Try failed deliveries again.

    The daemon or the next `poll` sends them.
    """
    if bool(ids) == all_failed:
        raise click.UsageError("name the deliveries, or use --failed for all that failed")
    with context.existing(to_write=True) as database, database.write() as connection:
        retried = retry_deliveries(connection, ids or None, now=context.clock.now())
    click.echo(f"{plural(len(retried), 'delivery', 'deliveries')} will be retried")
    missing = sorted(set(ids) - set(retried))
    for each in missing:
        click.echo(f"no failed delivery {each}: see `quota-watch deliveries --failed`", err=True)
    return 1 if missing else 0


@click.command()
@click.argument("organization", metavar="[ORG]", required=False)
@click.option(
    "--all",
    "for_all",
    is_flag=True,
    help="All organizations, and what is about none of them.",
)
@click.option(
    "--rule",
    type=click.Choice([rule.value for rule in Rule]),
    metavar="RULE",
    help=f"Only this one: {', '.join(Rule)}.",
)
@click.option("--for", "length", metavar="DURATION", help='How long, such as "24h" or "2d".')
@click.option("--until", metavar="TIME", help="A date, a time, or period-end.")
@GROUP
@click.option("--reason", required=True, help="Why, for colleagues.")
@click.option("--author", help="Who is setting it [default: you].")
@click.pass_obj
def silence(
    context: Context,
    organization: str | None,
    for_all: bool,
    rule: str | None,
    length: str | None,
    until: str | None,
    reason: str,
    author: str | None,
    group: str | None,
) -> None:
    """Hold notifications for a while.

    What is still true at its end is sent then.
    """
    if (organization is not None) + for_all + (group is not None) != 1:
        raise click.UsageError("give one of these: an organization, --all, or --group NAME")
    now, zone = context.clock.now(), context.config.alerts.time_zone
    ends_at = _end(length, until, now=now, zone=zone)
    ids = () if organization is None else (organization,)
    watches: Sequence[Watch | None] = (None,) if for_all else context.watches(ids, group)
    why, who = _text(reason, "--reason"), _text(author or _user(), "--author")
    with context.existing(to_write=True) as database, database.write() as connection:
        keys = claims.register(connection, [each for each in watches if each], now=now)
        pks = [
            stories.begin_silence(
                connection,
                organization_pk=keys[watch.organization] if watch else None,
                rule=Rule(rule) if rule else None,
                starts_at=now,
                ends_at=ends_at,
                reason=why,
                author=who,
            )
            for watch in watches
        ]
    for pk, watch in zip(pks, watches, strict=True):
        what = f"{rule or 'everything'} of {one_line(watch.name) if watch else 'all organizations'}"
        click.echo(f"silence {pk}: {what}, until {moment(ends_at, zone)}, by {who}")
    click.echo(
        "Until then no new alerts are sent, only resolutions of those already sent; what is still\n"
        "true then is sent then. Messages already queued still go out. "
        f"Undo: quota-watch unsilence {pks[0]}"
    )


def _end(length: str | None, until: str | None, *, now: datetime, zone: str) -> datetime:
    """Return the end that was asked for; raises `click.UsageError`."""
    if (length is None) == (until is None):
        raise click.UsageError('say how long: either --for, such as "24h", or --until')
    try:
        if length is not None:
            ends_at = now + parse_duration(length, least=_SHORTEST, most=_LONGEST)
        else:
            ends_at = _moment(until or "", now, zone)
    except InvalidValueError as error:
        raise click.UsageError(f"--for {length}: {error}") from None
    if ends_at <= now:
        ago = duration(now - ends_at)
        raise click.UsageError(f"--until {until}: {moment(ends_at, zone)} was {ago} ago")
    if ends_at - now > _LONGEST:
        raise click.UsageError(f"longer than {_LONGEST.days} days: take the rule out of the config")
    return ends_at


def _moment(text: str, now: datetime, zone: str) -> datetime:
    if text == _PERIOD_END:
        return month_of(now.date()).resets_at
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=zone_of(zone))).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        if "day" in str(error) and "month" in str(error):
            raise click.UsageError(f"--until {text}: there is no such day") from None
        raise click.UsageError(
            f"--until {text}: must be a date such as {date(now.year, 12, 24)}, a time such as "
            f'"{now.year}-12-24 08:00" ({zone}, or with an offset such as +01:00), or {_PERIOD_END}'
        ) from None


def _text(text: str, option: str) -> str:
    if line := one_line(text, _MOST_TEXT):
        return line
    raise click.UsageError(f"{option} is empty: colleagues will want to know")


def _user() -> str:
    """Return who runs the command: before sudo, if that is how."""
    try:
        return os.environ.get("SUDO_USER") or os.environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"


@click.command("silences")
@click.option("--all", "with_ended", is_flag=True, help="Include ended silences.")
@JSON
@click.pass_obj
def list_silences(context: Context, with_ended: bool, as_json: bool) -> None:
    """Show current silences, when they end and why."""
    with context.existing() as database, database.read() as connection:
        silences = silences_shown(connection, now=context.clock.now(), with_ended=with_ended)
    if as_json:
        print_json({"silences": silences})
    elif silences:
        print_table(
            ("id", "state", "until", "what", "by", "reason"),
            [(s.id, s.state, s.ends_at, _held_by(s), s.author, s.reason) for s in silences],
        )
    else:
        click.echo("no silences", err=True)


def _held_by(silence: SilenceRecord) -> str:
    return f"{silence.rule or 'everything'} of {silence.organization or 'all organizations'}"


@click.command()
@click.argument("number", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.pass_obj
def unsilence(context: Context, number: int) -> int:
    """End a silence now.

    What it held back is sent after the next poll if it is still true.
    """
    with context.existing(to_write=True) as database, database.write() as connection:
        ended = stories.end_silence(connection, number, now=context.clock.now())
    if not ended:
        click.echo(f"no active silence {number}: see `quota-watch silences --all`", err=True)
        return 1
    click.echo(f"silence {number} has ended; what is still true is sent at the next poll")
    return 0
