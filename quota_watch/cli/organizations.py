"""`organizations`: what the keys can see upstream."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from quota_watch.cli.context import Context
from quota_watch.cli.keys import VARIABLE, credential, has_key, plain_client, server_url
from quota_watch.cli.output import plural, print_json, print_table
from quota_watch.cli.patience import patiently
from quota_watch.lib.figures import what_and_advice
from quota_watch.model.organization import Organization
from quota_watch.model.source import NotYet, UpstreamError
from quota_watch.model.usage import percent

if TYPE_CHECKING:
    from quota_watch.config import Config
    from quota_watch.rybbit.client import RybbitClient
    from quota_watch.service.discovery import Credential, Sight


@click.command()
@click.option(
    "--base-url",
    metavar="URL",
    callback=server_url,
    help=f"Ask this server with the key in ${VARIABLE}, whatever the config says.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def organizations(context: Context, base_url: str | None, as_json: bool) -> int:
    """Show what the keys can see upstream: plan, limit and use.

    Without a config the key is that of $RYBBIT_API_KEY, for app.rybbit.io unless --base-url says
    otherwise.
    """
    config = None if base_url else _config(context)
    named = {watch.organization for watch in config.watches()} if config else set()
    rows: list[dict[str, Any]] = []
    failed = False
    with ExitStack() as resources:
        client, credentials = _upstream(context, config, base_url, resources)
        for each in credentials:
            try:
                rows += _rows(context, client, each, named)
            except (UpstreamError, NotYet) as error:
                failed = True
                click.echo(f"error: {_with_place(each, error)}", err=True)
    unique = list({(row["server"], row["id"]): row for row in reversed(rows)}.values())[::-1]
    if as_json:
        print_json({"organizations": unique})
    elif unique:
        _print(unique)
    return 1 if failed or any(row["error"] for row in unique) else 0


def _config(context: Context) -> "Config | None":
    """Return the config, or None where there is none and the environment has a key instead."""
    from quota_watch.config import ConfigError, find_config

    try:
        find_config(context.config_file, os.environ)
    except ConfigError:
        if has_key():
            return None
        raise
    return context.config()


def _upstream(
    context: Context, config: "Config | None", base_url: str | None, resources: ExitStack
) -> tuple["RybbitClient", Sequence["Credential"]]:
    from quota_watch.config import Use
    from quota_watch.rybbit.build import build_source
    from quota_watch.rybbit.pacing import Pacer
    from quota_watch.service.discovery import credentials_of

    if config is None:
        if not has_key():
            raise click.UsageError(f"no key: put it into the environment variable {VARIABLE}")
        client = resources.enter_context(plain_client(context.clock))
        return client, [credential(f"env:{VARIABLE}", base_url)]
    context.start_logging(config, Use.POLL)
    source = build_source(config, {}, resources, pacer=Pacer(), clock=context.clock)
    return source, credentials_of(config)


def _rows(
    context: Context,
    client: "RybbitClient",
    credential: "Credential",
    named: Collection[Organization],
) -> Iterator[dict[str, Any]]:
    from quota_watch.service.discovery import listed, look_at

    today = context.clock.now().date()
    for seen in listed(client, credential, ask=patiently):
        sight = look_at(client, credential, seen, today=today, ask=patiently)
        yield _row(sight, in_config=sight.organization in named)


def _row(sight: "Sight", *, in_config: bool) -> dict[str, Any]:
    account, trouble = sight.account, sight.trouble
    limit = account.limit if account else None
    return {
        "id": sight.organization.id,
        "name": sight.name,
        "server": sight.organization.server,
        "role": sight.role,
        "plan": account.plan if account and limit is not None else None,
        "status": account.status if account and limit is not None else None,
        "limit": limit,
        "used": sight.used,
        "percent": None if sight.used is None else percent(sight.used, limit),
        "no_limit": account is not None and limit is None,
        "in_config": in_config,
        "error": trouble
        and {"kind": trouble.kind, "message": trouble.message, "status": trouble.status},
    }


def _with_place(credential: "Credential", error: UpstreamError | NotYet) -> str:
    if isinstance(error, UpstreamError):
        return str(error)
    return f"{credential.server}: {error}"


def _print(rows: Sequence[dict[str, Any]]) -> None:
    print_table(
        ("organization", "name", "server", "plan", "limit", "used", "in config", "note"),
        [
            (
                row["id"],
                row["name"],
                row["server"],
                row["plan"] or "-",
                "none" if row["no_limit"] else "-" if row["limit"] is None else f"{row['limit']:,}",
                "-" if row["used"] is None else f"{row['used']:,}",
                "yes" if row["in_config"] else "no",
                what_and_advice(row["error"]["message"])[0] if row["error"] else "",
            )
            for row in rows
        ],
        piped_only=() if len({row["server"] for row in rows}) > 1 else ("server",),
    )
    new = sum(not row["in_config"] for row in rows)
    if new:
        click.echo(f"{plural(new, 'organization')} not in the config", err=True)
