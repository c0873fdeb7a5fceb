"""What must fit between the tables of a config.

The checks read the raw document, so that a mistake in one table doesn't hide those in others:
what has the wrong shape is skipped here and reported by its own section.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

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


class RawDocument:
    """What is in the file, and those parts of it that several checks need, worked out once."""

    def __init__(self, tables: Table) -> None:
        self.tables = tables

    def table(self, name: str) -> Table:
        """Find the table of that name; an empty one where there is none."""
        return _table(self.tables, name)

    @cached_property
    def organizations(self) -> Sequence[tuple[str, Table]]:
        """The table of each organization, with its key."""
        tables = self.tables.get("organizations")
        return [
            (organization_key(index, table.get("id")), table)
            for index, table in enumerate(tables if isinstance(tables, list) else ())
            if isinstance(table, dict)
        ]

    @cached_property
    def named_channels(self) -> Sequence[tuple[str, str]]:
        """Every entry of the lists that name channels, with its key; no text is an empty one."""
        groups, reports = self.table("groups"), self.table("reports")
        tables = [
            ("alerts", self.table("alerts")),
            *((f"groups.{name}", _table(groups, name)) for name in groups),
            *self.organizations,
        ]
        tables += [
            (f"{key}.{key_path(['rules', rule], {})}", _table(_table(table, "rules"), rule))
            for key, table in tables
            for rule in _table(table, "rules")
        ]
        lists = [(key, table, name) for key, table in tables for name in ("notify", "fallback")]
        lists += [("reports", reports, name) for name in ("monthly", "weekly")]
        return [
            (f"{key}.{name}[{index}]", entry if isinstance(entry, str) else "")
            for key, table, name in lists
            for index, entry in enumerate(_list(table, name))
        ]


def mail_channels(raw: RawDocument) -> Mapping[str, EmailTable]:
    """Make a mail channel of each address that is written where a channel could be named."""
    prefix = addresses.MAILTO
    names = sorted({name for _, name in raw.named_channels if name.startswith(prefix)})
    return {name: EmailTable(to=(name.removeprefix(prefix),)) for name in names}


def _ids_once(raw: RawDocument) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for key, table in raw.organizations:
        identity = table.get("id")
        if isinstance(identity, str) and first.setdefault(identity, key) != key:
            yield Problem(
                f"{key}.id",
                f"appears twice (value {shown(identity)}), first in {first[identity]}; "
                "an id may appear only once, even on different servers: remove one table",
            )


def _keys(raw: RawDocument) -> Iterator[Problem]:
    rybbit = raw.table("rybbit")
    default = _server(rybbit.get("base_url", addresses.CLOUD))
    needing = []
    for key, table in raw.organizations:
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


def _plans(raw: RawDocument) -> Iterator[Problem]:
    own = raw.table("plans")
    for key, table in raw.organizations:
        plan = table.get("plan", AUTO)
        if plan == AUTO or not isinstance(plan, str) or not plan.strip():
            continue
        if plan not in own and find_plan(plan) is None:
            yield Problem(f"{key}.plan", _unknown_plan(plan, own))
        if "limit" in table:
            yield Problem(
                f"{key}.limit",
                f"stands beside plan = {shown(plan)}, which has a limit of its own; "
                "remove one of the two",
            )


def _unknown_plan(plan: str, own: Table) -> str:
    sizes = [name for name in RYBBIT_PLANS if name.removeprefix(plan)[:1].isdigit()]
    if sizes:
        return f"plan {shown(plan)} comes in sizes; write which: {quoted(sizes)}"
    usual = ("free", "basic", "pro1m", "appsumo-1")
    names = [AUTO, *own, *(name for name in RYBBIT_PLANS if name.startswith(usual))]
    return str(
        InvalidValueError(
            "unknown plan",
            value=plan,
            allowed=f"{quoted(names)} and the like, "
            "or give the organization a limit instead of a plan",
            meant=closest(plan, [AUTO, *own, *RYBBIT_PLANS]),
        )
    )


def _groups(raw: RawDocument) -> Iterator[Problem]:
    groups = raw.table("groups")
    named = [(f"{key}.group", table.get("group")) for key, table in raw.organizations]
    of_reports = _table(raw.table("reports"), "groups")
    named += [
        (f"{key_path(['reports', 'groups', channel], {})}[{index}]", name)
        for channel in of_reports
        for index, name in enumerate(_list(of_reports, channel))
    ]
    for key, group in named:
        if isinstance(group, str) and group.strip() and group not in groups:
            error = InvalidValueError(
                "unknown group",
                value=group,
                allowed=f"{quoted(groups) or 'none yet'}; write a table [groups.NAME]",
                meant=closest(group, groups),
            )
            yield Problem(key, str(error))


def _readers_of_groups(raw: RawDocument) -> Iterator[Problem]:
    reports = raw.table("reports")
    readers = [*_list(reports, "weekly"), *_list(reports, "monthly")]
    for channel in _table(reports, "groups"):
        if channel not in readers:
            key = key_path(["reports", "groups", channel], {})
            yield Problem(key, "gets no report; name it in weekly or monthly, or remove it here")


def _channel_names(raw: RawDocument) -> Iterator[Problem]:
    channels = raw.table("channels").items()
    known = [name for name, table in channels if isinstance(table, dict | list)]
    for key, name in raw.named_channels:
        if name.strip() and name not in known:
            try:
                _check_address(name, known)
            except InvalidValueError as error:
                yield Problem(key, str(error))


def _check_address(name: str, known: Sequence[str]) -> None:
    if addresses.mailto(name) is None:
        channels = quoted(known) or "none, as there is no [channels.NAME] table"
        raise InvalidValueError(
            "unknown channel",
            value=name,
            allowed=f'{channels}, or an address such as "{addresses.MAILTO}anna@example.com"',
            meant=f"{addresses.MAILTO}{name}" if "@" in name else closest(name, known),
        )


def _mail_can_leave(raw: RawDocument) -> Iterator[Problem]:
    channels = raw.table("channels").items()
    mails = {n: c for n, c in channels if isinstance(c, dict) and c.get("type") == "email"}
    bare = [key for key, name in raw.named_channels if name.startswith(addresses.MAILTO)]
    needing = abridged([key_path(["channels", name], {}) for name in mails] + bare)
    senderless = bare or any("from" not in channel for channel in mails.values())
    smtp = raw.tables.get("smtp")
    if needing and smtp is None:
        yield Problem("smtp", f"is missing; add [smtp] with a host, needed by {needing}")
    elif senderless and isinstance(smtp, dict) and "from" not in smtp:
        where = "needed by" if bare else "here or in"
        yield Problem("smtp.from", f"is missing; mails need a sender, {where} {needing}")


def _webhooks(raw: RawDocument) -> Iterator[Problem]:
    for name, table in raw.table("channels").items():
        if isinstance(table, dict) and table.get("type") == "webhook":
            path = key_path(["channels", name], {})
            for key, words in _webhook_problems(table, raw.table("templates")):
                yield Problem(f"{path}.{key}", words)


def _webhook_problems(table: Table, templates: Table) -> Iterator[tuple[str, str]]:
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
    elif "template" in table and "directory" not in templates:
        yield "template", "is looked up in webhook/ of [templates] directory; set that"


def _page_is_safe(raw: RawDocument) -> Iterator[Problem]:
    page = raw.table("web")
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


def _left_out(raw: RawDocument) -> Iterator[Problem]:
    """Yield what is missing where something else is there, or must not be there at all."""
    smtp, page = raw.table("smtp"), raw.table("web")
    mistakes = {
        "organizations": (
            raw.tables.get("organizations", []) == [],
            'none to watch; add an [[organizations]] table with id = "…"',
        ),
        f"plans.{AUTO}": (
            AUTO in raw.table("plans"),
            '"auto" means the plan that upstream reports; use another name',
        ),
        "smtp.password": (
            "username" in smtp and "password" not in smtp,
            "is missing; a login needs it with username",
        ),
        "smtp.username": (
            "password" in smtp and "username" not in smtp,
            "is missing; a login needs it with password",
        ),
        "web.public_url": (
            page.get("actions") is True and "public_url" not in page,
            (
                "is missing; with actions = true mails link to it, "
                'such as public_url = "https://quota.example.com"'
            ),
        ),
    }
    yield from (Problem(key, words) for key, (is_wrong, words) in mistakes.items() if is_wrong)


CHECKS: tuple[Callable[[RawDocument], Iterator[Problem]], ...] = (
    _keys,
    _plans,
    _groups,
    _readers_of_groups,
    _ids_once,
    _channel_names,
    _webhooks,
    _mail_can_leave,
    _page_is_safe,
    _left_out,
)
"""Each yields what it finds that does not fit together."""


def _table(document: Table, name: str) -> Table:
    table = document.get(name)
    return table if isinstance(table, dict) else {}


def _list(table: Table, name: str) -> Sequence[object]:
    entries = table.get(name)
    return entries if isinstance(entries, list) else []


def _server(value: object) -> str | None:
    try:
        return addresses.server(value)
    except ValueError:
        return None
