"""`check`: will it work? Config, database, credentials, organizations, channels, templates."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import click

from quota_watch.cli.context import Context
from quota_watch.cli.output import print_json, printable
from quota_watch.config import Config, ConfigError
from quota_watch.domain.errors import QuotaWatchError
from quota_watch.domain.source import Organization, UpstreamError
from quota_watch.storage.database import Database
from quota_watch.storage.errors import StorageError

if TYPE_CHECKING:
    from quota_watch.rybbit.client import RybbitClient

Check = dict[str, Any]

_WARNING = "warning"


@click.command()
@click.option("--offline", is_flag=True, help="Use no network.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(context: Context, offline: bool, as_json: bool) -> int:
    """Check whether everything will work, sending nothing."""
    config = context.config()
    checks = []
    for each in _checks(context, config, offline=offline):
        checks.append(each)
        if not as_json:
            _show(each)
    if as_json:
        print_json({"checks": checks})
    return 0 if all(each["ok"] for each in checks) else 1


def _checks(context: Context, config: Config, *, offline: bool) -> Iterator[Check]:
    organizations, channels = len(config.organizations), len(config.channels)
    yield _good("config", f"{config.path}: {organizations} organizations, {channels} channels")
    for warning in config.warnings():
        yield _good(_WARNING, warning)
    yield _database(config, offline=offline)
    yield from _secrets(config)
    yield from _templates(config, context)
    if not offline:
        yield from _organizations(config, context)
        yield from _channels(config)


def _database(config: Config, *, offline: bool) -> Check:
    from quota_watch.storage import migrate

    try:
        database = Database(config.database_url())
        if offline and database.path is None:
            return _good("database", f"{database.label}: not asked, for want of a network")
        with closing(database):
            if migrate.current(database) is None:
                return _place_for(database)
            migrate.require_current(database)
    except ConfigError as error:
        return _bad("database", error.problems[0].message, "set database.url")
    except StorageError as error:
        return _bad("database", str(error), "see database.url in the config")
    return _good("database", database.label)


def _place_for(database: Database) -> Check:
    folder = database.path.parent if database.path is not None else None
    if folder is not None and not os.access(folder, os.W_OK | os.X_OK):
        remedy = f"create {folder} and let this user write there, or set database.url"
        return _bad("database", f"no database can be made in {folder}", remedy)
    return _good("database", f"{database.label}: none yet; `run` or `poll` makes it")


def _secrets(config: Config) -> Iterator[Check]:
    for secret in config.secrets():
        if not secret.checkable:
            yield _good(secret.key, f"{secret}: not checkable here, only inside the service")
            continue
        try:
            secret.reveal()
        except ConfigError as error:
            yield _bad(secret.key, error.problems[0].message, f"correct {secret.key}")
        else:
            yield _good(secret.key, "can be read")


def _templates(config: Config, context: Context) -> Iterator[Check]:
    from quota_watch.notify.render import Renderer
    from quota_watch.notify.samples import sample_facts

    try:
        renderer = Renderer(config.templates.directory)
        for facts in sample_facts(now=context.clock.now()).values():
            renderer.email(facts)
    except QuotaWatchError as error:
        yield _bad("templates", str(error), "correct the template, or remove it")
    else:
        yield _good("templates", "every message renders")


def _organizations(config: Config, context: Context) -> Iterator[Check]:
    from quota_watch.http import build_client
    from quota_watch.rybbit.client import RybbitClient

    keys, problems = _readable(config)
    yield from problems
    rybbit = config.rybbit
    with ExitStack() as resources:
        http = resources.enter_context(
            build_client(
                ca_file=rybbit.ca_file,
                proxy=rybbit.proxy.reveal() if rybbit.proxy else None,
                connections=config.poll.concurrency,
            )
        )
        source = RybbitClient(http, keys=keys, timeout=rybbit.timeout.total_seconds())
        pool = resources.enter_context(ThreadPoolExecutor(config.poll.concurrency))
        yield from pool.map(lambda each: _organization(source, each, context), keys)


def _readable(config: Config) -> tuple[dict[Organization, str], list[Check]]:
    keys: dict[Organization, str] = {}
    problems = []
    for organization, secret in config.credentials().items():
        try:
            keys[organization] = secret.reveal()
        except ConfigError:
            message = f"not asked: {secret.key} can't be read"
            problems.append(_bad(organization.id, message, f"correct {secret.key}"))
    return keys, problems


def _organization(source: "RybbitClient", organization: Organization, context: Context) -> Check:
    today = context.clock.now().date()
    try:
        source.days(organization, today, today)
    except UpstreamError as error:
        wait = "try again" if error.may_pass else "correct the config"
        return _bad(organization.id, error.message, wait)
    return _good(organization.id, f"{organization.server} answers")


def _channels(config: Config) -> Iterator[Check]:
    from quota_watch.daemon.channels import build_channel
    from quota_watch.http import build_client

    with ExitStack() as resources:
        http = resources.enter_context(build_client(connections=1))
        for name in config.channels:
            try:
                channel = build_channel(config, name, http, resources)
                yield _good(f"channels.{name}", channel.check())
            except ConfigError as error:
                yield _bad(f"channels.{name}", error.problems[0].message, "set the secret")
            except QuotaWatchError as error:
                yield _bad(f"channels.{name}", str(error), "then run `quota-watch test-alert`")


def _good(name: str, message: str) -> Check:
    return {"name": name, "ok": True, "message": message, "remedy": None}


def _bad(name: str, message: str, remedy: str) -> Check:
    return {"name": name, "ok": False, "message": message, "remedy": remedy}


def _show(each: Check) -> None:
    sign, colour = ("✓", "green") if each["ok"] else ("✗", "red")
    if each["name"] == _WARNING:
        sign, colour = "!", "yellow"
    mark = click.style(sign, fg=colour)
    remedy = f" → {each['remedy']}" if each["remedy"] else ""
    click.echo(f"{mark} {each['name']}: {printable(each['message'])}{remedy}")
