"""`preview`: what would be sent, without sending it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quota_watch.cli.context import Context, chosen, meant
from quota_watch.cli.output import print_json
from quota_watch.lib.files import whole_file
from quota_watch.model.rule import Rule

if TYPE_CHECKING:
    from quota_watch.config import Config
    from quota_watch.model.watch import Watch
    from quota_watch.service.preview import Preview

_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")


_HELP = f"""Show what would be sent about ORG, sending nothing.

From what the database knows; with sample values where the rule is not true. RULE is
{", ".join(Rule)} or report.
"""


@click.command(help=_HELP)
@click.argument("organization", metavar="ORG")
@click.argument("rule")
@click.option("--channel", metavar="NAME", help="As this channel sends it [default: the first].")
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write files there instead.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def preview(
    context: Context,
    organization: str,
    rule: str,
    channel: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show what would be sent about ORG, sending nothing."""
    from quota_watch.service.preview import RULES, facts_to_preview, render

    if rule not in RULES:
        raise click.UsageError(f'no rule "{rule}".{meant(rule, RULES)} One of: {", ".join(RULES)}.')
    config = context.config()
    (watch,) = chosen(config.watches(), [organization])
    name = _channel(config, watch, channel)
    now = context.clock.now()
    with context.existing(config) as database, database.read() as connection:
        facts, is_true = facts_to_preview(connection, config, watch, rule, channel=name, now=now)
    shown = render(config, name, facts, is_true=is_true, now=now)
    stem = "-".join(_NOT_IN_A_NAME.sub("_", part) for part in (organization, rule, name or "mail"))
    files = [] if output is None else _write(shown, output, stem)
    if as_json:
        print_json({"previews": [_as_json(shown, watch, rule, files)]})
        return
    click.echo(_said(shown, rule), err=True)
    for path in files:
        click.echo(path)
    if not files:
        click.echo(f"{shown.subject}\n\n{shown.text}")


def _channel(config: "Config", watch: "Watch", asked: str | None) -> str | None:
    """Return the channel to render for, the organization's first where none is asked for."""
    if asked is None:
        return next(iter(watch.channels), None)
    if asked not in config.channels:
        hint = meant(asked, list(config.channels))
        raise click.UsageError(f'no channel "{asked}" in the config.{hint}')
    return asked


def _said(shown: "Preview", rule: str) -> str:
    where = "as a mail" if shown.channel is None else f"on the channel {shown.channel}"
    if rule == "report":
        return f"The newest report {where}; nothing is sent."
    if shown.is_true:
        return f"True now, and this is what is told {where}; nothing is sent."
    return f"Not true now: a sample with made-up numbers, {where}; nothing is sent."


def _write(shown: "Preview", folder: Path, stem: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, content in shown.files.items():
        path = folder / f"{stem}.{suffix}"
        with whole_file(path) as file:
            file.write(content)
        paths.append(str(path))
    return paths


def _as_json(shown: "Preview", watch: "Watch", rule: str, files: list[str]) -> dict[str, Any]:
    return {
        "organization": watch.organization.id,
        "rule": rule,
        "channel": shown.channel,
        "format": shown.format,
        "is_true": shown.is_true,
        "subject": shown.subject,
        "text": shown.text,
        "html": shown.files.get("html"),
        "files": files,
    }
