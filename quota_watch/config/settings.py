"""A config that is whole and right, and what the rest of the program asks it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from quota_watch.config import addresses, needs
from quota_watch.config.checks import AUTO
from quota_watch.config.models import (
    AlertKeys,
    Alerts,
    AppriseTable,
    Channel,
    Database,
    Document,
    Heartbeat,
    OrganizationTable,
    PlanTable,
    Poll,
    Reports,
    RuleKeys,
    Rybbit,
    Smtp,
    Templates,
    Web,
    WebhookTable,
)
from quota_watch.config.needs import Use, all_secrets
from quota_watch.config.problems import ConfigError, Problem, listed, organization_key
from quota_watch.config.secrets import Secret
from quota_watch.config.tables import keys_of
from quota_watch.model.limit import NOT_COUNTED, Plan, find_plan
from quota_watch.model.organization import Organization
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.schedule import QuietHours
from quota_watch.model.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole config. `is_shared` tells whether others than the owner may read the file.

    Among the `channels` are those that `notify` names by a mail address alone.
    """

    path: Path
    is_shared: bool
    rybbit: Rybbit
    poll: Poll
    database: Database
    alerts: Alerts
    plans: Mapping[str, PlanTable]
    groups: Mapping[str, AlertKeys]
    organizations: tuple[OrganizationTable, ...]
    channels: Mapping[str, Channel]
    smtp: Smtp | None
    templates: Templates
    reports: Reports | None
    heartbeat: Heartbeat | None
    web: Web | None
    _watches: list[Watch] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, document: Document, *, path: Path, is_shared: bool) -> Self:
        """Make a config of a document that passed all checks; its secrets learn their keys."""
        for key, secret in needs.all_secrets(document):
            secret.bind(path, key)
        parts = {name: getattr(document, name) for name in keys_of(Document)}
        parts["channels"] = parts["channels"] | needs.mail_channels(document)
        parts |= {name: MappingProxyType(parts[name]) for name in ("plans", "groups", "channels")}
        return cls(path=path, is_shared=is_shared, **parts)

    def watches(self) -> tuple[Watch, ...]:
        """Return what to watch, in the order of the config; worked out once."""
        if not self._watches:
            self._watches.extend(self._watch(table) for table in self.organizations)
        return tuple(self._watches)

    def credentials(self) -> Mapping[Organization, Secret]:
        """Return the API key of each organization.

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
        """Return the database's URL, with its password.

        A relative SQLite file lies in $STATE_DIRECTORY, else beside the config. Raises
        `ConfigError` where the URL is a reference that can't be resolved.
        """
        url = addresses.whole_database_url(self.database.url.reveal(), self.state_folder())
        if url.startswith("sqlite") and "?" in url:
            raise ConfigError(
                self.path,
                [Problem("database.url", "the database's folder has a ? in its name; use another")],
            )
        return url

    def state_folder(self) -> Path:
        """Return where relative files lie: $STATE_DIRECTORY, else the folder of the config."""
        return addresses.state_folder(self.path)

    def secrets(self, *uses: Use) -> tuple[Secret, ...]:
        """Return the secrets needed for `uses`, for everything where none is given."""
        return tuple(secret for use in uses or Use for secret in self._needed(use))

    def reveal_all(self, *uses: Use) -> Mapping[str, str]:
        """Return the secrets needed for `uses` by key path, for everything where none is given.

        Files that are needed beside them are tried too. Raises one `ConfigError` with all that
        can't be had.
        """
        values: dict[str, str] = {}
        problems: list[Problem] = []
        for secret in self.secrets(*uses):
            try:
                values[secret.key] = secret.reveal()
            except ConfigError as error:
                problems += error.problems
        problems += [problem for use in uses or Use for problem in self._unusable_files(use)]
        if problems:
            raise ConfigError(self.path, problems)
        return values

    def warnings(self) -> tuple[str, ...]:
        """Return what is allowed but worth telling, a sentence each, without secrets."""
        return tuple(warnings(self))

    def _organization(self, table: OrganizationTable) -> Organization:
        return Organization(server=table.base_url or self.rybbit.base_url, id=table.id)

    def _watch(self, table: OrganizationTable) -> Watch:
        plan = self._plan(table)
        organization = self._organization(table)
        drops = None if plan is None else plan.drops
        whole = Watch(
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
            thresholds=(),
            blind_after=None,
            channels=(),
            public_url=self.web.public_url if self.web else None,
            budgets={str(site.id): site.budget for site in table.sites},
            prices={name: each.price for name, each in self.plans.items() if each.price},
        )
        tables = self._nearest_first(table)
        watch = self._agree(whole, tables)
        rules = {rule for each in tables for rule in each.rules or ()}
        if not rules:
            return watch
        variants = {rule: self._agree(whole, tables, _of_rule(rule, tables)) for rule in rules}
        return replace(watch, variants=MappingProxyType(variants))

    def _nearest_first(self, table: OrganizationTable) -> tuple[AlertKeys, ...]:
        """Return the tables that speak of an organization: its own, its group's, everybody's."""
        group = () if table.group is None else (self.groups[table.group],)
        return (table, *group, self.alerts)

    def _agree(
        self, watch: Watch, tables: Sequence[AlertKeys], of_rule: Sequence[RuleKeys] = ()
    ) -> Watch:
        """Return the watch with what the tables say: the first that says something wins.

        What they say for the rule alone wins over what they say for all.
        """
        said = _Said([*of_rule, *tables])
        zone = said("time_zone", watch.time_zone)
        names = said("notify", self._named_channels())
        quiet = said("quiet_hours", None)
        hours = quiet and QuietHours(start=quiet.from_, end=quiet.to, time_zone=zone)
        for_rule = any(table.remind is not None for table in of_rule)
        return replace(
            watch,
            thresholds=said("thresholds", watch.thresholds),
            usual_levels=all("thresholds" not in table.given for table in tables),
            blind_after=said("blind", None) or None,
            forecast=said("forecast", watch.forecast),
            spike=said("spike", watch.spike),
            stalled_after=said("stalled", None) or None,
            remind_every=said("remind", None) or None,
            remind_from=Severity.INFO if for_rule else Severity.CRITICAL,
            channels=names,
            fallback=said("fallback", names),
            quiet_hours=hours or None,
            time_zone=zone,
        )

    def quiet_hours(self) -> QuietHours | None:
        """Return the quiet hours of what is about no single organization."""
        quiet = self.alerts.quiet_hours
        if not quiet:
            return None
        zone = self.alerts.time_zone or "UTC"
        return QuietHours(start=quiet.from_, end=quiet.to, time_zone=zone)

    def heard_by(self, rule: Rule) -> tuple[str, ...]:
        """Return the channels that hear of a rule where it is about no organization."""
        said = _Said([*_of_rule(rule, [self.alerts]), self.alerts])
        names: tuple[str, ...] = said("notify", self._named_channels())
        return names

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

    def _needed(self, use: Use) -> tuple[Secret, ...]:
        match use:
            case Use.POLL:
                return needs.to_poll(self.rybbit, self.credentials())
            case Use.DELIVER:
                return needs.to_deliver(self.channels, self.smtp)
            case Use.STORE:
                return needs.to_store(self.database)
            case Use.SERVE:
                return needs.to_serve(self.web)
            case Use.HEARTBEAT:
                return needs.to_beat(self.heartbeat)

    def _unusable_files(self, use: Use) -> tuple[Problem, ...]:
        match use:
            case Use.POLL:
                return needs.bad_ca_file(self.rybbit)
            case Use.DELIVER:
                return needs.bad_templates(self.templates)
            case Use.STORE | Use.HEARTBEAT:
                return ()
            case Use.SERVE:
                return needs.missing_packages(self.web)


class _Said:
    """Looks keys up in tables, the first of which that says something wins."""

    def __init__(self, tables: Sequence[RuleKeys]) -> None:
        self._tables = tables

    def __call__(self, key: str, otherwise: Any) -> Any:
        values = (getattr(table, key) for table in self._tables)
        return next((value for value in values if value is not None), otherwise)


def _of_rule(rule: Rule, tables: Iterable[AlertKeys]) -> list[RuleKeys]:
    """Return what the tables say for one rule alone."""
    return [table.rules[rule] for table in tables if table.rules and rule in table.rules]


_TELLING_NAMES = ("authorization", "cookie", "key", "password", "secret", "token")
_TLS_AT_ONCE = 465


def warnings(config: "Config") -> Iterator[str]:
    """Yield a sentence for each thing worth telling."""
    yield from _unheard(config)
    yield from _unread_reports(config)
    yield from _exposed_servers(config)
    yield from _exposed_mail(config)
    yield from _unreachable_page(config)
    yield from _readable_secrets(config)


def _unheard(config: "Config") -> Iterator[str]:
    if not config.channels:
        yield "nobody would hear of any alert: there is no [channels.NAME] table; add one"
        return
    silent = [watch.organization.id for watch in config.watches() if not watch.channels]
    if silent:
        yield (
            f"nobody would hear of alerts about {listed(silent)}: "
            "notify is empty; name a channel there or leave the key out"
        )


def _unread_reports(config: "Config") -> Iterator[str]:
    reports = config.reports
    for name in () if reports is None else dict.fromkeys((*reports.weekly, *reports.monthly)):
        channel = config.channels[name]
        if isinstance(channel, WebhookTable) and channel.routing_key is not None:
            yield f'reports: the channel "{name}" is of pagerduty, which gets no reports'


def _exposed_servers(config: "Config") -> Iterator[str]:
    servers = [("rybbit.base_url", config.rybbit.base_url)]
    for index, table in enumerate(config.organizations):
        if table.base_url is not None:
            servers.append((f"{organization_key(index, table.id)}.base_url", table.base_url))
    for key, server in servers:
        if addresses.is_exposed(server):
            yield f"{key}: {server} is not encrypted, so the API key travels in clear; use https"
        if server.endswith("/api"):
            yield f"{key}: {server} ends in /api, which is added to it anyway; leave it out"


def _exposed_mail(config: "Config") -> Iterator[str]:
    smtp = config.smtp
    if smtp is None:
        return
    if smtp.security == "none" and smtp.password and not addresses.is_loopback(smtp.host):
        yield 'smtp.security: "none" sends the password in clear; use "starttls" or "tls"'
    if (smtp.port == _TLS_AT_ONCE) != (smtp.security == "tls"):
        yield (
            f'smtp.port: {smtp.port} with security = "{smtp.security}" is unusual; '
            '"tls" goes with port 465, "starttls" with 587'
        )


def _unreachable_page(config: "Config") -> Iterator[str]:
    web = config.web
    if web and addresses.is_everywhere(web.listen.host) and web.hosts() == {"localhost"}:
        yield (
            f"web.listen: {web.listen} is open to other machines, but the page answers to "
            "localhost alone; name the host they ask for in web.public_url or web.allowed_hosts"
        )


def _readable_secrets(config: "Config") -> Iterator[str]:
    keys = list(_plain_secrets(config)) if config.is_shared else []
    if keys:
        yield (
            f"{config.path} can be read by other users and {listed(keys)} stands there in plain "
            "text; chmod 600 it, or use env:, file: or credential:"
        )


def _plain_secrets(config: "Config") -> Iterator[str]:
    """Yield the keys of literals that are surely secret: many URLs and headers are not."""
    sections: Iterable[tuple[str, object]] = (
        ("rybbit", config.rybbit),
        ("database", config.database),
        ("organizations", config.organizations),
        ("channels", config.channels),
        ("smtp", config.smtp),
        ("web", config.web),
    )
    for name, section in sections:
        for key, secret in all_secrets(section, name):
            if secret.is_literal and _is_telling(config, key, secret):
                yield key


def _is_telling(config: "Config", key: str, secret: Secret) -> bool:
    name = key.rpartition(".")[2].lower()
    if key in {f"channels.{each}.url" for each, table in config.channels.items() if _is_key(table)}:
        return True
    if name in {"url", "proxy"}:
        url = secret.reveal()
        is_telling = addresses.holds_password(url)
        return is_telling if key == "database.url" else is_telling or "@" in url or "?" in url
    return any(word in name for word in _TELLING_NAMES)


def _is_key(channel: Channel) -> bool:
    """Tell whether a channel's URL is all that one needs to post there."""
    chats = {"slack", "discord", "teams"}
    return isinstance(channel, AppriseTable) or (
        isinstance(channel, WebhookTable) and channel.format in chats
    )
