"""What is told beside alerts: channels that fail, configs refused, organizations found.

And the last line: what is told where an alert can't be recorded because of a defect of ours. That
uses nothing of what may have failed: no template, no zone, no row of an alert.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import Connection

from quota_watch.channels.channel import Channel, DeliveryError, Notice
from quota_watch.config import Secret
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock, FileError, whole_file
from quota_watch.lib.text import iso
from quota_watch.model.account import Organization
from quota_watch.model.period import month_of
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.pipeline.enqueue import Readers, enqueue_of_none
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.story import AboutChannel, AboutConfig, AboutOther, AboutServer, Transition
from quota_watch.rules.verdict import Condition, Findings, Reason, Verdict
from quota_watch.storage import silences, stories
from quota_watch.storage.database import Database
from quota_watch.storage.days import take_notice_of_day
from quota_watch.storage.errors import StorageError
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
        conditions = {_about(each): _found(each) for each in found}
        with self._database.write() as connection:
            known = stories.stories_about(connection, Rule.DISCOVERED, conditions)
            for about, condition in conditions.items():
                if not known[about]:
                    self._tell(connection, about, Rule.DISCOVERED, condition)

    def failing(self, failing: Collection[FailingChannel]) -> None:
        """Tell on the other channels of those that keep failing, and of those that work again.

        Where the others fail too, one that works again is waited for. Where none of those that
        hear of it works, any other that does is as good.
        """
        conditions = {each.name: _failing(each) for each in failing}
        with self._database.read() as connection:
            about = [AboutChannel(name) for name in self._channels]
            known = stories.stories_about(connection, Rule.DELIVERY, about)
        concerned = [
            name
            for name in self._channels
            if name in conditions or any(story.is_open for story in known[AboutChannel(name)])
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
                    AboutChannel(name),
                    Rule.DELIVERY,
                    conditions.get(name),
                    heard_by=(meant or working) if name in conditions else others,
                )

    def config_refused(self, problems: Sequence[str]) -> None:
        """Tell that a new config was refused and the old one stays."""
        condition = Condition(
            rule=Rule.CONFIG,
            severity=Severity.WARNING,
            reason=Reason.CONFIG_REFUSED,
            detail={"problems": list(problems)},
        )
        with self._database.write() as connection:
            self._tell(connection, AboutConfig(), Rule.CONFIG, condition)

    def config_accepted(self) -> None:
        """Tell that the config is good again, if it was told that one was refused."""
        with self._database.write() as connection:
            self._tell(connection, AboutConfig(), Rule.CONFIG, None)

    def _tell(
        self,
        connection: Connection,
        about: AboutOther,
        rule: Rule,
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
            verdicts={rule: Verdict.of(None if is_event else condition)},
            events=(condition,) if condition is not None and is_event else (),
        )
        transitions = reconcile(
            findings,
            stories.stories_about(connection, rule, [about])[about],
            about=about,
            now=now,
            silences=silences.silences_of(connection, (), now=now)[None],
        )
        enqueue_of_none(
            connection,
            transitions,
            Readers(channels=tuple(self._heard_by(rule) if heard_by is None else heard_by)),
            self._channels,
            time_zone=self._time_zone,
            now=now,
        )
        return transitions


def _about(found: Found) -> AboutServer:
    return AboutServer(f"{found.organization.server} {found.organization.id}")


def _found(found: Found) -> Condition:
    return Condition(
        rule=Rule.DISCOVERED,
        severity=Severity.INFO,
        reason=Reason.DISCOVERED,
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
        detail={
            "since": iso(channel.since),
            "attempts": channel.attempts,
            "last_error": channel.last_error,
        },
    )


log = get_logger(__name__)

_TEXT = """quota-watch reads the counts of these organizations but fails to record them:

{names}

Their alerts may be missing until this is fixed.

What to do: check their usage in Rybbit yourself; find "organization not recorded" in the log
of quota-watch, and report it. Other organizations are watched as usual.

