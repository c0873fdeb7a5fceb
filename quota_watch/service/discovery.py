"""Finds organizations that a key sees and the config does not name, and looks up their plans."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from quota_watch.config import Config, ConfigError, Secret
from quota_watch.config.models import OrganizationTable
from quota_watch.config.tables import read
from quota_watch.lib.logs import get_logger
from quota_watch.model.limit import NOT_COUNTED
from quota_watch.model.period import count, month_of
from quota_watch.model.source import Account, ErrorKind, NotYet, Organization, UpstreamError
from quota_watch.pipeline.notices import Discovery
from quota_watch.rybbit.answers import ListEntry
from quota_watch.rybbit.client import OrganizationKeyError, RybbitClient
from quota_watch.rybbit.errors import bad_answer
from quota_watch.rybbit.exchange import patiently

log = get_logger(__name__)

_RATE_LIMIT_SECONDS = 60.0  # where a refusal does not say how long


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A key for a server, and the ids of the organizations that the config names with it."""

    server: str
    secret: Secret
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What upstream reports about one organization.

    `used` is Rybbit's own count of this month where that is not 0, else the sum of the counted
    events. What could not be read is None, and `trouble` is the reason. `is_empty`: it has no site
    yet, so nothing can be counted.
    """

    organization: Organization
    name: str
    role: str | None = None
    account: Account | None = None
    used: int | None = None
    trouble: UpstreamError | None = None
    is_empty: bool = False


def credentials_of(config: Config) -> tuple[Credential, ...]:
    """List the keys of the config with their servers, the default one first."""
    ids: dict[tuple[str, Secret], list[str]] = {}
    if config.rybbit.api_key is not None:
        ids[config.rybbit.base_url, config.rybbit.api_key] = []
    for organization, secret in config.credentials().items():
        ids.setdefault((organization.server, secret), []).append(organization.id)
    return tuple(
        Credential(server=server, secret=secret, named=tuple(its_ids))
        for (server, secret), its_ids in ids.items()
    )


def listed(client: RybbitClient, credential: Credential) -> tuple[ListEntry, ...]:
    """List what the key sees, and what the config names with the key beyond that.

    Where the server lists nothing for an organization's own key, only the latter. Raises as
    `patiently` does, and `OrganizationKeyError` where that leaves nothing.
    """
    key = credential.secret.reveal()
    try:
        entries = patiently(lambda: client.organizations(credential.server, key))
    except OrganizationKeyError:
        if not credential.named:
            raise
        entries = ()
    known = {each.id for each in entries}
    others = [id_ for id_ in credential.named if id_ not in known]
    return (*entries, *(ListEntry(id_, id_, None, ()) for id_ in others))


def look_at(
    client: RybbitClient, credential: Credential, entry: ListEntry, *, today: date
) -> Sight:
    """Look up plan, limit and usage of an organization as of `today`; may raise `NotYet`.

    Where a key may not read the plan, the limit is that of a site's usage (UPSTREAM.md § 9).
    """
    organization = Organization(credential.server, entry.id)
    asking = client.with_keys({organization: credential.secret.reveal()})
    site = entry.sites[0].id if entry.sites else None
    is_empty = entry.role is not None and not entry.sites  # a role is listed with the sites
    sight = Sight(organization=organization, name=entry.name, role=entry.role, is_empty=is_empty)
    try:
        account = patiently(lambda: asking.account(organization, site=site))
        name = account.name if entry.name == entry.id and account.name else entry.name
        sight = replace(sight, account=account, used=account.counted, name=name)
        if account.limit == 0:
            sight = replace(sight, account=None, trouble=_no_plan_known(organization))
    except UpstreamError as error:
        sight = replace(sight, trouble=error)
        if error.kind is not ErrorKind.INSUFFICIENT_SCOPE:
            return sight
    if sight.account is not None and sight.account.limit is not None and sight.used:
        return sight
    try:  # a server without limits does not count, nor one whose database failed (UPSTREAM.md § 5)
        return replace(sight, used=patiently(lambda: _counted(asking, organization, today)))
    except UpstreamError as error:
        return replace(sight, used=None, trouble=sight.trouble or error)


def _no_plan_known(organization: Organization) -> UpstreamError:
    why = "Rybbit does not know the plan itself, so one event blocks every site"
    where = f"organization {organization.id} at {organization.server}"
    return bad_answer(f"{where}: {why}. Set the limit in the config")


def find_new(config: Config, client: RybbitClient) -> list[Discovery]:
    """Find the organizations that the keys of `config` see and no table of it names, each once.

    None where `rybbit.discover` is "off". A key that can't be read, or whose server does not
    answer, finds nothing, which is logged; raises `NotYet` where its rate budget is spent.
    """
    if config.rybbit.discover == "off":
        return []
    discoveries: list[Discovery] = []
    known = {watch.organization for watch in config.watches()}
    for credential in credentials_of(config):
        for entry in _seen_by(client, credential):
            organization = Organization(credential.server, entry.id)
            if organization not in known:
                known.add(organization)
                discoveries.append(_found(client, credential, entry, organization))
    return discoveries


def with_found(config: Config, discoveries: Iterable[Discovery]) -> Config:
    """Return the config as if it named these too, with `[alerts]` and their plan from upstream.

    Those that no config could name are left out: an id that it has already for another server,
    or that is no id.
    """
    known = {table.id for table in config.organizations}
    tables: list[OrganizationTable] = []
    for each in discoveries:
        organization = each.organization
        values = {"id": organization.id, "name": each.name, "base_url": organization.server}
        table, _ = read(OrganizationTable, values)
        if table is None:
            log.warning("can't be watched: its id does not fit a config", id=organization.id)
        elif table.id not in known:
            known.add(table.id)
            tables.append(table.but(api_key=each.secret))
    return config.but(organizations=(*config.organizations, *tables))


def _counted(client: RybbitClient, organization: Organization, today: date) -> int:
    period = month_of(today)
    days = client.days(organization, period.start, today)
    return count(days, period=period, today=today, not_counted=NOT_COUNTED, limit=None).used


def _seen_by(client: RybbitClient, credential: Credential) -> tuple[ListEntry, ...]:
    try:
        return client.organizations(credential.server, credential.secret.reveal())
    except OrganizationKeyError:  # it sees only its own organization, which is named
        return ()
    except (UpstreamError, ConfigError) as error:
        if isinstance(error, UpstreamError) and error.kind is ErrorKind.RATE_LIMITED:
            raise NotYet(error.retry_after or _RATE_LIMIT_SECONDS) from None
        log.warning("discovery failed", server=credential.server, error=str(error))
        return ()


def _found(
    client: RybbitClient, credential: Credential, entry: ListEntry, organization: Organization
) -> Discovery:
    asking = client.with_keys({organization: credential.secret.reveal()})
    site = entry.sites[0].id if entry.sites else None
    try:
        account = asking.account(organization, site=site)
    except (UpstreamError, NotYet):  # worth reporting even without its plan
        account = Account(limit=None)
    return Discovery(
        organization=organization,
        name=entry.name,
        secret=credential.secret,
        plan=account.plan,
        limit=account.limit or None,
    )
