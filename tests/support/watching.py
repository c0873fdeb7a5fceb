"""A watch without a network: an upstream and channels that do as a test says."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from quota_watch.channels.channel import WEBHOOK_RETRIES, DeliveryError, Notice
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.machine import Clock
from quota_watch.messages.facts import Message
from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import DayCounts, each_day
from quota_watch.model.source import (
    Account,
    ErrorKind,
    NotYet,
    Organization,
    SiteUsage,
    Source,
    UpstreamError,
)
from quota_watch.model.watch import Severity, Watch
from quota_watch.pipeline.deliver import Outbox
from quota_watch.pipeline.due import DueOrganizations
from quota_watch.pipeline.extras import Extras
from quota_watch.pipeline.outages import LastLine
from quota_watch.pipeline.poll import Outcome
from quota_watch.pipeline.watcher import Watcher
from quota_watch.storage import claims
from quota_watch.storage.database import Database
from support.domain import watch as domain_watch

SERVER = "https://app.rybbit.io"
NOWHERE = Path(os.devnull) / "nowhere"
NO_ANSWER = UpstreamError(ErrorKind.CONNECTION, "no answer from app.rybbit.io", may_pass=True)


def organization(name: str) -> Organization:
    return Organization(SERVER, f"org_{name}")


def watch(name: str = "acme", **changes: Any) -> Watch:
    """Return a watch of the organization `name`, limit 100, told on the channel `hook`."""
    values = {"organization": organization(name), "name": name, "channels": ("hook",)}
    return domain_watch(**(values | changes))


def watches(n: int, **changes: Any) -> list[Watch]:
    return [watch(f"{number:04}", **changes) for number in range(n)]


class Upstream:
    """Counts that a test sets, served as a `Source`; `errors` are raised instead.

    `asked` holds the organizations in the order of their polls. `before` is called in the
    polling thread, at the start of each poll.
    """

    def __init__(self) -> None:
        self.counts: dict[Organization, dict[date, dict[str, int]]] = {}
        self.errors: dict[Organization, BaseException] = {}
        self.asked: list[Organization] = []
        self.before: Callable[[Organization], None] = lambda _: None
        self.accounts: dict[Organization, Account | UpstreamError] = {}
        self.ranges: list[tuple[date, date]] = []
        self.account_reads = 0
        self.site_usages: dict[str, SiteUsage | UpstreamError | NotYet] = {}
        self.sites_asked: list[str] = []

    def set(self, watch: Watch, day: date, **by_type: int) -> None:
        self.counts.setdefault(watch.organization, {})[day] = by_type

    def days(self, organization: Organization, start: date, end: date) -> Sequence[DayCounts]:
        self.asked.append(organization)
        self.ranges.append((start, end))
        self.before(organization)
        if organization in self.errors:
            raise self.errors[organization]
        known = self.counts.get(organization, {})
        return [DayCounts(day, known.get(day, {"pageview": 0})) for day in each_day(start, end)]

    def account(self, organization: Organization, *, spare: bool = False) -> Account:
        self.account_reads += 1
        account = self.accounts.get(organization, NO_ANSWER)
        if isinstance(account, UpstreamError):
            raise account
        return account

    def site_usage(self, organization: Organization, site: str) -> SiteUsage:
        self.sites_asked.append(site)
        usage = self.site_usages.get(site, NO_ANSWER)
        if isinstance(usage, QuotaWatchError):
            raise usage
        return usage

    def polls(self) -> Counter[str]:
        return Counter(organization.id for organization in self.asked)


class RecordingChannel:
    """Keeps what it accepts in `sent`, unless `script` raises; `tried` holds every attempt."""

    def __init__(
        self,
        name: str = "hook",
        *,
        recipients: tuple[str, ...] = ("",),
        min_severity: Severity = Severity.INFO,
        takes_period_ends: bool = True,
        keeps_incidents: bool = False,
        batches: bool = False,
        at_once: int = 1,
        script: Callable[[Message], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.recipients = recipients
        self.min_severity = min_severity
        self.retries = WEBHOOK_RETRIES
        self.takes_period_ends = takes_period_ends
        self.keeps_incidents = keeps_incidents
        self.batches = batches
        self.at_once = at_once
        self.script = script
        self.sent: list[Message] = []
        self.tried: list[str] = []
        self.notices: list[Notice] = []
        self.most_in_flight = 0
        self.rests = 0
        self._in_flight = 0
        self._lock = threading.Lock()

    def send(self, message: Message, *, now: datetime) -> None:
        with self._lock:
            self.tried.append(message.id)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            self.script(message)
            self.sent.append(message)
        finally:
            with self._lock:
                self._in_flight -= 1

    def notify(self, notice: Notice, *, now: datetime) -> None:
        self.notices.append(notice)

    def check(self) -> str:
        return "reached"

    def rest(self) -> None:
        self.rests += 1

    def close(self) -> None:
        pass

    def told(self) -> list[tuple[str, str, int | None]]:
        """Return organization, type and level of what was accepted, in order."""
        return [told(facts) for message in self.sent for facts in message.bodies]


def told(facts: Mapping[str, Any]) -> tuple[str, str, int | None]:
    return (
        facts["organization"]["name"],
        facts["type"].removeprefix("alert."),
        facts["alert"]["level"],
    )


def refuse(**how: Any) -> Callable[[Message], None]:
    """Return a script that refuses every message."""

    def script(_: Message) -> None:
        raise DeliveryError("the receiver refused", **how)

    return script


def last_line(
    database: Database, channels: Mapping[str, RecordingChannel], clock: Clock
) -> LastLine:
    """Make one that remembers nothing outside the database."""
    return LastLine(
        database=database,
        channels=channels,
        clock=clock,
        unrecorded=lambda _: None,
        memory=NOWHERE,
    )


class Station:
    """Claims, watcher and outbox over a database: a process of quota-watch without clockwork.

    With `history` plans, limits and closed days are asked for too, as often as the
    budget lets that be, `reads_every`. With `together` all organizations are of one server and key.
    """

    def __init__(
        self,
        database: Database,
        upstream: Source,
        watched: Iterable[Watch],
        clock: Clock,
        *,
        channels: Iterable[RecordingChannel] | None = None,
        interval: timedelta = timedelta(hours=1),
        concurrency: int = 8,
        history: timedelta | None = None,
        reads_every: timedelta = ENFORCED_EVERY,
        together: bool = False,
        stretched: Callable[[Organization, timedelta], timedelta] = lambda _, configured: (
            configured
        ),
    ) -> None:
        self.database = database
        self.clock = clock
        self.interval = interval
        channels = [RecordingChannel()] if channels is None else channels
        self.channels = {channel.name: channel for channel in channels}
        watched = list(watched)
        with database.write() as connection:
            self.keys = claims.register(connection, watched, now=clock.now())
        by_key = {self.keys[each.organization]: each for each in watched}
        intervals = dict.fromkeys((each.organization for each in watched), interval)

        def pace(organization: Organization) -> timedelta:
            intervals[organization] = stretched(organization, interval)
            return intervals[organization]

        self.due = DueOrganizations(
            database=database,
            ours=by_key.keys(),
            clock=clock,
            interval=lambda: max(intervals.values(), default=interval),
            concurrency=concurrency,
        )
        self.watcher = Watcher(
            database=database,
            source=upstream,
            watches=by_key,
            channels=self.channels,
            clock=clock,
            interval=interval,
            concurrency=concurrency,
            pace=pace,
            extras=None
            if history is None
            else Extras(
                source=upstream, clock=clock, history=history, reads_every=lambda _: reads_every
            ),
            servers=dict.fromkeys(by_key, SERVER) if together else {},
            last_line=last_line(database, self.channels, clock),
        )
        self.outbox = Outbox(
            database=database, channels=self.channels, clock=clock, jitter=lambda: 0.0
        )

    def poll(self) -> list[Outcome]:
        """Poll what is due."""
        try:
            outcomes = []
            for polls, decided in self.watcher.watch(self.due.due()):
                self.due.finished([poll.claim for poll in polls])
                outcomes += decided
            return outcomes
        finally:
            self.due.finish_all()

    def deliver(self) -> None:
        """Attempt what is due, and wait until all was."""
        self.outbox.dispatch()
        assert self.outbox.wait_until_idle(60)

    def cycle(self) -> list[Outcome]:
        outcomes = self.poll()
        self.deliver()
        return outcomes
