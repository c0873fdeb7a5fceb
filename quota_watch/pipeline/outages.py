"""What is sent where many organizations, or quota-watch itself, fail at once.

Where all organizations of a server or key fail alike that is one alert, not one for each. The last
line is sent where an alert can't be recorded because of a defect of ours: it uses nothing of what
may have failed, no template, no zone, no row of an alert.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row

from quota_watch.channels.channel import Channel, DeliveryError, Notice
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock, FileError, whole_file
from quota_watch.lib.text import iso
from quota_watch.model.watch import Rule, Watch
from quota_watch.pipeline.enqueue import Readers, enqueue_of_none
from quota_watch.pipeline.poll import Poll
from quota_watch.rules.known import Known
from quota_watch.rules.reconcile import reconcile
from quota_watch.rules.story import AboutOther, AboutServer, Silence, Story, Transition, is_silenced
from quota_watch.rules.verdict import Condition, Findings, Reason, Verdict
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """An organization that is blind together with the others of its server or key.

    `silenced`: its own people are not to get it.
    """

    known: Known
    condition: Condition
    silenced: bool


class Outages:
    """Knows which organizations share a server or key: `servers` names it for each of them."""

    def __init__(self, *, servers: Mapping[int, str], channels: Mapping[str, Channel]) -> None:
        self._servers = servers
        self._channels = channels
        self._members: dict[str, set[int]] = {}
        for pk, server in servers.items():
            self._members.setdefault(server, set()).add(pk)

    def among(
        self, transaction: Connection, polls: Iterable[Poll], rows: Mapping[int, Row[Any]]
    ) -> "BatchOutages":
        """Find the servers or keys that fail as a whole, these polls included."""
        by_server: dict[str, list[Poll]] = {}
        for poll in polls:
            server = self._servers.get(poll.claim.pk)
            if server is not None and len(self._members[server]) > 1:
                by_server.setdefault(server, []).append(poll)
        failing = {
            server
            for server, its in by_server.items()
            if any(poll.error and rows[poll.claim.pk].failing_since for poll in its)
            and self._fails(transaction, server, its)
        }
        seeing = {server for server, its in by_server.items() if any(not p.error for p in its)}
        return BatchOutages(
            servers=self._servers,
            failing=frozenset(failing),
            stories=stories.stories_about(
                transaction, Rule.BLIND, [AboutServer(server) for server in failing | seeing]
            ),
            channels=self._channels,
            sizes={server: len(self._members[server]) for server in by_server},
        )

    def _fails(self, transaction: Connection, server: str, polls: Sequence[Poll]) -> bool:
        kinds = {poll.error.kind if poll.error else None for poll in polls}
        if len(kinds) > 1 or None in kinds:
            return False
        others = self._members[server] - {poll.claim.pk for poll in polls}
        return failing_alike(transaction, others, kind=kinds.pop() or "")


@dataclass(slots=True, kw_only=True)
class BatchOutages:
    """The servers in one batch of polls that fail as a whole, and their stories."""

    servers: Mapping[int, str]
    failing: frozenset[str]
    stories: Mapping[AboutOther, list[Story]]
    channels: Mapping[str, Channel]
    sizes: Mapping[str, int]
    blind: dict[str, dict[int, Blind]] = field(default_factory=dict)

    def without_outages(self, findings: Findings, pk: int, known: Known) -> Findings:
        """Take blindness out of the findings where it is reported for the whole server or key."""
        server = self.servers.get(pk)
        condition = findings.conditions.get(Rule.BLIND)
        if server not in self.failing or condition is None:
            return findings
        silenced = is_silenced(known.silences, Rule.BLIND, known.at)
        blind = Blind(known=known, condition=condition, silenced=silenced)
        self.blind.setdefault(server, {})[pk] = blind
        verdicts = dict(findings.verdicts)
        del verdicts[Rule.BLIND]
        return replace(findings, verdicts=verdicts)

    def enqueue(
        self, transaction: Connection, known: Known, silences: Sequence[Silence]
    ) -> list[Transition]:
        """Enqueue alerts of servers that are blind or see again; `known` is of any poll."""
        transitions = []
        silenced = is_silenced(silences, Rule.BLIND, known.at)
        for about, history in self.stories.items():
            server = about.name
            blind = list(self.blind.get(server, {}).values())
            if server in self.failing and not blind:
                continue
            if blind and not silenced and all(each.silenced for each in blind):
                continue  # those whose people may get it come with another batch, if any
            if not blind and not any(story.is_open for story in history):
                continue
            transitions += self._enqueue(transaction, about, blind, known, history, silences)
        return transitions

    def _enqueue(
        self,
        transaction: Connection,
        about: AboutOther,
        blind: Sequence[Blind],
        known: Known,
        stories: Sequence[Story],
        silences: Sequence[Silence],
    ) -> list[Transition]:
        condition = self._condition(about.name, blind, known.at) if blind else None
        findings = Findings(
            period=known.period,
            limit=None,
            verdicts={Rule.BLIND: Verdict.of(condition)},
        )
        transitions = reconcile(findings, stories, about=about, now=known.at, silences=silences)
        watches = [each.known.watch for each in blind if not each.silenced]
        channels = dict.fromkeys(name for each in watches for name in each.of(Rule.BLIND).channels)
        if not blind:  # whoever got the alert gets its end
            channels = dict.fromkeys(self.channels)
        zone = blind[0].known.watch.time_zone if blind else "UTC"
        enqueue_of_none(
            transaction,
            transitions,
            Readers(channels=tuple(channels)),
            self.channels,
            time_zone=zone,
            now=known.at,
        )
        return transitions

    def _condition(self, server: str, blind: Sequence[Blind], now: datetime) -> Condition:
        trouble = blind[0].known.trouble
        return Condition(
            rule=Rule.BLIND,
            severity=max(each.condition.severity for each in blind),
            reason=Reason.ALL_POLLS_FAIL,
            detail={
                "organizations": self.sizes[server],
                "names": _named(blind),
                "since": iso(trouble.since if trouble else now),
                "kind": trouble.kind if trouble else None,
                "error": trouble.message if trouble else None,
            },
            remind_every=blind[0].condition.remind_every,
        )


def _named(blind: Sequence[Blind]) -> list[str]:
    """Return names of the organizations, where whoever gets alerts of one gets those of all."""
    audiences = {frozenset(each.known.watch.of(Rule.BLIND).channels) for each in blind}
    return [each.known.watch.name for each in blind[:_NAMED]] if len(audiences) == 1 else []


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
        """Take in which of the polled organizations we failed on, and send notices of those."""
        for pk in polled:
            self._failing.pop(pk, None)
        self._failing |= failing
        self._unrecorded([watch.organization.id for watch in self._failing.values()])
        now = self._clock.now()
        due = {pk: watch for pk, watch in failing.items() if self._begins_day(pk, watch, now)}
        for name, channel in self._channels.items():
            its = {pk: w for pk, w in due.items() if name in {*w.channels, *w.fallback}}
            if its:
                _notify(channel, _of_some(its, now.date()), now)

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
        if self._memory is None:
            return False
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


def _of_some(by_key: Mapping[int, Watch], today: date) -> Notice:
    watches = list(by_key.values())
    names = [f"- {each.name} ({each.organization.id})" for each in watches]
    more = f" and {len(watches) - 1} more" if len(watches) > 1 else ""
    return Notice(
        id=f"defect-{today}-{min(by_key)}",
        title=f"Critical: quota-watch itself failed on {watches[0].name}{more}",
        text=_TEXT.format(names="\n".join(names)),
    )


def _notify(channel: Channel, notice: Notice, now: datetime) -> None:
    try:
        channel.notify(notice, now=now)
    except DeliveryError as error:
        log.error("failure notice not sent", channel=channel.name, error=error)
    except Exception:  # a defect there must not keep it from the next channel
        log.exception("failure notice not sent", channel=channel.name)
    with suppress(Exception):
        channel.rest()
