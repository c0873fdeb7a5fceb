"""What must fit between the tables of a config.

The checks read the raw document, so that a mistake in one table doesn't hide those in others:
what has the wrong shape is skipped here and reported by its own section.
"""

from collections.abc import Callable, Iterator, Mapping

from quota_watch.config import addresses
from quota_watch.config.models import EmailTable
from quota_watch.config.values import (
    InvalidValueError,
    Problem,
    abridged,
    closest,
    key_path,
    organization_key,
    quoted,
    shown,
)
from quota_watch.lib.urls import is_loopback
from quota_watch.model.limit import RYBBIT_PLANS, find_plan

AUTO = "auto"
"""The plan name that stands for "ask upstream"."""

_PAGERDUTY = "pagerduty"

Table = Mapping[str, object]


def cross_check(document: Table) -> Iterator[Problem]:
    """Yield everything that does not fit together."""
    for check in _CHECKS:
        yield from check(document)


def _some_organization(document: Table) -> Iterator[Problem]:
    if document.get("organizations", []) == []:
        yield Problem(
            "organizations", 'none to watch; add an [[organizations]] table with id = "…"'
        )


def _ids_once(document: Table) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for key, table in _organizations(document):
        identity = table.get("id")
        if isinstance(identity, str) and first.setdefault(identity, key) != key:
            yield Problem(
                f"{key}.id",
                f"appears twice (value {shown(identity)}), first in {first[identity]}; "
                "an id may appear only once, even on different servers: remove one table",
            )


def _keys(document: Table) -> Iterator[Problem]:
    rybbit = _table(document, "rybbit")
    default = _server(rybbit.get("base_url", addresses.CLOUD))
    needing = []
    for key, table in _organizations(document):
        own = _server(table["base_url"]) if "base_url" in table else default
        if "api_key" in table or own is None or default is None:
            continue
        if own == default:
            needing.append(key)
        else:
            yield Problem(
                f"{key}.api_key",
                f"is missing: {own} is another server than {default}, and the key of [rybbit] "
                "is never sent there; give this organization a key of its own",
            )
    if needing and "api_key" not in rybbit:
        yield Problem(
            "rybbit.api_key",
            f'is missing; add api_key = "env:RYBBIT_API_KEY"; needed by {abridged(needing)}',
        )


def _plans(document: Table) -> Iterator[Problem]:
    own = _table(document, "plans")
    if AUTO in own:
        yield Problem(
            f"plans.{AUTO}", '"auto" means the plan that upstream reports; use another name'
        )
    for key, table in _organizations(document):
        plan = table.get("plan", AUTO)
        if plan == AUTO or not isinstance(plan, str) or not plan.strip():
            continue
        if plan not in own and find_plan(plan) is None:
            yield _unknown_plan(f"{key}.plan", plan, own)
        if "limit" in table:
            yield Problem(
                f"{key}.limit",
                f"stands beside plan = {shown(plan)}, which has a limit of its own; "
                "remove one of the two",
            )


def _groups(document: Table) -> Iterator[Problem]:
    groups = _table(document, "groups")
    for key, group in _named_groups(document):
        if isinstance(group, str) and group.strip() and group not in groups:
            near = closest(group, list(groups))
            yield Problem(
                key,
                f"unknown group (value {shown(group)}); allowed: {quoted(groups) or 'none yet'}; "
                "write a table [groups.NAME]" + (f'; did you mean "{near}"?' if near else ""),
            )


def _named_groups(document: Table) -> Iterator[tuple[str, object]]:
    for key, table in _organizations(document):
        yield f"{key}.group", table.get("group")
    of_reports = _table(_table(document, "reports"), "groups")
    for channel, names in of_reports.items():
        key = f"reports.{key_path(['groups', channel], {})}"
        for index, name in enumerate(names if isinstance(names, list) else ()):
            yield f"{key}[{index}]", name


def _readers_of_groups(document: Table) -> Iterator[Problem]:
    reports = _table(document, "reports")
    lists = [reports.get(name) for name in ("weekly", "monthly")]
    readers = [name for each in lists if isinstance(each, list) for name in each]
    for channel in _table(reports, "groups"):
        if channel not in readers:
            key = f"reports.{key_path(['groups', channel], {})}"
            yield Problem(key, "gets no report; name it in weekly or monthly, or remove it here")


def _unknown_plan(key: str, plan: str, own: Table) -> Problem:
    sizes = [name for name in RYBBIT_PLANS if name.removeprefix(plan)[:1].isdigit()]
    if sizes:
        return Problem(key, f"plan {shown(plan)} comes in sizes; write which: {quoted(sizes)}")
    near = closest(plan, [AUTO, *own, *RYBBIT_PLANS])
    names = f"{quoted([AUTO, *own])}, " + quoted(
        name for name in RYBBIT_PLANS if name.startswith(("free", "basic", "pro1m", "appsumo-1"))
    )
    return Problem(
        key,
        f"unknown plan (value {shown(plan)}); allowed: {names} and the like, "
        "or give the organization a limit instead of a plan"
        + (f'; did you mean "{near}"?' if near else ""),
    )


def _channel_names(document: Table) -> Iterator[Problem]:
    channels = _table(document, "channels").items()
    known = tuple(name for name, table in channels if isinstance(table, dict | list))
    for key, names in _places(document):
        for index, name in enumerate(names):
            problem = _bad_channel(name, known) if name.strip() else None
            if problem:
                yield Problem(f"{key}[{index}]", problem)


def mail_channels(document: Table) -> dict[str, EmailTable]:
    """Make a mail channel of each address that is written where a channel could be named."""
    names = {name for _, names in _places(document) for name in names}
    addresses_by_name = {name: addresses.mailto(name) for name in sorted(names)}
    return {
        name: EmailTable(to=(address,)) for name, address in addresses_by_name.items() if address
    }