This is sent once a day while it lasts.
"""

_TEXT_OF_ALL = """A bug in quota-watch stops its work for all organizations.

Nothing may be counted or sent until this is fixed.

What to do: check their usage in Rybbit yourself; find "{job}" and the words before it in the log
of quota-watch, and report them.

This is sent once a day while it lasts.
"""


class LastLine:
    """Tells of organizations whose polls we ourselves failed on, once a day each.

    `unrecorded` is told which they are now, for health. `memory` is the file that keeps what was
    told today where the database can't.
    """

    def __init__(
        self,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        unrecorded: Callable[[Collection[str]], object] = lambda _: None,
        memory: Path | None = None,
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._unrecorded = unrecorded
        self._memory = memory
        self._failing: dict[int, Watch] = {}

    def note(self, polled: Collection[int], failing: Mapping[int, Watch]) -> None:
        """Take in which of the polled organizations we failed on, and tell of those."""
        for pk in polled:
            self._failing.pop(pk, None)
        self._failing |= failing
        self._unrecorded([watch.organization.id for watch in self._failing.values()])
        now = self._clock.now()
        due = {pk: watch for pk, watch in failing.items() if self._begins_day(pk, watch, now)}
        for name, channel in self._channels.items():
            heard = {pk: w for pk, w in due.items() if name in {*w.channels, *w.fallback}}
            if heard:
                _tell(channel, _of_some(heard, now.date()), now)

    def note_all(self, job: str) -> None:
        """Tell every channel that a job fails for all organizations."""
        now = self._clock.now()
        if not self._begins_day_beside(job, now.date()):
            return
        notice = Notice(
            id=f"defect-{now.date()}-{job}",
            title="Critical: quota-watch itself failed and watches nothing",
            text=_TEXT_OF_ALL.format(job=job),
        )
        for channel in self._channels.values():
            _tell(channel, notice, now)

    def _begins_day(self, pk: int, watch: Watch, now: datetime) -> bool:
        """Keep the day before anything is told: else every restart would say it again."""
        try:
            with self._database.write() as connection:
                return take_notice_of_day(connection, pk, now.date())
        except StorageError as error:
            log.error("database can't record sent notices", error=error)
            return self._begins_day_beside(watch.organization.id, now.date())

    def _begins_day_beside(self, subject: str, today: date) -> bool:
        """Keep the day in a file: False where it stands there already, or nothing can be kept."""
        if self._memory is None:
            return False
        told = _told_on(self._memory, today)
        if subject in told:
            return False
        try:
            with whole_file(self._memory) as file:
                json.dump({"day": today.isoformat(), "told": [*told, subject]}, file)
        except FileError as error:
            log.error("failure notice not sent", subject=subject, error=error)
            return False
        return True


def _told_on(memory: Path, today: date) -> list[str]:
    try:
        entry = json.loads(memory.read_bytes())
        return list(entry["told"]) if entry["day"] == today.isoformat() else []
    except (OSError, ValueError, LookupError, TypeError):  # none yet, or none of ours
        return []


def _of_some(heard: Mapping[int, Watch], today: date) -> Notice:
    watches = list(heard.values())
    names = [f"- {each.name} ({each.organization.id})" for each in watches]
    more = f" and {len(watches) - 1} more" if len(watches) > 1 else ""
    return Notice(
        id=f"defect-{today}-{min(heard)}",
        title=f"Critical: quota-watch itself failed on {watches[0].name}{more}",
        text=_TEXT.format(names="\n".join(names)),
    )


def _tell(channel: Channel, notice: Notice, now: datetime) -> None:
    try:
        channel.notify(notice, now=now)
    except DeliveryError as error:
        log.error("failure notice not sent", channel=channel.name, error=error)
    except Exception:  # a defect there must not keep it from the next channel
        log.exception("failure notice not sent", channel=channel.name)
    with suppress(Exception):
        channel.rest()
