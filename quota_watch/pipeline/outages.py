"""What is sent where many organizations, or quota-watch itself, fail at once.

Where all organizations of a server or key fail alike that is one alert, not one for each. The last
line is sent where an alert can't be recorded because of a defect of ours: it uses nothing of what
may have failed, no template, no zone, no row of an alert.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.channels.channel import Channel, DeliveryError, Notice
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock, FileError, whole_file
from quota_watch.lib.text import iso
from quota_watch.model.watch import Rule, Watch
from quota_watch.pipeline.enqueue import enqueue_of_none
from quota_watch.pipeline.poll import Outcome, Poll
from quota_watch.rules.known import Known
from quota_watch.rules.story import AboutOther, AboutServer, is_silenced
from quota_watch.rules.verdict import Findings, Reason
from quota_watch.storage import StorageError, stories
from quota_watch.storage.database import Database
from quota_watch.storage.organizations import begin_day_of_notice, failing_alike

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

_NAMED = 10


class Outages:
    """Knows which organizations share a server or key: `servers` names it for each of them."""

    def __init__(self, *, servers: Mapping[int, str], channels: Mapping[str, Channel]) -> None:
        self._servers = servers
        self._channels = channels
        members = defaultdict[str, set[int]](set)
        for pk, server in servers.items():
            members[server].add(pk)
        self._members = {server: pks for server, pks in members.items() if len(pks) > 1}

    def failing(
        self, transaction: Connection, polls: Iterable[Poll], rows: Mapping[int, Row[Any]]
    ) -> set[str]:
        """Find the servers or keys that fail as a whole, these polls included."""
        by_server = defaultdict[str, list[Poll]](list)
        for poll in polls:
            by_server[self._servers.get(poll.claim.pk, "")].append(poll)
        failing = set()
        for server in by_server.keys() & self._members.keys():
            its = by_server[server]
            kinds = {poll.error.kind if poll.error else None for poll in its}
            kind = kinds.pop()
            if kinds or kind is None or not any(rows[p.claim.pk].failing_since for p in its):
                continue
            others = self._members[server] - {poll.claim.pk for poll in its}
            if failing_alike(transaction, others, kind=kind):
                failing.add(server)
        return failing

    def own_findings(self, findings: Findings, pk: int, failing: Collection[str]) -> Findings:
        """Take blindness out of an organization's findings where it is that of a `failing` server.

        It is reported for the whole server or key then.
        """
        if self._servers.get(pk) not in failing:
            return findings
        verdicts = dict(findings.verdicts)
        verdicts.pop(Rule.BLIND, None)
        return replace(findings, verdicts=verdicts)

    def enqueue(
        self, transaction: Connection, outcomes: Sequence[Outcome], failing: Collection[str]
    ) -> None:
        """Enqueue alerts of the `failing` servers, where they are blind, and of those that see."""
        now = outcomes[-1].known.at
        blind: dict[AboutOther, list[Outcome]] = {}
        for outcome in outcomes:
            server = self._servers.get(outcome.poll.claim.pk, "")
            if server in failing:
                if Rule.BLIND in outcome.findings.conditions:
                    blind.setdefault(AboutServer(server), []).append(outcome)
            elif server in self._members and outcome.poll.error is None:
                blind[AboutServer(server)] = []
        for about, history in stories.stories_about(transaction, Rule.BLIND, blind).items():
            if blind[about]:
                self._enqueue_blind(transaction, about, blind[about], now)
            elif any(story.is_open for story in history):  # whoever got the alert gets its end
                enqueue_of_none(
                    transaction,
                    about,
                    Rule.BLIND,
                    None,
                    self._channels,
                    to=tuple(self._channels),
                    time_zone="UTC",
                    now=now,
                )

    def _enqueue_blind(
        self, transaction: Connection, about: AboutOther, blind: Sequence[Outcome], now: datetime
    ) -> None:
        knowns = [each.known for each in blind]
        watches = [
            each.watch.of(Rule.BLIND)
            for each in knowns
            if not is_silenced(each.silences, Rule.BLIND, now)
        ]
        silences = stories.silences_of(transaction, (), now=now)
        if not watches and not is_silenced(silences[None], Rule.BLIND, now):
            return  # those whose people may get it come with another batch, if any
        conditions = [each.findings.conditions[Rule.BLIND] for each in blind]
        trouble = knowns[0].trouble
        condition = replace(
            conditions[0],
            severity=max(each.severity for each in conditions),
            reason=Reason.ALL_POLLS_FAIL,
            detail={
                "organizations": len(self._members[about.name]),
                "names": _named(knowns),
                "since": iso(trouble.since if trouble else now),
                "kind": trouble.kind if trouble else None,
                "error": trouble.message if trouble else None,
            },
        )
        enqueue_of_none(
            transaction,
            about,
            Rule.BLIND,
            condition,
            self._channels,
            to=tuple(dict.fromkeys(name for each in watches for name in each.channels)),
            time_zone=knowns[0].watch.time_zone,
            now=now,
        )


def _named(knowns: Sequence[Known]) -> list[str]:
    """Return names of the organizations, where whoever gets alerts of one gets those of all."""
    audiences = {frozenset(each.watch.of(Rule.BLIND).channels) for each in knowns}
    return [each.watch.name for each in knowns[:_NAMED]] if len(audiences) == 1 else []


class LastLine:
    """Sends a notice of each organization that we ourselves failed on, once a day.

    `unrecorded` is called with those that fail now, for health. `memory` is the file that holds
    what was sent today where the database can't.
    """

    def __init__(
        self,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        unrecorded: Callable[[Collection[str]], object],
        memory: Path,
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._unrecorded = unrecorded
        self._memory = memory
        self._failing: dict[int, Watch] = {}

    def note(self, polled: Collection[int], failing: Mapping[int, Watch]) -> None:
        """Take in which of the polled organizations we failed on, and send notices of those."""
        for pk in polled:
            self._failing.pop(pk, None)
        self._failing |= failing
        self._unrecorded([watch.organization.id for watch in self._failing.values()])
        now = self._clock.now()
        due = {pk: watch for pk, watch in failing.items() if self._begins_day(pk, watch, now)}
        for name, channel in self._channels.items():
            its = {pk: w for pk, w in due.items() if name in {*w.channels, *w.fallback}}
            if not its:
                continue
            names = [f"- {each.name} ({each.organization.id})" for each in its.values()]
            more = f" and {len(its) - 1} more" if len(its) > 1 else ""
            first = next(iter(its.values()))
            notice = Notice(
                id=f"defect-{now.date()}-{min(its)}",
                title=f"Critical: quota-watch itself failed on {first.name}{more}",
                text=_TEXT.format(names="\n".join(names)),
            )
            _notify(channel, notice, now)

    def note_all(self, job: str) -> None:
        """Notify every channel that a job fails for all organizations."""
        now = self._clock.now()
        if not self._begins_day_beside(job, now.date()):
            return
        notice = Notice(
            id=f"defect-{now.date()}-{job}",
            title="Critical: quota-watch itself failed and watches nothing",
            text=_TEXT_OF_ALL.format(job=job),
        )
        for channel in self._channels.values():
            _notify(channel, notice, now)

    def _begins_day(self, pk: int, watch: Watch, now: datetime) -> bool:
        """Record the day before anything is sent: else every restart would send it again."""
        try:
            with self._database.write() as connection:
                return begin_day_of_notice(connection, pk, now.date())
        except StorageError as error:
            log.error("database can't record sent notices", error=error)
            return self._begins_day_beside(watch.organization.id, now.date())

    def _begins_day_beside(self, subject: str, today: date) -> bool:
        """Record the day in a file; False if it is there already or can't be written."""
        subjects = _subjects_of(self._memory, today)
        if subject in subjects:
            return False
        try:
            with whole_file(self._memory) as file:
                json.dump({"day": today.isoformat(), "told": [*subjects, subject]}, file)
        except FileError as error:
            log.error("failure notice not sent", subject=subject, error=error)
            return False
        return True


def _subjects_of(memory: Path, today: date) -> list[str]:
    try:
        entry = json.loads(memory.read_bytes())
        return list(entry["told"]) if entry["day"] == today.isoformat() else []
    except (OSError, ValueError, LookupError, TypeError):  # none yet, or none of ours
        return []


def _notify(channel: Channel, notice: Notice, now: datetime) -> None:
    try:
        channel.notify(notice, now=now)
    except DeliveryError as error:
        log.error("failure notice not sent", channel=channel.name, error=error)
    except Exception:  # a defect there must not keep it from the next channel
        log.exception("failure notice not sent", channel=channel.name)
    with suppress(Exception):
        channel.rest()
