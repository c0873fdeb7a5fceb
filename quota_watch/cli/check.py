"""`check`: will it work? Config, database, credentials, organizations, channels, templates."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import click

from quota_watch.channels.build import ChannelBuilder, template_problems
from quota_watch.channels.channel import DeliveryError
from quota_watch.cli.context import (
    JSON,
    Context,
    given,
    print_json,
    refuse_foreign_folder,
    styled,
)
from quota_watch.config import AppriseTable, Config, ConfigError, EmailTable, warnings
from quota_watch.config.addresses import Listen
from quota_watch.config.settings import all_secrets
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.machine import Clock
from quota_watch.lib.network import trust
from quota_watch.lib.text import listed, one_line, plural, what_and_advice
from quota_watch.model.limit import NOT_COUNTED
from quota_watch.model.period import month_of
from quota_watch.model.source import Account, Comparison, NotYet, Organization, UpstreamError
from quota_watch.pipeline.due import in_batches
from quota_watch.rules.mismatch import compare, sees_less
from quota_watch.rybbit.answers import supports_keys
from quota_watch.rybbit.client import UPDATE_RYBBIT, RybbitClient, build_source, too_old
from quota_watch.rybbit.exchange import patiently
from quota_watch.service.health import clocks_apart
from quota_watch.storage import StorageError, upkeep
from quota_watch.storage.database import Database

_INSIDE = "check as the service's user: /usr/local/bin/quota-watch check (deploy/README.md)"
_PAGE_SECONDS = 3.0
_LEAST_ROOM = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One thing that was checked; `ok` is None where it can't be checked here."""

    name: str
    ok: bool | None = True
    message: str
    remedy: str | None = None

    def __str__(self) -> str:
        sign, colour = ("✓", "green") if self.ok else ("✗", "red")
        if self.name == "warning" or self.ok is None:
            sign, colour = "!", "yellow"
        message = f"{one_line(self.message, None)}{given(' → {}', self.remedy)}"
        return f"{styled(sign, colour)} {self.name}: {message}"


def _good(name: str, message: str) -> _Check:
    return _Check(name=name, message=message)


def _warning(message: str) -> _Check:
    return _Check(name="warning", message=message)


def _unknown(name: str, message: str) -> _Check:
    return _Check(name=name, ok=None, message=message, remedy=_INSIDE)


def _bad(name: str, message: str, remedy: str) -> _Check:
    return _Check(name=name, ok=False, message=message, remedy=remedy)


@click.command()
@click.option("--offline", is_flag=True, help="Use no network.")
@JSON
@click.pass_obj
def check(context: Context, offline: bool, as_json: bool) -> int:
    """Check that everything will work, without sending anything."""
    checks = []
    for each in _checks(context, offline=offline):
        checks.append(each)
        if not as_json:
            click.echo(each)
    if as_json:
        print_json({"checks": checks})
    verdicts = {each.ok for each in checks}
    return 1 if False in verdicts or (None in verdicts and not offline) else 0


def _checks(context: Context, *, offline: bool) -> Iterator[_Check]:
    config = context.config
    organizations = plural(len(config.organizations), "organization")
    channels = plural(len(config.channels), "channel")
    yield _good("config", f"{config.path}: {organizations}, {channels}")
    yield from map(_warning, warnings(config))
    yield _database(config, context.clock, offline=offline)
    problems = _problems(config)
    for secret in config.secrets():
        if not secret.checkable:
            problems.pop(secret.key, None)
            yield _unknown(secret.key, f"{secret}: can't be checked here, only inside the service")
        elif secret.key not in problems:
            yield _good(secret.key, "can be read")
    for key, problem in problems.items():
        what, _, remedy = problem.rpartition("; ")
        yield _bad(key, what or remedy, remedy if what else f"correct {key}")
    if "templates.directory" not in problems:
        yield from list(_bad_templates(config)) or [_good("templates", "every message renders")]
    try:
        trust()
    except OSError as error:
        yield _bad("certificates", str(error), "correct that variable, or unset it")
    if config.web is not None and "web" not in problems:
        yield _page(config.web.listen)
    if not offline and not problems.keys() & {"rybbit.ca_file", "rybbit.proxy"}:
        yield from _organizations(config, context.clock, problems)
    yield from _channels(config, problems, offline=offline)


