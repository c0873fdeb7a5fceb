"""What a config says about the status page, and how its pages reach the store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from sqlalchemy import Connection

from quota_watch.config import Config
from quota_watch.lib.clock import Clock
from quota_watch.messages.silence_link import SilenceLinks
from quota_watch.model.watch import Watch
from quota_watch.storage.database import Database
from quota_watch.views.status import Status, statuses

Health = Callable[[], Sequence[str]]
"""Tells why the service is not healthy, a sentence for each reason; empty when it is."""

REFRESH_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the pages show and who may see them.

    `token` None lets everyone in who reaches the port. `prefix` is the path of the public URL.
    `interval` is the configured time between polls. An open page renews itself every
    `refresh_seconds`. `silence_links` None: nothing can be changed. `since` is when this config was
    taken up, `refused` whether a later one was not.
    """

    watches: tuple[Watch, ...]
    channels: tuple[str, ...]
    time_zone: str
    hosts: frozenset[str]
    token: str | None = field(default=None, repr=False)
    interval: timedelta = timedelta(minutes=15)
    prefix: str = ""
    templates: Path | None = None
    refresh_seconds: int = REFRESH_SECONDS
    silence_links: SilenceLinks | None = None
    since: datetime | None = None
    refused: bool = False

    @classmethod
    def of(cls, config: Config) -> Self:
        """Read a config with `[web]`; raises `ConfigError` where the token can't be had."""
        web = config.web
        token = web.token.reveal() if web and web.token else None
        return cls(
            watches=config.watches(),
            channels=tuple(config.channels),
            time_zone=config.alerts.time_zone,
            hosts=web.hosts() if web else frozenset(),
            interval=config.poll.interval,
            token=token,
            prefix=urlsplit((web.public_url if web else None) or "").path,
            templates=config.templates.directory,
            silence_links=SilenceLinks.of(config),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One moment of the store, and what to show of it."""

    connection: Connection
    site: Site
    now: datetime

    def organizations(self, watches: Sequence[Watch] | None = None) -> list[Status]:
        """Read what `status` shows of some organizations, or of all."""
        chosen = self.site.watches if watches is None else watches
        return statuses(self.connection, chosen, now=self.now, interval=self.site.interval)

    def watch(self, organization_id: str) -> Watch | None:
        """Return the watch of an organization by its id, or None."""
        watches = self.site.watches
        return next((each for each in watches if each.organization.id == organization_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The database as pages see it; `site` returns what holds now."""

    database: Database
    clock: Clock
    site: Callable[[], Site]

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """Open one moment of the store; raises `StorageError`."""
        with self.database.read() as connection:
            yield Reading(connection=connection, site=self.site(), now=self.clock.now())
