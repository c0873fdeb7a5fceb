"""Periodic reports: made when they are due, one message per channel, each told once."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from quota_watch.channels.channel import Channel
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.messages.facts import Facts
from quota_watch.messages.report import report_facts
from quota_watch.model.schedule import (
    QuietHours,
    ReportKind,
    ReportSpan,
    due_report,
    until_quiet_ends,
)
from quota_watch.model.watch import Watch
from quota_watch.storage import deliveries
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import Envelope, delivery_id
from quota_watch.views import reports as stored

log = get_logger(__name__)

_PATIENCE = timedelta(hours=6)
"""How long a report waits until all it tells of was polled; then it says what is not known."""


_ALL: Mapping[str, Sequence[str]] = {}


class Reports:
    """Enqueues the reports of the channels that `names` lists by kind.

    What `watches` are of, who hears of each, and the `groups` that a channel reads of decide what
    its report tells of.
    """

    def __init__(
        self,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        watches: Sequence[Watch],
        names: Mapping[ReportKind, Sequence[str]],
        clock: Clock,
        time_zone: str,
        groups: Mapping[str, Sequence[str]] = _ALL,
        quiet: QuietHours | None = None,
        public_url: str | None = None,
    ) -> None:
        self._database = database
        self._channels = channels
        self._watches = watches
        self._names = names
        self._clock = clock
        self._time_zone = time_zone
        self._groups = groups
        self._quiet = quiet
        self._public_url = public_url

    def enqueue_due(self) -> list[str]:
        """Enqueue what is due and not enqueued yet, and return the ids of its deliveries.

        Raises `StorageError`.
        """
        now = self._clock.now()
        done = []
        for kind, names in self._names.items():
            span = due_report(kind, now=now, time_zone=self._time_zone)
            if span is not None:
                done += self._enqueue(span, self._hearing(names), now)
        return done

    def _hearing(self, names: Sequence[str]) -> list[tuple[Channel, str]]:
        channels = [self._channels[name] for name in dict.fromkeys(names)]
        # A report is no incident: it has no end.
        return [
            (each, to) for each in channels if not each.keeps_incidents for to in each.recipients
        ]

    def _enqueue(
        self, span: ReportSpan, hearing: Sequence[tuple[Channel, str]], now: datetime
    ) -> list[str]:
        with self._database.read() as connection:
            told = stored.told(connection, span)
            missing = [(channel, to) for channel, to in hearing if (channel.name, to) not in told]
            if not missing or not self._is_time(connection, span, now):
                return []
            facts = {
                channel.name: self._facts(connection, channel, span, now) for channel, _ in missing
            }
        envelopes = [self._envelope(span, facts[to[0].name], *to, now) for to in missing]
        with self._database.write() as connection:
            deliveries.put(connection, envelopes, now=now)
        log.info("report made", report=span.id, deliveries=len(envelopes))
        return [each.id for each in envelopes]

    def _is_time(self, connection: Connection, span: ReportSpan, now: datetime) -> bool:
        if stored.is_ready(connection, self._watches, span):
            return True
        late = now >= span.due_at + _PATIENCE
        return late and stored.is_known(connection, self._watches, span)

    def _facts(
        self, connection: Connection, channel: Channel, span: ReportSpan, now: datetime
    ) -> Facts:
        return facts_for(
            connection,
            watches_of(channel.name, self._watches, self._groups.get(channel.name, ())),
            span,
            now=now,
            time_zone=self._time_zone,
            public_url=self._public_url,
        )

    def _envelope(
        self,
        span: ReportSpan,
        facts: Facts,
        channel: Channel,
        recipient: str,
        now: datetime,
    ) -> Envelope:
        return Envelope(
            id=delivery_id(span.id, channel.name, recipient),
            transition_id=span.id,
            alert_pk=None,
            channel=channel.name,
            recipient=recipient,
            type=facts.type,
            severity=facts.alert.severity,
            facts=facts.to_json(),
            quiet=self._quiet,
            not_before=until_quiet_ends(self._quiet, now),
            expires_at=span.expires_at + _PATIENCE,
        )


def facts_for(
    connection: Connection,
    watches: Sequence[Watch],
    span: ReportSpan,
    *,
    now: datetime,
    time_zone: str,
    public_url: str | None,
) -> Facts:
    """Return the body of a report about these organizations, from what is known now."""
    entries = stored.organizations(connection, watches, span, now=now)
    own = stored.own_affairs(connection, span, now=now)
    return report_facts(span, entries, own, now=now, time_zone=time_zone, public_url=public_url)


def watches_of(channel: str, watches: Sequence[Watch], groups: Sequence[str] = ()) -> list[Watch]:
    """Choose what a channel's report is about: its `groups`, where there are any.

    Else the organizations that tell this channel of alerts; all, where none does: nobody reads of
    organizations that are not theirs because they hear of some.
    """
    if groups:
        return [each for each in watches if each.group in groups]
    return [each for each in watches if channel in _named(each)] or list(watches)


def _named(watch: Watch) -> Iterator[str]:
    yield from watch.channels
    for variant in watch.variants.values():
        yield from variant.channels