def _database(config: Config, clock: Clock, *, offline: bool) -> _Check:
    name = "database"
    if not config.database.url.checkable:
        return _unknown(name, f"not asked: {config.database.url} can't be read here")
    try:
        with closing(Database(config.database_url())) as database:
            if offline and database.path is None:
                return _unknown(name, f"{database.label}: not checked, as --offline was given")
            refuse_foreign_folder(database)
            if upkeep.current(database) is not None:
                upkeep.require_current(database)
            if database.path is not None:  # which has this machine's clock; to ask would make it
                return _room_for(database.path)
            apart = clocks_apart(database, clock)
            return _bad(name, apart, "correct the clock") if apart else _good(name, database.label)
    except ConfigError as error:
        return _bad(name, error.problems[0].message, "set database.url")
    except StorageError as error:
        return _bad(name, str(error), "correct that, or set another database.url")


def _room_for(file: Path) -> _Check:
    folder = file.parent
    if not folder.is_dir():
        return _bad("database", f"no folder {folder}", "create it, or set database.url")
    if not os.access(folder, os.W_OK | os.X_OK):
        return _bad(
            "database",
            f"can't write to {folder}",
            "let this user write there, or set database.url",
        )
    if shutil.disk_usage(folder).free < _LEAST_ROOM:
        return _bad("database", f"the disk of {folder} is nearly full", "free some space there")
    missing = "" if file.exists() else ": none yet; `run` or `poll` creates it"
    return _good("database", f"{file}{missing}")


def _problems(config: Config) -> dict[str, str]:
    """Return what is not available of all that the config refers to, by key."""
    try:
        config.reveal_all()
    except ConfigError as error:
        return {problem.key: problem.message for problem in error.problems}
    return {}


def _bad_templates(config: Config) -> Iterator[_Check]:
    for problem in template_problems(config):
        name = "templates" if problem.key == "templates.directory" else problem.key
        yield _bad(name, problem.message, "correct the template, or remove it")


def _page(listen: Listen) -> _Check:
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
    """Ask whether a running daemon's page listens there: no other program sends its headers."""
    from quota_watch.web.app import HEADERS, HEALTH

    with (
        suppress(OSError, HTTPException),
        closing(HTTPConnection(listen.host, listen.port, timeout=_PAGE_SECONDS)) as connection,
    ):
        connection.request("GET", HEALTH)
        return HEADERS.items() <= set(connection.getresponse().getheaders())
    return False


def _organizations(config: Config, clock: Clock, problems: Mapping[str, str]) -> Iterator[_Check]:
    keys = {}
    for organization, secret in config.credentials().items():
        if secret.checkable and secret.key not in problems:
            keys[organization] = secret.reveal()
        elif secret.checkable:
            yield _bad(
                organization.id,
                f"not checked: {secret.key} is not available",
                f"correct {secret.key}",
            )
        else:
            yield _unknown(organization.id, f"not asked: {secret} can't be read here")
    limits = {watch.organization: watch.limit for watch in config.watches()}
    now = clock.now()

    def ask(organization: Organization) -> list[_Check]:
        return list(_organization(source, organization, limits[organization], now=now))

    with ExitStack() as resources:
        source = build_source(config, keys, resources, clock=clock)
        yield from _releases(source, dict.fromkeys(each.server for each in keys))
        for batch in in_batches(iter(keys), ask, threads=config.poll.concurrency):
            for checks in batch:
                yield from checks
        for server, pace in source.tight(config.poll.interval):
            yield _warning(f"{server}: {pace.describe()}")


