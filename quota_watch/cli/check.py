"""`check`: will it work? Config, database, credentials, organizations, channels, templates."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import click

from quota_watch.cli.context import Context, patiently, print_json, refuse_foreign_folder
from quota_watch.config import AppriseTable, Config, ConfigError, EmailTable, warnings
from quota_watch.config.addresses import Listen
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.machine import Clock
from quota_watch.lib.text import listed, one_line, plural, what_and_advice
from quota_watch.model.account import Account, Comparison, Organization
from quota_watch.model.limit import NOT_COUNTED
from quota_watch.model.period import month_of
from quota_watch.model.source import NotYet, UpstreamError
from quota_watch.rules.mismatch import compare, sees_less
from quota_watch.storage import StorageError
from quota_watch.storage.database import Database

if TYPE_CHECKING:
    from quota_watch.rybbit.client import RybbitClient

Check = dict[str, Any]

_WARNING = "warning"
_INSIDE = "check as the service's user: /usr/local/bin/quota-watch check (deploy/README.md)"
_PAGE_SECONDS = 3.0
_LEAST_ROOM = 10 * 1024 * 1024


@click.command()
@click.option("--offline", is_flag=True, help="Use no network.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(context: Context, offline: bool, as_json: bool) -> int:
    """Check that everything will work, without sending anything."""
    config = context.config()
    checks = []
    for each in _checks(context, config, offline=offline):
        checks.append(each)
        if not as_json:
            _show(each)
    if as_json:
        print_json({"checks": checks})
    verdicts = {each["ok"] for each in checks}
    return 1 if False in verdicts or (None in verdicts and not offline) else 0


def _checks(context: Context, config: Config, *, offline: bool) -> Iterator[Check]:
    parts = (
        plural(len(config.organizations), "organization"),
        plural(len(config.channels), "channel"),
    )
    yield _good("config", f"{config.path}: {', '.join(parts)}")
    for warning in warnings(config):
        yield _good(_WARNING, warning)
    yield _database(config, context.clock, offline=offline)
    problems = dict(_problems(config))
    yield from _secrets(config, problems)
    for key, problem in problems.items():
        what, _, remedy = problem.rpartition("; ")
        yield _bad(key, what or remedy, remedy if what else f"correct {key}")
    if "templates.directory" not in problems:
        yield from _templates(config)
    yield from _certificates()
    if config.web is not None and "web" not in problems:
        yield _page(config.web.listen)
    if not offline and not problems.keys() & {"rybbit.ca_file", "rybbit.proxy"}:
        yield from _organizations(config, context, problems)
    yield from _channels(config, offline=offline)


def _database(config: Config, clock: Clock, *, offline: bool) -> Check:
    from quota_watch.service.health import clocks_apart
    from quota_watch.storage import upkeep

    if not config.database.url.checkable:
        return _unknown("database", f"not asked: {config.database.url} can't be read here")
    try:
        with closing(Database(config.database_url())) as database:
            if offline and database.path is None:
                return _unknown(
                    "database", f"{database.label}: not checked, as --offline was given"
                )
            refuse_foreign_folder(database)
            if upkeep.current(database) is not None:
                upkeep.require_current(database)
            # A file has this machine's clock; and to ask would make one.
            apart = clocks_apart(database, clock) if database.path is None else None
            return _bad("database", apart, "correct the clock") if apart else _room_for(database)
    except ConfigError as error:
        return _bad("database", error.problems[0].message, "set database.url")
    except StorageError as error:
        return _bad("database", str(error), "correct that, or set another database.url")


def _room_for(database: Database) -> Check:
    if database.path is None:
        return _good("database", database.label)
    folder = database.path.parent
    if not folder.is_dir():
        return _bad("database", f"no folder {folder}", "create it, or set database.url")
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = "let this user write there, or set database.url"
        return _bad("database", f"can't write to {folder}", remedy)
    if shutil.disk_usage(folder).free < _LEAST_ROOM:
        return _bad("database", f"the disk of {folder} is nearly full", "free some space there")
    missing = "" if database.path.exists() else ": none yet; `run` or `poll` creates it"
    return _good("database", f"{database.label}{missing}")


def _problems(config: Config) -> Iterator[tuple[str, str]]:
    """Yield whatis not available of all that the config refers to, by key."""
    try:
        config.reveal_all()
    except ConfigError as error:
        for problem in error.problems:
            yield problem.key, problem.message


def _secrets(config: Config, problems: dict[str, str]) -> Iterator[Check]:
    for secret in config.secrets():
        if not secret.checkable:
            problems.pop(secret.key, None)
            yield _unknown(secret.key, f"{secret}: can't be checked here, only inside the service")
        elif secret.key not in problems:
            yield _good(secret.key, "can be read")


def _templates(config: Config) -> Iterator[Check]:
    from quota_watch.channels.build import template_trials
    from quota_watch.messages.render import TemplateError

    bad = False
    for key, attempt in template_trials(config):
        try:
            attempt()
        except TemplateError as error:
            bad = True
            name = "templates" if key == "templates.directory" else key
            yield _bad(name, str(error), "correct the template, or remove it")
    if not bad:
        yield _good("templates", "every message renders")


def _organizations(config: Config, context: Context, problems: dict[str, str]) -> Iterator[Check]:
    from quota_watch.pipeline.due import in_batches
    from quota_watch.rybbit.client import build_source

    keys = {}
    for organization, secret in config.credentials().items():
        if secret.checkable and secret.key not in problems:
            keys[organization] = secret.reveal()
        elif secret.checkable:
            message = f"not checked: {secret.key} is not available"
            yield _bad(organization.id, message, f"correct {secret.key}")
        else:
            yield _unknown(organization.id, f"not asked: {secret} can't be read here")
    limits = {watch.organization: watch.limit for watch in config.watches()}
    with ExitStack() as resources:
        source = build_source(config, keys, resources, clock=context.clock)
        yield from _releases(source, dict.fromkeys(each.server for each in keys))
        ask = partial(_organization, source, context.clock.now(), limits)
        for batch in in_batches(iter(keys), ask, threads=config.poll.concurrency):
            for checks in batch:
                yield from checks
        for server, pace in source.tight(config.poll.interval):
            yield _good(_WARNING, f"{server}: {pace.describe()}")


def _page(listen: Listen) -> Check:
    """Check that the status page can listen, or listens there already."""
    from quota_watch.web.server import ListenError, bound

    try:
        bound(listen).close()
    except ListenError as error:
        if _is_ours(listen):
            return _good("web", f"the status page answers at {listen}")
        what, _, remedy = str(error).removeprefix("web.listen: ").partition("; ")
        return _bad("web", what, remedy)
    return _good("web", f"the status page can listen at {listen}")


def _is_ours(listen: Listen) -> bool:
    """Ask who listens there: a running daemon's page answers as no other program does."""
    from http.client import HTTPConnection, HTTPException

    from quota_watch.web.app import HEADERS, HEALTH

    connection = HTTPConnection(listen.host, listen.port, timeout=_PAGE_SECONDS)
    try:
        connection.request("GET", HEALTH)
        return HEADERS.items() <= set(connection.getresponse().getheaders())
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _certificates() -> Iterator[Check]:
    """Check what the environment names as certificates; where it can be used there is no line."""
    from quota_watch.lib.network import trust

    try:
        trust()
    except OSError as error:
        yield _bad("certificates", str(error), "correct that variable, or unset it")


