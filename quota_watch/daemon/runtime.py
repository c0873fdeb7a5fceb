"""What the jobs work with: everything that a config says, built and wired."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from quota_watch.clock import Clock
from quota_watch.config import Config
from quota_watch.daemon.channels import build_channels
from quota_watch.daemon.due import DueOrganizations
from quota_watch.daemon.watcher import Outcome, Watcher
from quota_watch.domain.source import Organization
from quota_watch.http import build_client
from quota_watch.notify.channel import Channel
from quota_watch.notify.outbox import Outbox
from quota_watch.rybbit.client import RybbitClient
from quota_watch.storage import claims
from quota_watch.storage.claims import Claim
from quota_watch.storage.database import Database


class Runtime:
    """A config at work: claims, watcher and outbox over one database.

    `close` must be called; the database is the caller's.
    """

    def __init__(
        self, config: Config, *, database: Database, clock: Clock, deliver: bool = True
    ) -> None:
        self.config = config
        self._database = database
        self._clock = clock
        self._deliver = deliver
        self._resources = ExitStack()
        self.channels: Mapping[str, Channel] = build_channels(config, self._resources)
        source = self._source(config)
        with database.write() as connection:
            self._keys = claims.register(connection, config.watches(), now=clock.now())
        watches = {self._keys[watch.organization]: watch for watch in config.watches()}
        interval, concurrency = config.poll.interval, config.poll.concurrency
        self._due = DueOrganizations(
            database=database,
            ours=frozenset(watches),
            clock=clock,
            interval=interval,
            concurrency=concurrency,
        )
        self._watcher = Watcher(
            database=database,
            source=source,
            watches=watches,
            channels=self.channels,
            clock=clock,
            interval=interval,
            concurrency=concurrency,
        )
        self.outbox = Outbox(database=database, channels=self.channels, clock=clock)
        self._polling = threading.Lock()
        self._failing: set[int] = set()
        self._last_poll: datetime | None = None

    def _source(self, config: Config) -> RybbitClient:
        rybbit = config.rybbit
        http = build_client(
            ca_file=rybbit.ca_file,
            proxy=rybbit.proxy.reveal() if rybbit.proxy else None,
            connections=config.poll.concurrency,
        )
        return RybbitClient(
            self._resources.enter_context(http),
            keys={each: key.reveal() for each, key in config.credentials().items()},
            timeout=rybbit.timeout.total_seconds(),
        )

    def poll_due(self) -> list[Outcome]:
        """Poll what is due, until nothing is; raises `StorageError`."""
        return self._watch(self._due.due())

    def poll_named(self, organizations: Iterable[Organization]) -> list[Outcome]:
        """Poll the organizations now, due or not; raises `StorageError`."""
        return self._watch(self._due.named([self._keys[each] for each in organizations]))

    def deliver_due(self) -> None:
        """Begin to deliver what is due; raises `StorageError`."""
        if self._deliver:
            self.outbox.dispatch()

    def flush(self, seconds: float) -> dict[str, int]:
        """Attempt what is due, for `seconds` at most, and count what came of it."""
        return self.outbox.flush(seconds if self._deliver else 0)

    def summary(self) -> dict[str, Any]:
        """Say in a few fields what is watched and who is told."""
        return {
            "organizations": len(self._keys),
            "interval": str(self.config.poll.interval),
            "channels": ",".join(self.channels) or "none",
            "database": self._database.label,
        }

    def status(self) -> str:
        """Say in one line how it goes, for `systemctl status`."""
        seen = (
            f"last poll {self._last_poll:%Y-%m-%d %H:%M:%S}Z" if self._last_poll else "no poll yet"
        )
        failing = f", {len(self._failing)} failing" if self._failing else ""
        return f"watching {len(self._keys)} organizations{failing}, {seen}"

    def stop(self) -> None:
        """Begin nothing new."""
        self._due.stop()
        self.outbox.stop()

    def close(self, seconds: float) -> bool:
        """Wait up to `seconds` for what is under way and give the rest back.

        Tells whether all has ended.
        """
        self.stop()
        deadline = self._clock.monotonic() + seconds
        polled = self._polling.acquire(timeout=seconds)
        left = max(0.0, deadline - self._clock.monotonic())
        delivered = self.outbox.wait_until_idle(left)
        self._due.give_back()
        if polled and delivered:
            self._resources.close()
        return polled and delivered

    def _watch(self, claimed: Iterable[Claim]) -> list[Outcome]:
        with self._polling:
            try:
                outcomes = self._watcher.watch(iter(claimed), committed=self._committed)
            finally:
                self._due.finish_all()
        for outcome in outcomes:
            self._note(outcome)
        return outcomes

    def _committed(self, ended: Sequence[Claim]) -> None:
        self._due.finished(ended)
        self.deliver_due()

    def _note(self, outcome: Outcome) -> None:
        pk = outcome.poll.claim.pk
        if outcome.poll.error is None:
            self._failing.discard(pk)
        else:
            self._failing.add(pk)
        self._last_poll = outcome.poll.at