def _releases(source: RybbitClient, servers: Iterable[str]) -> Iterator[_Check]:
    """Check that the servers take keys; one that reports no release is judged by its answers."""
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
    source: RybbitClient, organization: Organization, limit: int | None, *, now: datetime
) -> Iterator[_Check]:
    """Check what the key reads of it, against the `limit` that the config has."""
    id_, start = organization.id, month_of(now.date()).start
    try:
        days = patiently(lambda: source.days(organization, start, now.date()))
    except (UpstreamError, NotYet) as error:
        what, advice = what_and_advice(str(error))
        yield _bad(id_, what, advice or "correct the config")
        return
    good = f"{organization.server} answers"
    try:
        account = patiently(lambda: source.account(organization))
    except (UpstreamError, NotYet) as error:  # where the key may not, that is no fault
        yield _good(id_, good)
        yield _unread(id_, error, is_known=limit is not None)
        return
    used = sum(day.counted(NOT_COUNTED) for day in days)
    if hidden := _hidden(source, organization, account, used=used, now=now):
        ours, theirs = hidden
        lists = f" and lists {plural(len(account.sites), 'site')}" if account.sites else ""
        yield _bad(
            id_,
            f"the key sees only {ours:,} of {theirs:,} events{lists}: "
            "it is that of a restricted member",
            "create an organization key in Rybbit, or take the key of an owner or admin",
        )
        return
    reports = "no limit"
    if account.limit is not None:
        reports = f"plan {account.plan}, limit" if account.plan else "limit"
        reports += f" {account.limit:,}"
    yield _good(id_, f"{good}; it reports {reports}")
    yield from map(_warning, _warnings(organization, account, limit))


def _unread(id_: str, error: UpstreamError | NotYet, *, is_known: bool) -> _Check:
    """Warn of what follows where plan and limit can't be read."""
    unread = "this key can't read plan and limit (scope org:read)"
    if not isinstance(error, UpstreamError) or error.status != HTTPStatus.FORBIDDEN:
        unread = f"plan and limit could not be read now ({what_and_advice(str(error))[0]})"
    then = "changes at Rybbit, drops, and whether the key sees every site can't be checked"
    if not is_known:
        then = "no level is checked until they can, or until the config sets a limit"
    return _warning(f"{id_}: {unread}: {then}")


def _hidden(
    source: RybbitClient,
    organization: Organization,
    account: Account,
    *,
    used: int,
    now: datetime,
) -> tuple[int, int] | None:
    """Return our count and Rybbit's own where the key sees less; None where nothing shows that.

    The usage of any site says what the whole organization has by now. We count once more after
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


def _warnings(organization: Organization, account: Account, limit: int | None) -> Iterator[str]:
    """Warn of what loses events, or leaves a limit unwatched."""
    id_ = organization.id
    if account.limit == 0:
        yield (
            f"{id_}: Rybbit does not know the plan itself: one event blocks every site; "
            "ask its support, and set limit"
        )
    elif account.limit is not None and account.enforced_over:
        yield f"{id_}: Rybbit says it is dropping events"
    elif account.limit is None and limit is None:
        yield f"no limit is known for {id_}: set limit, or no level is checked"
    if without := [site.name for site in account.sites if site.requires_plan]:
        yield (
            f"{id_}: {len(without)} of {len(account.sites)} sites collect nothing without a plan: "
            f"{listed(without)}"
        )
    if account.limit and limit not in {None, account.limit}:
        yield (
            f"the config's limit of {id_} is {limit:,}, "
            f"but {organization.server} reports {account.limit:,}"
        )
    if account.may_be_restricted:
        yield (
            f"{id_}: the key's holder is a {account.role} there, who may be barred from some "
            "sites; an organization key covers every site, including future ones"
        )


def _channels(config: Config, problems: Mapping[str, str], *, offline: bool) -> Iterator[_Check]:
    """Check that each can be reached, but for those whose secret is among the `problems` told."""
    with ExitStack() as resources:
        builder = ChannelBuilder(config, resources)
        for key, table in config.channels.items():
            if offline and not (isinstance(table, AppriseTable) and table.url.checkable):
                continue
            name = f"channels.{key}"
            needed = all_secrets((table, config.smtp if isinstance(table, EmailTable) else None))
            hidden = next((secret for _, secret in needed if not secret.checkable), None)
            if hidden is not None:
                yield _unknown(name, f"not asked: {hidden} can't be read here")
                continue
            try:
                yield _good(name, builder.build(key).check())
            except ConfigError as error:
                problem = error.problems[0]
                if problem.key not in problems:
                    yield _bad(name, problem.message, f"correct {problem.key}")
            except DeliveryError as error:
                yield _bad(name, str(error), error.remedy or f"correct {name} or [smtp]")
            except QuotaWatchError as error:
                yield _bad(name, str(error), f"correct {name}")