def _releases(source: "RybbitClient", servers: Iterable[str]) -> Iterator[Check]:
    """Check that the servers take keys; one that tells no release is judged by its answers."""
    from quota_watch.rybbit.answers import supports_keys
    from quota_watch.rybbit.client import UPDATE_RYBBIT, too_old

    for server in servers:
        try:
            version = source.version(server)
        except UpstreamError:
            continue
        if supports_keys(version):
            yield _good(server, f"Rybbit {version}")
        else:
            yield _bad(server, too_old(version), UPDATE_RYBBIT)


def _organization(
    source: "RybbitClient",
    now: datetime,
    limits: Mapping[Organization, int | None],
    organization: Organization,
) -> list[Check]:
    period = month_of(now.date())
    try:
        days = patiently(lambda: source.days(organization, period.start, now.date()))
    except (UpstreamError, NotYet) as error:
        what, advice = what_and_advice(str(error))
        return [_bad(organization.id, what, advice or "correct the config")]
    good = f"{organization.server} answers"
    try:
        account = patiently(lambda: source.account(organization))
    except (UpstreamError, NotYet) as error:  # where the key may not, that is no fault
        unread = _unread(organization, error, is_known=limits[organization] is not None)
        return [_good(organization.id, good), unread]
    used = sum(day.counted(NOT_COUNTED) for day in days)
    hidden = _hidden(source, organization, account, used=used, now=now)
    if hidden is not None:
        ours, theirs = hidden
        lists = f" and lists {plural(len(account.sites), 'site')}" if account.sites else ""
        remedy = "create an organization key in Rybbit, or take the key of an owner or admin"
        what = f"the key sees only {ours:,} of {theirs:,} events{lists}"
        return [_bad(organization.id, f"{what}: it is that of a restricted member", remedy)]
    checks = _plan_and_limit(organization, account, limits[organization], good)
    if account.may_be_restricted:
        role = f"{organization.id}: the key's holder is a {account.role} there"
        then = "an organization key covers every site, including future ones"
        checks.append(_good(_WARNING, f"{role}, who may be barred from some sites; {then}"))
    return checks


def _unread(organization: Organization, error: UpstreamError | NotYet, *, is_known: bool) -> Check:
    """Warn of what follows where plan and limit can't be read."""
    unread = f"{organization.id}: this key can't read plan and limit (scope org:read)"
    if not isinstance(error, UpstreamError) or error.status != HTTPStatus.FORBIDDEN:
        what, _ = what_and_advice(str(error))
        unread = f"{organization.id}: plan and limit could not be read now ({what})"
    then = "changes at Rybbit, drops, and whether the key sees every site can't be checked"
    if not is_known:
        then = "no level is checked until they can, or until the config sets a limit"
    return _good(_WARNING, f"{unread}: {then}")


