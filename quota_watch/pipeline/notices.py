"""What is sent beside an organization's alerts, each once: notices and periodic reports.

Notices are of channels that fail, configs that were refused, and organizations that were found.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from quota_watch.channels.channel import Channel
from quota_watch.config import Secret
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.lib.text import iso
from quota_watch.messages.facts import Facts
from quota_watch.messages.report import report_facts
from quota_watch.model.schedule import (
    QuietHours,
    ReportKind,
    ReportSpan,
    due_report,
    until_quiet_ends,
)
from quota_watch.model.source import Organization
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.pipeline.enqueue import enqueue_of_none, envelopes
from quota_watch.rules.story import AboutChannel, AboutConfig, AboutOther, AboutServer
from quota_watch.rules.verdict import Condition, Reason
from quota_watch.storage import deliveries, stories
from quota_watch.storage.attempts import FailingChannel
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import Envelope
from quota_watch.views import reports as stored

log = get_logger(__name__)

_PATIENCE = timedelta(hours=6)
"""How long a report waits until all its organizations were polled; then it names the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """An organization that a key sees and no table of the config names.

    `limit` None: none is known, or the server has none.
    """

    organization: Organization
    name: str
    secret: Secret
    plan: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Records and enqueues notices, each once, in transactions of their own.

    `channels_of` returns the channels that get those of a rule: what is about other organizations,
    or quota-watch itself, is not for each organization's people. All methods raise `StorageError`.
    """

    database: Database
    channels: Mapping[str, Channel]
    clock: Clock
    time_zone: str
    channels_of: Callable[[Rule], Sequence[str]]

    def discovered(
        self, discoveries: Iterable[Discovery], *, watched: Collection[Organization]
    ) -> None:
        """Report each organization that was found, unless it was reported before.

        `watched` are those that are polled from now on.
        """
        conditions = {
            AboutServer(f"{each.organization.server} {each.organization.id}"): _found(
                each, is_watched=each.organization in watched
            )
            for each in discoveries
        }
        with self.database.write() as connection:
            known = stories.stories_about(connection, Rule.DISCOVERED, conditions)
            for about, condition in conditions.items():
                if not known[about]:
                    self._enqueue(connection, about, Rule.DISCOVERED, condition)

    def failing(self, failing: Collection[FailingChannel]) -> None:
        """Report channels that keep failing, and those that work again, on the other channels.

        Where the others fail too, the report waits until one works again. Where none of those that
        get it works, any other that does is as good.
        """
        conditions = {each.name: _failing(each) for each in failing}
        with self.database.read() as connection:
            about = [AboutChannel(name) for name in self.channels]
            known = stories.stories_about(connection, Rule.DELIVERY, about)
        concerned = [
            name
            for name in self.channels
            if name in conditions or any(story.is_open for story in known[AboutChannel(name)])
        ]
        if not concerned:  # as nearly always: then nobody need wait for us to write
            return
        with self.database.write() as connection:
            for name in concerned:
                to = [other for other in self.channels if other != name]
                if name in conditions and to:
                    working = [other for other in to if other not in conditions]
                    if not working:
                        continue
                    readers = self.channels_of(Rule.DELIVERY)
                    to = [other for other in readers if other in working] or working
                self._enqueue(
                    connection, AboutChannel(name), Rule.DELIVERY, conditions.get(name), to=to
                )

    def config(self, problems: Sequence[str]) -> None:
        """Report that a new config was refused for these problems, and the old one stays in force.

        Where there are none, that it is good again, if one was refused before.
        """
        condition = Condition(
            rule=Rule.CONFIG,
            severity=Severity.WARNING,
            reason=Reason.CONFIG_REFUSED,
            detail={"problems": list(problems)},
        )
        with self.database.write() as connection:
            self._enqueue(connection, AboutConfig(), Rule.CONFIG, condition if problems else None)

    def _enqueue(
        self,
        connection: Connection,
        about: AboutOther,
        rule: Rule,
        condition: Condition | None,
        *,
        to: Sequence[str] | None = None,
    ) -> None:
        enqueue_of_none(
            connection,
            about,
            rule,
            condition,
            self.channels,
            to=self.channels_of(rule) if to is None else to,
            time_zone=self.time_zone,
            now=self.clock.now(),
        )


def _found(discovery: Discovery, *, is_watched: bool) -> Condition:
    return Condition(
        rule=Rule.DISCOVERED,
        severity=Severity.INFO,
        reason=Reason.DISCOVERED,
        is_event=True,
        detail={
            "id": discovery.organization.id,
            "server": discovery.organization.server,
            "name": discovery.name,
            "plan": discovery.plan,
            "limit": discovery.limit,
            "watched": is_watched,
        },
    )


def _failing(channel: FailingChannel) -> Condition:
    return Condition(
        rule=Rule.DELIVERY,
        severity=Severity.WARNING,
        reason=Reason.CHANNEL_FAILS,
        detail={
            "since": iso(channel.since),
            "attempts": channel.attempts,
            "last_error": channel.last_error,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Enqueues the reports of the channels that `names` lists by kind.

    A channel's report is about those of `watches` that `watches_of` chooses, by the `groups` listed
    for it.
    """

    database: Database
    channels: Mapping[str, Channel]
    watches: Sequence[Watch]
    names: Mapping[ReportKind, Sequence[str]]
    clock: Clock
    time_zone: str
    groups: Mapping[str, Sequence[str]]
    quiet: QuietHours | None
    public_url: str | None

    def enqueue_due(self) -> None:
        """Enqueue what is due and not enqueued yet; raises `StorageError`."""
        now = self.clock.now()
        for kind, names in self.names.items():
            span = due_report(kind, now=now, time_zone=self.time_zone)
            if span is not None:
                self._enqueue(span, [self.channels[each] for each in dict.fromkeys(names)], now)

    def _enqueue(self, span: ReportSpan, channels: Sequence[Channel], now: datetime) -> None:
        outgoing: list[Envelope] = []
        with self.database.read() as connection:
            receivers = deliveries.receivers_of_report(connection, span.id)
            for channel in channels:
                missing = [
                    (channel, to)
                    for to in channel.recipients
                    if (channel.name, to) not in receivers
                ]
                if channel.keeps_incidents or not missing:  # a report is no incident: it has no end
                    continue
                is_late = now >= span.due_at + _PATIENCE
                if not stored.is_ready(connection, self.watches, span, is_late=is_late):
                    return
                facts = facts_for(
                    connection,
                    watches_of(channel.name, self.watches, self.groups.get(channel.name, ())),
                    span,
                    now=now,
                    time_zone=self.time_zone,
                    public_url=self.public_url,
                )
                outgoing += [
                    replace(
                        each,
                        not_before=until_quiet_ends(self.quiet, now),
                        expires_at=span.expires_at + _PATIENCE,
                    )
                    for each in envelopes(facts, missing, quiet=self.quiet)
                ]
        if outgoing:
            with self.database.write() as connection:
                deliveries.put(connection, outgoing, now=now)
            log.info("report made", report=span.id, deliveries=len(outgoing))


def facts_for(
    connection: Connection,
    watches: Sequence[Watch],
    span: ReportSpan,
    *,
    now: datetime,
    time_zone: str,
    public_url: str | None,
) -> Facts:
    """Return the facts of a report about these organizations, from what is known now."""
    return report_facts(
        span,
        stored.organizations(connection, watches, span, now=now),
        stored.own_affairs(connection, span, now=now),
        now=now,
        time_zone=time_zone,
        public_url=public_url,
    )


def watches_of(channel: str, watches: Sequence[Watch], groups: Sequence[str] = ()) -> list[Watch]:
    """Choose what a channel's report is about: its `groups`, where there are any.

    Else the organizations whose alerts this channel gets; all, where it gets none: nobody reads of
    organizations that are not theirs because they get alerts of some.
    """
    if groups:
        return [each for each in watches if each.group in groups]
    return [each for each in watches if channel in _channel_names(each)] or list(watches)


def _channel_names(watch: Watch) -> Iterator[str]:
    yield from watch.channels
    for variant in watch.variants.values():
        yield from variant.channels
