"""What a config says, built and wired: the parts that the jobs work with."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256

from quota_watch.channels.build import build_channels
from quota_watch.channels.channel import Channel
from quota_watch.config import Config
from quota_watch.lib.clock import Clock
from quota_watch.lib.http import build_client
from quota_watch.model.organization import Organization
from quota_watch.model.period import CalendarMonth
from quota_watch.model.report import ReportKind
from quota_watch.pipeline.deliver import Outbox
from quota_watch.pipeline.due import DueOrganizations
from quota_watch.pipeline.extras import Errands
from quota_watch.pipeline.notices import Notices
from quota_watch.pipeline.reports import Reports
from quota_watch.pipeline.watcher import Watcher
from quota_watch.rybbit.build import build_source
from quota_watch.rybbit.client import RybbitClient
from quota_watch.rybbit.pacing import Pacer
from quota_watch.service.health import Health
from quota_watch.service.heartbeat import Heartbeat
from quota_watch.service.intervals import Intervals
from quota_watch.service.self_check import SelfCheck
from quota_watch.storage import claims
from quota_watch.storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything over one database that a config asks for; `keys` are the organizations' rows."""

    keys: Mapping[Organization, int]
    channels: Mapping[str, Channel]
    source: RybbitClient
    due: DueOrganizations
    watcher: Watcher
    outbox: Outbox
    selfcheck: SelfCheck
    notices: Notices
    reports: Reports
    heartbeat: Heartbeat | None


def build_parts(
    config: Config, *, database: Database, clock: Clock, health: Health, resources: ExitStack
) -> Parts:
    """Build the parts; what they keep open is closed with `resources`.

    Raises `ConfigError` where a secret can't be had or a template is bad, and `StorageError`.
    """
    channels = build_channels(config, resources)
    secrets = {each: key.reveal() for each, key in config.credentials().items()}
    with database.write() as connection:
        keys = claims.register(connection, config.watches(), now=clock.now())
    watches = {keys[watch.organization]: watch for watch in config.watches()}
    source = build_source(config, secrets, resources, pacer=Pacer(), clock=clock)
    intervals = Intervals(secrets, config.poll.interval, source.interval_for)
    return Parts(
        keys=keys,
        channels=channels,
        source=source,
        due=DueOrganizations(
            database=database,
            ours=frozenset(watches),
            clock=clock,
            interval=intervals.longest,
            concurrency=config.poll.concurrency,
        ),
        watcher=Watcher(
            database=database,
            source=source,
            watches=watches,
            channels=channels,
            clock=clock,
            interval=config.poll.interval,
            concurrency=config.poll.concurrency,
            pace=intervals.of,
            groups={keys[each]: group for each, group in _groups(secrets).items()},
            errands=Errands(
                source, clock=clock, cycle=CalendarMonth(), history=config.poll.history
            ),
        ),
        outbox=Outbox(database=database, channels=channels, clock=clock),
        selfcheck=SelfCheck(
            database=database,
            health=health,
            clock=clock,
            ours={pk: each for each, pk in keys.items()},
            channels=channels,
            interval=intervals.in_use,
        ),
        notices=Notices(
            database=database,
            channels=channels,
            clock=clock,
            time_zone=config.alerts.time_zone,
            heard_by=config.heard_by,
        ),
        reports=_reports(config, database, channels, clock),
        heartbeat=_heartbeat(config, clock, resources),
    )


def _groups(keys: Mapping[Organization, str]) -> dict[Organization, str]:
    """Name what organizations share: their server, and the key where a server has several."""
    of_server: dict[str, set[str]] = {}
    for organization, key in keys.items():
        of_server.setdefault(organization.server, set()).add(key)
    return {
        organization: organization.server
        if len(of_server[organization.server]) == 1
        else f"{organization.server} (key {sha256(key.encode()).hexdigest()[:8]})"
        for organization, key in keys.items()
    }


def _reports(
    config: Config, database: Database, channels: Mapping[str, Channel], clock: Clock
) -> Reports:
    table, hears = config.reports, {}
    if table is not None:
        hears = {ReportKind.WEEKLY: table.weekly, ReportKind.MONTHLY: table.monthly}
    return Reports(
        database=database,
        channels=channels,
        watches=config.watches(),
        names=hears,
        clock=clock,
        time_zone=config.alerts.time_zone,
        quiet=config.quiet_hours(),
        public_url=config.web.public_url if config.web else None,
    )


def _heartbeat(config: Config, clock: Clock, resources: ExitStack) -> Heartbeat | None:
    table = config.heartbeat
    if table is None:
        return None
    client = resources.enter_context(build_client(connections=1))
    return Heartbeat(table.url.reveal(), interval=table.interval, client=client, clock=clock)