def _hidden(
    source: "RybbitClient",
    organization: Organization,
    account: Account,
    *,
    used: int,
    now: datetime,
) -> tuple[int, int] | None:
    """Return our count and Rybbit's own where the key sees less; None where nothing tells so.

    The usage of any site tells what the whole organization has by now. We count once more after
    it, so that what an unrestricted key sees is never less, however fast events come.
    """
    period = month_of(now.date())
    if account.may_be_restricted and account.sites:
        try:
            usage = patiently(lambda: source.site_usage(organization, account.sites[0].id))
            days = patiently(lambda: source.days(organization, period.start, now.date()))
        except (UpstreamError, NotYet):  # an older release, or a scope less: by the job's count
            usage, days = None, ()
        if usage is not None and usage.of_all is not None and usage.since == period.start:
            ours = sum(day.counted(NOT_COUNTED) for day in days)
            less = sees_less(account, ours=ours, theirs=usage.of_all, meanwhile=ours - used)
            return (ours, usage.of_all) if less else None
    verdict = compare(used, account, earlier=None, period=period, now=now)
    if verdict is not Comparison.RESTRICTED or account.counted is None:
        return None
    return used, account.counted


def _plan_and_limit(
    organization: Organization, account: Account, limit: int | None, good: str
) -> list[Check]:
    if account.limit is None:
        checks = [_good(organization.id, f"{good}; it reports no limit")]
        if limit is None:
            unknown = f"no limit is known for {organization.id}: set limit, or no level is checked"
            checks.append(_good(_WARNING, unknown))
        return checks
    plan = f"plan {account.plan}, " if account.plan else ""
    told = f"{good}; it reports {plan}limit {account.limit:,}"
    checks = [_good(organization.id, told), *_losses(organization, account)]
    if account.limit and limit not in {None, account.limit}:
        other = f"the config's limit of {organization.id} is {limit:,}"
        checks.append(
            _good(_WARNING, f"{other}, but {organization.server} reports {account.limit:,}")
        )
    return checks


def _losses(organization: Organization, account: Account) -> Iterator[Check]:
    """Warn of what loses events whatever is counted."""
    if account.limit == 0:
        unknown = "Rybbit does not know the plan itself: one event blocks every site"
        yield _good(_WARNING, f"{organization.id}: {unknown}; ask its support, and set limit")
    elif account.enforced_over:
        yield _good(_WARNING, f"{organization.id}: Rybbit says it is dropping events")
    without = [site.name for site in account.sites if site.requires_plan]
    if without:
        nothing = f"{len(without)} of {len(account.sites)} sites collect nothing without a plan"
        yield _good(_WARNING, f"{organization.id}: {nothing}: {listed(without)}")


def _channels(config: Config, *, offline: bool) -> Iterator[Check]:
    from quota_watch.channels.build import ChannelBuilder
    from quota_watch.channels.channel import DeliveryError
    from quota_watch.config.settings import all_secrets

    with ExitStack() as resources:
        builder = ChannelBuilder(config, resources)
        for name, table in config.channels.items():
            if offline and not (isinstance(table, AppriseTable) and table.url.checkable):
                continue
            needed = all_secrets((table, config.smtp if isinstance(table, EmailTable) else None))
            hidden = [secret for _, secret in needed if not secret.checkable]
            if hidden:
                yield _unknown(f"channels.{name}", f"not asked: {hidden[0]} can't be read here")
                continue
            try:
                yield _good(f"channels.{name}", builder.build(name).check())
            except ConfigError as error:
                problem = error.problems[0]
                yield _bad(f"channels.{name}", problem.message, f"correct {problem.key}")
            except DeliveryError as error:
                where = f"channels.{name}" + (" or [smtp]" if isinstance(table, EmailTable) else "")
                remedy = error.remedy or f"correct {where}, or let this machine reach it"
                yield _bad(f"channels.{name}", str(error), remedy)
            except QuotaWatchError as error:
                yield _bad(f"channels.{name}", str(error), f"correct channels.{name}")


def _good(name: str, message: str) -> Check:
    return {"name": name, "ok": True, "message": message, "remedy": None}


def _unknown(name: str, message: str) -> Check:
    return {"name": name, "ok": None, "message": message, "remedy": _INSIDE}


def _bad(name: str, message: str, remedy: str) -> Check:
    return {"name": name, "ok": False, "message": message, "remedy": remedy}


def _show(each: Check) -> None:
    sign, colour = ("✓", "green") if each["ok"] else ("✗", "red")
    if each["name"] == _WARNING or each["ok"] is None:
        sign, colour = "!", "yellow"
    mark = click.style(sign, fg=colour)
    remedy = f" → {each['remedy']}" if each["remedy"] else ""
    click.echo(f"{mark} {each['name']}: {one_line(each['message'], None)}{remedy}")
