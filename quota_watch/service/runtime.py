"""Everything that a config asks for, built and wired: what the jobs work with."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from quota_watch.channels.build import build_channels
from quota_watch.config import Config, ConfigError, format_duration
from quota_watch.config.models import ReportsTable
from quota_watch.config.values import Problem
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.http import Client
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.lib.network import HttpError
from quota_watch.lib.text import plural
from quota_watch.lib.urls import proxy_for
from quota_watch.model.period import ONE_DAY
from quota_watch.model.schedule import ReportKind
from quota_watch.model.source import ErrorKind, NotYet, Organization, UpstreamError
from quota_watch.pipeline.deliver import Outbox
from quota_watch.pipeline.due import DueOrganizations
from quota_watch.pipeline.extras import Extras
from quota_watch.pipeline.notices import Discovery, Notices, Reports
from quota_watch.pipeline.outages import LastLine
from quota_watch.pipeline.poll import Outcome, Poll
from quota_watch.pipeline.watcher import PollSummary, Watcher
from quota_watch.rybbit.client import build_source
from quota_watch.service.discovery import find_new, with_found
from quota_watch.service.health import Health, Heartbeat, SelfCheck
from quota_watch.storage import StorageError, claims
from quota_watch.storage.attempts import failing_channels
from quota_watch.storage.claims import Claim, last_poll
from quota_watch.storage.database import Database
from quota_watch.storage.upkeep import thin_out

log = get_logger(__name__)

_GIVE_BACK_SECONDS = 1.0
_LAST_LINE_FILE = "quota-watch.last-line"

_FLOOD_SECONDS = 60.0
_WORTH_WAITING = timedelta(seconds=30)  # a bucket is full again by then; a day's budget is not


class Runtime:
    """A config at work: claims, watcher and outbox over one database.

    `close` must be called; the database is the caller's. `sleep` waits for so many seconds;
    `health` receives its signs of progress.
    """

    def __init__(
        self,
        config: Config,
        *,
        database: Database,
        clock: Clock,
        deliver: bool = True,
        health: Health | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._config = config
        self._database = database
        self._clock = clock
        self._deliver = deliver
        self._sleep = sleep
        self._health = health or Health(clock=clock)
        self._resources = ExitStack()
        self._channels = build_channels(config, self._resources)
        keys = {each: key.reveal() for each, key in config.credentials().items()}
        with database.write() as connection:
            self._pks = claims.register(connection, config.watches(), now=clock.now())
            self._last_poll = last_poll(connection, self._pks.values())
        self._source = build_source(config, keys, self._resources, clock=clock)
        self._intervals = dict.fromkeys(self._pks.values(), config.poll.interval)
        self._due = self._build_due()
        self.last_line = LastLine(
            database=database,
            channels=self._channels,
            clock=clock,
            unrecorded=self._health.unrecorded,
            memory=config.state_folder() / _LAST_LINE_FILE,
        )
        self._watcher = self._build_watcher(_servers(keys))
        self._outbox = Outbox(database=database, channels=self._channels, clock=clock)
        self.self_check = SelfCheck(
            database=database,
            health=self._health,
            clock=clock,
            intervals=self._intervals,
            channels=self._channels,
        )
        self._notices = Notices(
            database=database,
            channels=self._channels,
            clock=clock,
            time_zone=config.alerts.time_zone,
            channels_of=config.channels_of,
        )
        self.reports = self._build_reports()
        self._heartbeat = self._build_heartbeat()
        self._discover_at: datetime | None = None
        self.found: tuple[Discovery, ...] = ()
        self._polling = threading.Lock()
        self._stopping = threading.Event()
        self._failing: set[int] = set()

    def _build_due(self) -> DueOrganizations:
        interval = self._config.poll.interval
        return DueOrganizations(
            database=self._database,
            ours=frozenset(self._pks.values()),
            clock=self._clock,
            interval=lambda: max(self._intervals.values(), default=interval),
            concurrency=self._config.poll.concurrency,
        )

    def _build_watcher(self, servers: Mapping[Organization, str]) -> Watcher:
        config = self._config
        return Watcher(
            database=self._database,
            source=self._source,
            watches={self._pks[watch.organization]: watch for watch in config.watches()},
            channels=self._channels,
            clock=self._clock,
            interval=config.poll.interval,
            concurrency=config.poll.concurrency,
            pace=self._pace,
            last_line=self.last_line,
            servers={self._pks[each]: server for each, server in servers.items()},
            extras=Extras(
                source=self._source,
                clock=self._clock,
                history=config.poll.history,
                reads_every=lambda each: self._source.pace(each, config.poll.interval).reads_every,
            ),
        )

    def _build_reports(self) -> Reports:
        config, table = self._config, self._config.reports or ReportsTable()
        return Reports(
            database=self._database,
            channels=self._channels,
            watches=config.watches(),
            names={ReportKind.WEEKLY: table.weekly, ReportKind.MONTHLY: table.monthly},
            clock=self._clock,
            time_zone=config.alerts.time_zone,
            groups=table.groups,
            quiet=config.quiet_hours(),
            public_url=config.web.public_url if config.web else None,
        )

    def _build_heartbeat(self) -> Heartbeat | None:
        table = self._config.heartbeat
        if table is None:
            return None
        url = table.url.reveal()
        variable, proxy = proxy_for(url, os.environ) or ("", None)
        try:
            client = Client(proxy=proxy, connections=1)
        except HttpError as error:
            what = f"${variable}: {error}; correct it, or list the host in $NO_PROXY"
            raise ConfigError(self._config.path, [Problem("heartbeat.url", what)]) from None
        self._resources.enter_context(client)
        return Heartbeat(url, interval=table.interval, client=client, clock=self._clock)

    def _pace(self, organization: Organization) -> timedelta:
        """Return the interval until the organization's next poll, as its key's budget allows."""
        interval = self._source.pace(organization, self._config.poll.interval).interval
        self._intervals[self._pks[organization]] = interval
        return interval

    def poll_due(self) -> None:
        """Poll what is due, until nothing is; raises `StorageError`."""
        for _ in self._cycle(self._due.due()):
            pass

    def poll_named(
        self,
        organizations: Iterable[Organization],
        *,
        done: Callable[[int], object] = lambda _: None,
    ) -> tuple[Mapping[Organization, PollSummary], Mapping[Organization, timedelta]]:
        """Poll the organizations now, due or not; raises `StorageError`.

        `done` is called with how many more have been polled. Those that must wait a little for a
        rate limit are polled again after it, as are those refused for one, until none has
        succeeded for a minute. The others that must wait are returned beside the summaries, with
        how long.
        """
        polled: dict[Organization, PollSummary] = {}
        put_off: dict[Organization, timedelta] = {}
        pks = [self._pks[each] for each in organizations]
        patient_until = self._clock.monotonic() + _FLOOD_SECONDS
        while pks:
            patient = self._clock.monotonic() < patient_until
            soon: dict[int, timedelta] = {}
            for polls, outcomes in self._cycle(self._due.named(pks)):
                polled |= {each.poll.watch.organization: PollSummary.of(each) for each in outcomes}
                if any(each.poll.error is None for each in outcomes):
                    patient_until = self._clock.monotonic() + _FLOOD_SECONDS
                for poll in polls:
                    wait = poll.wait or (_wait_of(poll.error) if patient else None)
                    if wait is not None and wait <= _WORTH_WAITING:
                        soon[poll.claim.pk] = wait
                    elif poll.wait is not None:
                        put_off[poll.watch.organization] = poll.wait
                done(sum(outcome.poll.claim.pk not in soon for outcome in outcomes))
            pks = list(soon)
            if pks:
                self._sleep(max(soon.values()).total_seconds())
        return polled, put_off

    def deliver_due(self) -> None:
        """Begin to deliver what is due; raises `StorageError`."""
        if self._deliver:
            self._outbox.dispatch()

    def beat(self) -> None:
        """Ping the heartbeat's URL if it is due and there are no doubts."""
        if self._heartbeat is not None:
            self._heartbeat.beat(self._health.doubts())

    def discover(self) -> bool:
        """Look once a day for organizations that the keys see and the config does not name.

        Alerts about new ones; returns whether they are to be watched from now on. Raises
        `StorageError`.
        """
        now = self._clock.now()
        if self._discover_at is not None and self._discover_at <= now < self._discover_at + ONE_DAY:
            return False
        try:
            discoveries = find_new(self._config, self._source)
        except NotYet:
            return False
        self._discover_at = now
        watches_them = self._config.rybbit.discover == "watch"
        config = with_found(self._config, discoveries) if watches_them else self._config
        watched = {watch.organization for watch in config.watches()}
        self._notices.discovered(discoveries, watched=watched)
        if not watches_them:
            return False
        self.found = (*self.found, *discoveries)
        return bool(discoveries)

    def notify_of_channels(self) -> None:
        """Alert about channels that keep failing, on those that work; raises `StorageError`."""
        with self._database.read() as connection:
            failing = failing_channels(connection, self._channels, now=self._clock.now())
        self._notices.failing(failing)

    def notify_of_config(self, refused: QuotaWatchError | None) -> None:
        """Alert that a new config was refused, or accepted again; raises `StorageError`."""
        problems = [] if refused is None else [str(refused)]
        if isinstance(refused, ConfigError):
            problems = [f"{each.key}: {each.message}" for each in refused.problems]
        self._notices.config(problems)

    def thin_out(self) -> None:
        """Delete old rows as configured; raises `StorageError`."""
        deleted = thin_out(
            self._database,
            keep=self._config.database,
            now=self._clock.now(),
            stopped=self._stopping.is_set,
        )
        if deleted:
            log.info("old rows deleted", rows=deleted)

    def flush(self, seconds: float) -> dict[str, int]:
        """Attempt what is due, for `seconds` at most, and count the outcomes."""
        return self._outbox.flush(seconds if self._deliver else 0)

    def summary(self) -> dict[str, Any]:
        """Return what is watched and who is notified, as fields for the log."""
        return {
            "organizations": len(self._pks),
            "interval": format_duration(self._config.poll.interval),
            "channels": ",".join(self._channels) or "none",
            "database": self._database.label,
        }

    def status(self) -> str:
        """Describe the state in one line, for `systemctl status`."""
        last = self._last_poll
        polled = f"last poll {last:%Y-%m-%d %H:%M:%S}Z" if last else "no poll yet"
        failing = f", {len(self._failing)} failing" if self._failing else ""
        return f"watching {plural(len(self._pks), 'organization')}{failing}, {polled}"

    def close(self, seconds: float, *, flush_seconds: float = 0.0) -> bool:
        """Wait up to `seconds` for what is under way and release unfinished claims.

        Spend up to `flush_seconds` of them sending batched deliveries. Returns whether everything
        has ended.
        """
        self._stopping.set()
        self._due.stop()
        deadline = self._clock.monotonic() + seconds
        polled = self._polling.acquire(timeout=seconds)
        left = max(0.0, deadline - self._clock.monotonic())
        if flush_seconds:
            _try_for(min(flush_seconds, left), self.flush)
        self._outbox.stop()
        left = max(0.0, deadline - self._clock.monotonic())
        delivered = self._outbox.wait_until_idle(left)
        given_back = _try_for(_GIVE_BACK_SECONDS, lambda _: self._due.give_back())
        ended = given_back and polled and delivered
        if ended:
            self._resources.close()
        return ended

    def _cycle(self, claimed: Iterator[Claim]) -> Iterator[tuple[list[Poll], list[Outcome]]]:
        with self._polling:
            try:
                for polls, outcomes in self._watcher.watch(claimed):
                    self._due.finished([poll.claim for poll in polls])
                    self._health.moved("poll")
                    self.self_check.polled(polls)
                    self._last_poll = outcomes[-1].poll.at if outcomes else self._last_poll
                    self._failing -= {each.poll.claim.pk for each in outcomes}
                    self._failing |= {each.poll.claim.pk for each in outcomes if each.poll.error}
                    self.deliver_due()
                    yield polls, outcomes
            finally:
                self._due.finish_all()


def _try_for(seconds: float, work: Callable[[float], object]) -> bool:
    """Run what needs the database, for `seconds` at most; return whether it has ended."""
    done = threading.Event()

    def run() -> None:
        try:
            work(seconds)
        except StorageError as error:
            log.warning("some jobs did not stop", error=str(error))
        done.set()

    threading.Thread(target=run, daemon=True).start()
    return done.wait(seconds)


def _wait_of(error: UpstreamError | None) -> timedelta | None:
    """Return how long a refusal for a rate limit asks to wait; None for anything else."""
    if error is None or error.kind is not ErrorKind.RATE_LIMITED or error.retry_after is None:
        return None
    return timedelta(seconds=max(error.retry_after, 1.0))


def _servers(keys: Mapping[Organization, str]) -> dict[Organization, str]:
    """Name what organizations share: their server, and their key where a server has several."""
    of_server: dict[str, set[str]] = {}
    for organization, key in keys.items():
        of_server.setdefault(organization.server, set()).add(key)
    return {
        organization: organization.server
        if len(of_server[organization.server]) == 1
        else f"{organization.server} (key {sha256(key.encode()).hexdigest()[:8]})"
        for organization, key in keys.items()
    }