def _places(document: Table) -> Iterator[tuple[str, list[str]]]:
    """Yield every list that names channels, with its key; what is no text is an empty one."""
    groups = _table(document, "groups")
    tables = [
        ("alerts", _table(document, "alerts")),
        *((f"groups.{name}", _table(groups, name)) for name in groups),
        *_organizations(document),
    ]
    tables += [
        (f"{key}.{key_path(['rules', rule], {})}", _table(_table(table, "rules"), rule))
        for key, table in tables
        for rule in _table(table, "rules")
    ]
    lists = [(key, table, name) for key, table in tables for name in ("notify", "fallback")]
    lists += [("reports", _table(document, "reports"), name) for name in ("monthly", "weekly")]
    for key, table, name in lists:
        value = table.get(name)
        if isinstance(value, list | tuple):
            yield f"{key}.{name}", [each if isinstance(each, str) else "" for each in value]


def _bad_channel(name: str, known: tuple[str, ...]) -> str | None:
    if name in known:
        return None
    try:
        if addresses.mailto(name) is not None:
            return None
    except InvalidValueError as error:
        return str(error)
    near = f"{addresses.MAILTO}{name}" if "@" in name else closest(name, known)
    return (
        f"unknown channel (value {shown(name)}); allowed: "
        + (quoted(known) or "none, as there is no [channels.NAME] table")
        + f', or an address such as "{addresses.MAILTO}anna@example.com"'
        + (f'; did you mean "{near}"?' if near else "")
    )


def _mail_can_leave(document: Table) -> Iterator[Problem]:
    channels = _table(document, "channels").items()
    mails = [(n, c) for n, c in channels if isinstance(c, dict) and c.get("type") == "email"]
    bare = [
        f"{key}[{index}]"
        for key, entries in _places(document)
        for index, entry in enumerate(entries)
        if entry.startswith(addresses.MAILTO)
    ]
    names = abridged([key_path(["channels", name], document) for name, _ in mails] + bare)
    senderless = bare or any("from" not in channel for _, channel in mails)
    if names and "smtp" not in document:
        yield Problem("smtp", f"is missing; add [smtp] with a host, needed by {names}")
    elif senderless and _lacks(document, "smtp", "from"):
        where = "needed by" if bare else "here or in"
        yield Problem("smtp.from", f"is missing; mails need a sender, {where} {names}")


def _webhooks_whole(document: Table) -> Iterator[Problem]:
    for name, table in _table(document, "channels").items():
        if isinstance(table, dict) and table.get("type") == "webhook":
            key = key_path(["channels", name], document)
            for inner, problem in _webhook_problems(table, document):
                yield Problem(f"{key}.{inner}", problem)


def _webhook_problems(table: Table, document: Table) -> Iterator[tuple[str, str]]:
    is_pagerduty = table.get("format") == _PAGERDUTY
    if "url" not in table and not is_pagerduty:
        yield "url", 'is missing; add url = "https://example.com/hook"'
    if is_pagerduty and "routing_key" not in table:
        yield "routing_key", "is missing; PagerDuty shows it as the integration key of a service"
    if "routing_key" in table and not is_pagerduty:
        yield "routing_key", f'only goes with format = "{_PAGERDUTY}"; remove it, or set that'
    if "vars" in table and "template" not in table:
        yield "vars", "only goes with template; remove it, or name a template"
    if "template" in table and "format" in table:
        yield "template", "stands beside format, which it replaces; remove one of the two"
    elif "template" in table and "directory" not in _table(document, "templates"):
        yield "template", "is looked up in webhook/ of [templates] directory; set that"


def _login_whole(document: Table) -> Iterator[Problem]:
    smtp = _table(document, "smtp")
    for key, other in (("username", "password"), ("password", "username")):
        if key in smtp and other not in smtp:
            yield Problem(f"smtp.{other}", f"is missing; a login needs it with {key}")


def _page_is_safe(document: Table) -> Iterator[Problem]:
    page = _table(document, "web")
    try:
        host = addresses.listen(page["listen"]).host if "listen" in page else "localhost"
    except ValueError:
        return
    if "token" not in page and not is_loopback(host):
        yield Problem(
            "web.token",
            f"is missing: at {shown(page['listen'])} other machines can reach the status page; add "
            'token = "env:QUOTA_WATCH_TOKEN", or listen on 127.0.0.1',
        )


def _links_lead_somewhere(document: Table) -> Iterator[Problem]:
    page = _table(document, "web")
    if page.get("actions") is True and "public_url" not in page:
        yield Problem(
            "web.public_url",
            "is missing; with actions = true mails link to it, "
            'such as public_url = "https://quota.example.com"',
        )


_CHECKS: tuple[Callable[[Table], Iterator[Problem]], ...] = (
    _keys,
    _plans,
    _groups,
    _readers_of_groups,
    _some_organization,
    _ids_once,
    _channel_names,
    _webhooks_whole,
    _mail_can_leave,
    _login_whole,
    _page_is_safe,
    _links_lead_somewhere,
)


def _table(document: Table, name: str) -> Table:
    table = document.get(name)
    return table if isinstance(table, dict) else {}


def _lacks(document: Table, name: str, key: str) -> bool:
    table = document.get(name)
    return isinstance(table, dict) and key not in table


def _organizations(document: Table) -> Iterator[tuple[str, Table]]:
    tables = document.get("organizations")
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if isinstance(table, dict):
            yield organization_key(index, table.get("id")), table


def _server(value: object) -> str | None:
    try:
        return addresses.server(value)
    except ValueError:
        return None
