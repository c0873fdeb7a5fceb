"""A config without problems, and what the rest of the program needs from it."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from quota_watch.config import addresses
from quota_watch.config.checks import AUTO
from quota_watch.config.models import (
    AlertKeys,
    Document,
    EmailTable,
    OrganizationTable,
    QuietTable,
    RuleKeys,
)
from quota_watch.config.secrets import Secret
from quota_watch.config.tables import Section
from quota_watch.config.values import ConfigError, Problem, abridged, organization_key
from quota_watch.model.limit import LIST_PRICES, NOT_COUNTED, Plan, find_plan
from quota_watch.model.schedule import QuietHours
from quota_watch.model.source import Organization
from quota_watch.model.watch import Rule, Severity, Watch

_WEB_PACKAGES = ("flask", "waitress", "prometheus_client")


class Use(StrEnum):
    """What a command needs secrets and files for."""

    POLL = "poll"
    DELIVER = "deliver"
    STORE = "store"
    HEARTBEAT = "heartbeat"
    SERVE = "serve"


_USES = {
    "organizations": Use.POLL,
    "rybbit": Use.POLL,
    "channels": Use.DELIVER,
    "smtp": Use.DELIVER,
    "database": Use.STORE,
    "heartbeat": Use.HEARTBEAT,
    "web": Use.SERVE,
}
"""What the secrets of each section are for."""


class Config(Document):
    """The whole config. `is_shared`: others than the owner may read the file.

    Among the `channels` are those that `notify` names by a mail address alone.
    """

    path: Path
    is_shared: bool

    def watches(self) -> tuple[Watch, ...]:
        """The organizations to watch, in the order of the config; worked out once."""
        return self._watches

    @cached_property
    def _watches(self) -> tuple[Watch, ...]:
        return tuple(map(self.watch, self.organizations))

    def credentials(self) -> Mapping[Organization, Secret]:
        """Map each organization to its API key.

        Its own one wins; the key of `[rybbit]` is only for organizations on that server.
        """
        keys = {}
        for table in self.organizations:
            key, organization = table.api_key, self._organization(table)
            if key is None and organization.server == self.rybbit.base_url:
                key = self.rybbit.api_key
            if key is not None:
                keys[organization] = key
        return MappingProxyType(keys)

    def database_url(self) -> str:
        """Resolve the database's URL, with its password.

        A relative SQLite file lies in $STATE_DIRECTORY, else beside the config. Raises
        `ConfigError` where the URL is a reference that can't be resolved.
        """
        url, sqlite = self.database.url.reveal(), addresses.SQLITE
        if not url.startswith(sqlite):
            return url
        file = self.state_folder() / url.removeprefix(sqlite)
        if "?" in str(file):
            what = "the database's folder has a ? in its name; use another"
            raise ConfigError(self.path, [Problem("database.url", what)])
        return f"{sqlite}{file}"

    def state_folder(self) -> Path:
        """The folder of relative files: $STATE_DIRECTORY, else that of the config."""
        first = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        return Path(first) if first.startswith("/") else self.path.absolute().parent

    def secrets(self, *uses: Use) -> tuple[Secret, ...]:
        """Collect the secrets needed for `uses`, for everything where none is given."""
        return tuple(
            secret
            for section, use in _USES.items()
            if use in (uses or Use)
            for key, secret in all_secrets(getattr(self, section), section)
            if self._needs(key, secret)
        )

    def reveal_all(self, *uses: Use) -> Mapping[str, str]:
        """Read the secrets needed for `uses`, by key path; for everything where none is given.

        Files that are needed beside them are tried too. Raises one `ConfigError` with all that
        is not available.
        """
        values: dict[str, str] = {}
        problems: list[Problem] = []
        for secret in self.secrets(*uses):
            try:
                values[secret.key] = secret.reveal()
            except ConfigError as error:
                problems += error.problems
        problems += _unusable(self, uses or tuple(Use))
        if problems:
            raise ConfigError(self.path, problems)
        return values

    def quiet_hours(self) -> QuietHours | None:
        """The quiet hours for alerts that are about no single organization."""
        return _quiet_hours(self.alerts.quiet_hours, self.alerts.time_zone)

    def channels_of(self, rule: Rule) -> tuple[str, ...]:
        """Choose the channels for a rule's alerts that are about no single organization."""
        tables = [*_of_rule(rule, [self.alerts]), self.alerts]
        return tuple(_first(tables, "notify", self._named_channels()))

    def _needs(self, key: str, secret: Secret) -> bool:
        """Whether a secret is really used, and really is one."""
        match key:
            case "rybbit.api_key":
                return any(secret is each for each in self.credentials().values())
            case "smtp.password":
                return any(isinstance(channel, EmailTable) for channel in self.channels.values())
            case "database.url":
                return not secret.is_literal or addresses.holds_password(secret.reveal())
            case _:
                return True

    def _organization(self, table: OrganizationTable) -> Organization:
        return Organization(server=table.base_url or self.rybbit.base_url, id=table.id)

    def watch(self, table: OrganizationTable) -> Watch:
        """Work out the watch of one of the organizations."""
        plan = self._plan(table)
        organization = self._organization(table)
        drops = None if plan is None else plan.drops
        make = partial(
            Watch,
            organization=organization,
            name=table.name or table.id,
            group=table.group,
            plan=plan.name if plan else None,
            limit=plan.limit if plan else table.limit,
            limit_source="plan" if plan else "none" if table.limit is None else "config",
            drops=organization.server == addresses.CLOUD if drops is None else drops,
            drops_agreed=drops is not None,
            auto=plan is None and (table.plan == AUTO or table.limit is None),
            not_counted=plan.not_counted if plan else NOT_COUNTED,
            public_url=self.web.public_url if self.web else None,
            budgets={str(site.id): site.budget for site in table.sites},
            prices={
                **(LIST_PRICES if organization.server == addresses.CLOUD else {}),
                **{name: each.price for name, each in self.plans.items() if each.price},
            },
        )
        group = () if table.group is None else (self.groups[table.group],)
        tables = (table, *group, self.alerts)  # the nearest first
        watch = self._agree(make, tables)
        rules = {rule for each in tables for rule in each.rules or ()}
        if not rules:
            return watch
        variants = {rule: self._agree(make, tables, _of_rule(rule, tables)) for rule in rules}
        return replace(watch, variants=MappingProxyType(variants))

    def _agree(
        self,
        make: Callable[..., Watch],
        tables: Sequence[AlertKeys],
        of_rule: Sequence[RuleKeys] = (),
    ) -> Watch:
        """Make a watch with the keys of alerts: the first of the tables that sets one wins.

        What is set for the rule alone wins over what is set for all.
        """
        first = partial(_first, [*of_rule, *tables])
        names = first("notify", self._named_channels())
        for_rule = any(table.remind is not None for table in of_rule)
        return make(
            thresholds=first("thresholds"),
            usual_levels=all("thresholds" not in vars(table) for table in tables),
            blind_after=first("blind") or None,
            forecast=first("forecast"),
            spike=first("spike"),
            stalled_after=first("stalled") or None,
            remind_every=first("remind") or None,
            remind_from=Severity.INFO if for_rule else Severity.CRITICAL,
            channels=names,
            fallback=first("fallback", names),
            quiet_hours=_quiet_hours(first("quiet_hours"), first("time_zone")),
            time_zone=first("time_zone"),
        )

    def _named_channels(self) -> tuple[str, ...]:
        return tuple(name for name in self.channels if not name.startswith(addresses.MAILTO))

    def _plan(self, table: OrganizationTable) -> Plan | None:
        if table.plan is None or table.plan == AUTO:
            return None
        own = self.plans.get(table.plan)
        if own is not None:
            return Plan(table.plan, own.limit, own.not_counted, own.drops)
        sold = find_plan(table.plan)
        return sold and replace(sold, name=table.plan)


