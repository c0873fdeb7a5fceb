"""What is told of no organization: channels that fail, configs refused, organizations found."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from quota_watch.channels.channel import Channel
from quota_watch.config import Secret
from quota_watch.lib.clock import Clock
from quota_watch.lib.plain import iso
from quota_watch.model.organization import Organization
from quota_watch.model.period import month_of
from quota_watch.model.rule import Rule, Severity
from quota_watch.model.watch import Watch
from quota_watch.pipeline.enqueue import enqueue
from quota_watch.rules.condition import Condition, Findings
from quota_watch.rules.known import Known
from quota_watch.rules.reason import Reason
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.story import Transition
from quota_watch.storage import silences, stories
from quota_watch.storage.database import Database
from quota_watch.storage.health import FailingChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An organization that a key sees and no table of the config names.

    `limit` None: none is known, or the server has none.
    """

    organization: Organization
    name: str
    secret: Secret
    plan: str | None = None
    limit: int | None = None


_CONFIG = "config"


class Notices:
    """Keeps and enqueues such alerts, each told once, in transactions of their own.

    `heard_by` names the channels that hear of a rule, all where it is not given: what is about
    other organizations, or ourselves, is not for each one's people. All methods raise
    `StorageError`.
    """

    def __init__(
        self,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        time_zone: str,
        heard_by: Callable[[Rule], Sequence[str]] | None = None,
    ) -> None:
        self._heard_by = heard_by or (lambda _: tuple(channels))
        self._database = database
        self._channels = channels
        self._clock = clock
        self._time_zone = time_zone

    def discovered(self, found: Iterable[Found]) -> None:
        """Tell of each organization that was found, unless it was told of before."""
        conditions = {_named(each): _found(each) for each in found}
        with self._database.write() as connection:
            known = stories.stories_about(connection, conditions)
            for subject, condition in conditions.items():
                if not known[subject]:
                    self._tell(connection, Rule.DISCOVERED, subject, condition)

    def failing(self, failing: Collection[FailingChannel]) -> None:
        """Tell on the other channels of those that keep failing, and of those that work again.

        Where the others fail too, one that works again is waited for. Where none of those that
        hear of it works, any other that does is as good.
        """
        conditions = {each.name: _failing(each) for each in failing}
        with self._database.read() as connection:
            known = stories.stories_about(connection, self._channels)
        concerned = [
            name
            for name in self._channels
            if name in conditions or any(story.is_open for story in known[name])
        ]
        if not concerned:  # as nearly always: then nobody need wait for us to write
            return
        with self._database.write() as connection:
            for name in concerned:
                others = [other for other in self._channels if other != name]
                working = [other for other in others if other not in conditions]
                if name in conditions and others and not working:
                    continue
                meant = [other for other in self._heard_by(Rule.DELIVERY) if other in working]
                self._tell(
                    connection,
                    Rule.DELIVERY,
                    name,
                    conditions.get(name),
                    heard_by=(meant or working) if name in conditions else others,
                )

    def config_refused(self, problems: Sequence[str]) -> None:
        """Tell that a new config was refused and the old one stays."""
        condition = Condition(
            rule=Rule.CONFIG,
            severity=Severity.WARNING,
            reason=Reason.CONFIG_REFUSED,
            subject=_CONFIG,
            detail={"problems": list(problems)},
        )
        with self._database.write() as connection:
            self._tell(connection, Rule.CONFIG, _CONFIG, condition)

    def config_accepted(self) -> None:
        """Tell that the config is good again, if it was told that one was refused."""
        with self._database.write() as connection:
            self._tell(connection, Rule.CONFIG, _CONFIG, None)

    def _tell(
        self,
        connection: Connection,
        rule: Rule,
        subject: str,
        condition: Condition | None,
        *,
        heard_by: Sequence[str] | None = None,
    ) -> list[Transition]:
        now = self._clock.now()
        period = month_of(now.date())
        is_event = condition is not None and condition.is_event
        findings = Findings(
            period=period,
            limit=None,
            judged=frozenset({rule}),
            conditions={} if condition is None or is_event else {rule: condition},
            events=(condition,) if condition is not None and is_event else (),
        )
        told = stories.stories_about(connection, [subject])[subject]
        transitions = reconcile(
            findings,
            [story for story in told if story.rule is rule],
            organization=None,
            now=now,
            silences=silences.silences_of(connection, (), now=now)[None],
        )
        names = tuple(self._heard_by(rule) if heard_by is None else heard_by)
        watch = watch_of_none(subject, channels=names, time_zone=self._time_zone)
        known = Known(watch=watch, period=period, at=now)
        enqueue(connection, transitions, None, watch, known, self._channels)
        return transitions


def watch_of_none(name: str, *, channels: Sequence[str], time_zone: str = "UTC") -> Watch:
    """Return a watch of no organization, for what is about a server, a channel or the config."""
    return Watch(
        organization=Organization(name, ""),
        name=name,
        plan=None,
        limit=None,
        limit_source="none",
        drops=False,
        not_counted=frozenset(),
        thresholds=(),
        blind_after=None,
        channels=tuple(channels),
        time_zone=time_zone,
    )


def _named(found: Found) -> str:
    return f"{found.organization.server} {found.organization.id}"


def _found(found: Found) -> Condition:
    return Condition(
        rule=Rule.DISCOVERED,
        severity=Severity.INFO,
        reason=Reason.DISCOVERED,
        subject=_named(found),
        is_event=True,
        detail={
            "id": found.organization.id,
            "server": found.organization.server,
            "name": found.name,
            "plan": found.plan,
            "limit": found.limit,
        },
    )


def _failing(channel: FailingChannel) -> Condition:
    return Condition(
        rule=Rule.DELIVERY,
        severity=Severity.WARNING,
        reason=Reason.CHANNEL_FAILS,
        subject=channel.name,
        detail={
            "since": iso(channel.since),
            "attempts": channel.attempts,
            "last_error": channel.last_error,
        },
    )
