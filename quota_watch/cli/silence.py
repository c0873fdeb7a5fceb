"""`silence`, `silences` and `unsilence`: hold notifications for an agreed time."""

import getpass
import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import click

from quota_watch.cli.context import GROUP, Context, chosen, refuse_foreign_folder
from quota_watch.cli.output import print_json, print_table, short_time
from quota_watch.lib.text import duration, moment, one_line, zone_of
from quota_watch.model.period import month_of
from quota_watch.model.watch import Rule

if TYPE_CHECKING:
    from quota_watch.model.watch import Watch
    from quota_watch.views.alerts import SilenceRecord

_PERIOD_END = "period-end"
_LONGEST = timedelta(days=3660)
_MOST_TEXT = 200
_NUMBER = click.IntRange(1, 2**63 - 1)


@click.command()
@click.argument("organization", metavar="[ORG]", required=False)
@click.option(
    "--all", "for_all", is_flag=True, help="All organizations, and alerts about none of them."
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
    from quota_watch.storage import claims, silences

    if (organization is not None) + for_all + (group is not None) != 1:
        raise click.UsageError("give one of these: an organization, --all, or --group NAME")
    config, now = context.config(), context.clock.now()
    zone = config.alerts.time_zone
    ends_at = _end(length, until, now=now, zone=zone)
    named = () if organization is None else (organization,)
    watches: Sequence[Watch | None] = (None,) if for_all else chosen(config, named, group)
    why, who = _text(reason, "--reason"), _text(author or _user(), "--author")
    with context.existing(config) as database:
        refuse_foreign_folder(database)
        with database.write() as connection:
            keys = claims.register(connection, [each for each in watches if each], now=now)
            pks = [
                silences.begin(
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
        what = f"{rule or 'everything'} of {_whom(watch)}"
        click.echo(f"silence {pk}: {what}, until {moment(ends_at, zone)}, by {who}")
    click.echo(
        "Until then no new alerts are sent, only resolutions of those already sent; what is still\n"
        "true then is sent then. Messages already queued still go out. "
        f"Undo: quota-watch unsilence {pks[0]}"
    )


@click.command("silences")
@click.option("--all", "with_ended", is_flag=True, help="Include ended silences.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_silences(context: Context, with_ended: bool, as_json: bool) -> None:
    """Show current silences, when they end and why."""
    from quota_watch.views.alerts import silences_shown

    config, now = context.config(), context.clock.now()
    with context.existing(config) as database, database.read() as connection:
        found = silences_shown(connection, now=now, with_ended=with_ended)
    if as_json:
        print_json({"silences": found})
        return
    if not found:
        click.echo("no silences", err=True)
        return
    print_table(("id", "state", "until", "what", "by", "reason"), map(_cells, found))


@click.command()
@click.argument("number", metavar="ID", type=_NUMBER)
@click.pass_obj
def unsilence(context: Context, number: int) -> int:
    """End a silence now.

    What it held back is sent with the next poll if it is still true.
    """
    from quota_watch.storage import silences

    with context.existing(context.config()) as database:
        refuse_foreign_folder(database)
        with database.write() as connection:
            ended = silences.end(connection, number, now=context.clock.now())
    if not ended:
        click.echo(f"no active silence {number}: see `quota-watch silences --all`", err=True)
        return 1
    click.echo(f"silence {number} has ended; what is still true is sent at the next poll")
    return 0


def _end(length: str | None, until: str | None, *, now: datetime, zone: str) -> datetime:
    """Return the end that was asked for; raises `click.UsageError`."""
    if (length is None) == (until is None):
        raise click.UsageError('say how long: either --for, such as "24h", or --until')
    ends_at = now + _length(length) if length is not None else _moment(until or "", now, zone)
    if ends_at <= now:
        ago = duration(now - ends_at)
        raise click.UsageError(f"--until {until}: {moment(ends_at, zone)} was {ago} ago")
    if ends_at - now > _LONGEST:
        raise click.UsageError(f"longer than {_LONGEST.days} days: take the rule out of the config")
    return ends_at


def _length(text: str) -> timedelta:
    from quota_watch.config.values import InvalidValueError, parse_duration

    try:
        return parse_duration(text, least=timedelta(seconds=1))
    except InvalidValueError as error:
        raise click.UsageError(f"--for {text}: {error}") from None


def _moment(text: str, now: datetime, zone: str) -> datetime:
    if text == _PERIOD_END:
        return month_of(now.date()).resets_at
    try:
        said = datetime.fromisoformat(text)
        return (said if said.tzinfo else said.replace(tzinfo=zone_of(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"--until {text}: must be a date such as {date(now.year, 12, 24)}, a time such as "
            f'"{now.year}-12-24 08:00" ({zone}, or with an offset such as +01:00), or {_PERIOD_END}'
        ) from None


def _text(text: str, option: str) -> str:
    line = one_line(text, _MOST_TEXT)
    if not line:
        raise click.UsageError(f"{option} is empty: colleagues will want to know")
    return line


def _user() -> str:
    """Return who runs the command: before sudo, if that is how."""
    named = os.environ.get("SUDO_USER") or os.environ.get("USER")
    try:
        return named or getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"


def _whom(watch: "Watch | None") -> str:
    return "all organizations" if watch is None else one_line(watch.name)


def in_words(silence: "SilenceRecord") -> str:
    """Say in a line what a silence holds, until when and why."""
    what = f"{silence.rule or 'everything'} of {silence.organization or 'all organizations'}"
    until = short_time(silence.ends_at)
    return f"silence {silence.id}: {what} until {until} ({silence.author}: {silence.reason})"


def _cells(silence: "SilenceRecord") -> tuple[object, ...]:
    what = f"{silence.rule or 'everything'} of {silence.organization or 'all'}"
    return (
        silence.id,
        silence.state,
        short_time(silence.ends_at),
        what,
        silence.author,
        silence.reason,
    )