def _first(tables: Iterable[RuleKeys], key: str, otherwise: Any = None) -> Any:
    """Look a key up in tables: the first that sets it wins; `[alerts]` sets most by default."""
    values = (getattr(table, key) for table in tables)
    return next((value for value in values if value is not None), otherwise)


def _of_rule(rule: Rule, tables: Iterable[AlertKeys]) -> list[RuleKeys]:
    """List the keys that the tables set for one rule alone."""
    return [table.rules[rule] for table in tables if table.rules and rule in table.rules]


def _quiet_hours(quiet: QuietTable | None, zone: str) -> QuietHours | None:
    return QuietHours(start=quiet.from_, end=quiet.to, time_zone=zone) if quiet else None


def all_secrets(value: object, key: str = "") -> Iterator[tuple[str, Secret]]:
    """Yield every secret of a document, or of a part at `key`, with the path of its key."""
    match value:
        case Secret():
            yield key, value
        case Section():
            for name, part in vars(value).items():
                yield from all_secrets(part, f"{key}.{name}".removeprefix("."))
        case Mapping():
            for name, each in value.items():
                yield from all_secrets(each, f"{key}.{name}")
        case tuple():
            for index, each in enumerate(value):
                place = f"{key}[{index}]" if len(value) > 1 else key
                if isinstance(each, OrganizationTable):
                    place = organization_key(index, each.id)
                yield from all_secrets(each, place)


def missing_packages() -> list[str]:
    """List the packages of the status page that are not installed."""
    return [each for each in _WEB_PACKAGES if find_spec(each) is None]


def _unusable(document: Document, uses: Collection[Use]) -> Iterator[Problem]:
    """Yield what these uses need beside secrets and can't have."""
    file, folder = document.rybbit.ca_file, document.templates.directory
    if Use.POLL in uses and file is not None:
        import ssl  # noqa: PLC0415  only commands that poll, with this key, need it

        try:
            ssl.create_default_context(cafile=file)
        except ssl.SSLError:
            yield Problem("rybbit.ca_file", f"no certificates (PEM) in {file}")
        except OSError as error:
            yield Problem("rybbit.ca_file", f"can't read {file}: {error.strerror}")
    if Use.DELIVER in uses and folder and not os.access(folder / ".", os.R_OK | os.X_OK):
        yield Problem("templates.directory", f"no folder this user can read: {folder}")
    missing = missing_packages() if Use.SERVE in uses and document.web is not None else []
    if missing:
        needs = f"the status page needs {abridged(missing)}: pip install 'quota-watch[web]'"
        yield Problem("web", needs)
