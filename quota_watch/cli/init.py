"""`init`: a first config, made of what upstream knows."""

import os
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quota_watch.cli.context import Context, patiently
from quota_watch.cli.keys import VARIABLE, credential, has_key, plain_client, server_url
from quota_watch.cli.output import plural
from quota_watch.lib.errors import QuotaWatchError

if TYPE_CHECKING:
    from quota_watch.service.discovery import Credential, Sight

_STDOUT = Path("-")


class InitError(QuotaWatchError):
    """There is nothing to write a config of."""


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Where to write; - is stdout [default: as -c and $QUOTA_WATCH_CONFIG say].",
)
@click.option(
    "--base-url",
    metavar="URL",
    callback=server_url,
    help="The server [default: https://app.rybbit.io].",
)
@click.option(
    "--organization",
    "organizations",
    metavar="ORG_ID",
    multiple=True,
    help="Watch only this one; may be given again. An organization's own key may need it.",
)
@click.option("--key-in-file", is_flag=True, help=f"Write the key itself, not env:{VARIABLE}.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
@click.pass_obj
def init(
    context: Context,
    output: Path | None,
    base_url: str | None,
    organizations: tuple[str, ...],
    key_in_file: bool,
    force: bool,
) -> None:
    """Write a commented config of what the key sees.

    The key is that of $RYBBIT_API_KEY, else it is asked for.
    """
    from quota_watch.cli.draft import draft
    from quota_watch.config.load import VARIABLE as CONFIG_VARIABLE

    usual = context.config_file or Path(os.environ.get(CONFIG_VARIABLE) or "config.toml")
    path = output or usual
    if path != _STDOUT and os.path.lexists(path) and not force:
        raise click.UsageError(f"{path} is there already: name another with --output, or --force")
    typed = None if has_key() else _asked_key()
    with_key = credential(typed or f"env:{VARIABLE}", base_url, organizations)
    sights = _look(context, with_key)
    written = with_key.secret.reveal() if key_in_file else f"env:{VARIABLE}"
    text = draft(with_key.server, sights, api_key=written)
    _write(text, path)
    _warn_of_members(sights)
    if path != _STDOUT:
        click.echo(f"{path} written: {plural(len(sights), 'organization')}")
        asked = typed is not None and not key_in_file
        named = f" -c {path}" if path != usual or context.config_file else ""
        click.echo("\n  ".join(("next:", *_steps(path, named, asked=asked))), err=True)


def _asked_key() -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"no key: put it into the environment variable {VARIABLE}")
    return str(click.prompt("API key of Rybbit", hide_input=True, err=True)).strip()


def _look(context: Context, credential: "Credential") -> list["Sight"]:
    """Return what the key sees, or of that what was named; raises `QuotaWatchError`."""
    from dataclasses import replace

    from quota_watch.rybbit.client import OrganizationKeyError
    from quota_watch.service.discovery import listed, look_at

    today = context.clock.now().date()
    with plain_client(context.clock) as client:
        try:
            seen = listed(client, credential, ask=patiently)
        except OrganizationKeyError as error:
            credential = replace(credential, named=_asked_ids(error))
            seen = listed(client, credential, ask=patiently)
        wanted = [each for each in seen if not credential.named or each.id in credential.named]
        if not wanted:
            raise InitError(f"the key sees no organization at {credential.server}")
        sights = [look_at(client, credential, each, today=today, ask=patiently) for each in wanted]
    for sight in sights:
        was_named = sight.organization.id in credential.named
        if was_named and sight.trouble is not None and sight.used is None:
            raise sight.trouble
    return sights


def _asked_ids(error: QuotaWatchError) -> tuple[str, ...]:
    if not sys.stdin.isatty():
        raise InitError(f"{error}. Give it with --organization ORG_ID") from error
    click.echo(str(error), err=True)
    return (str(click.prompt("Organization id", err=True)).strip(),)


def _write(text: str, path: Path) -> None:
    from quota_watch.config.load import validate
    from quota_watch.lib.files import whole_file

    validate(tomllib.loads(text), path)  # better no file than one that is not taken
    if path == _STDOUT:
        click.echo(text, nl=False)
        return
    with whole_file(path) as file:
        file.write(text)


def _warn_of_members(sights: Sequence["Sight"]) -> None:
    for sight in sights:
        if sight.role == "member":
            click.echo(
                f"{sight.organization.id}: the key is a member's, who may see only some of the"
                " sites; an organization key sees all",
                err=True,
            )


def _steps(path: Path, named: str, *, asked: bool) -> Iterator[str]:
    if asked:
        yield f"export {VARIABLE}=…  # the key that you typed"
    yield f"uncomment and fill in a channel in {path}: so far nobody would be told"
    yield from (f"quota-watch{named} {command}" for command in ("check", "test-alert", "run"))
