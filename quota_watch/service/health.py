"""Whether the watch works: judged from what its jobs note and its database shows, and reported.

Reported to systemd (`Notifier`), to the heartbeat's URL (`Heartbeat`), to page and `check`.
"""

import os
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus

from sqlalchemy import Connection

from quota_watch.channels.channel import why_unreached
from quota_watch.lib.http import Client, glance
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.lib.network import HttpError
from quota_watch.lib.text import one_line, plural, span
from quota_watch.lib.urls import parse_url
from quota_watch.pipeline.poll import Poll
from quota_watch.storage import DatabaseLost, StorageError, claims, deliveries, upkeep
from quota_watch.storage.database import Database, clock_of, prove_write

log = get_logger(__name__)

WATCHED = frozenset({"poll", "deliver", "self-check"})
"""The jobs without which the watch does not work: one that hangs is a reason to restart."""

HUNG_SECONDS = 60.0
"""A job that has neither ended nor progressed for so long hangs: each of its waits is shorter."""

STORE_SECONDS = 90.0
"""How long a failed write counts though others succeed: what failed is retried by then."""

PROOF_SECONDS = 30.0
"""Idle time of the database before the self-check makes a test write."""

UNTOLD_AFTER = timedelta(minutes=15)
"""How long a critical alert may be on its way."""

CLOCKS_APART = timedelta(seconds=5)
"""From here on two daemons on one database would take each other's leases for expired."""

_NOTIFY_SECONDS = 1.0
"""How long to wait for room in systemd's queue; notifying it must never hold up the watch."""

_PING_SECONDS = 10.0
_ANSWER_BYTES = 65_536
_WITHHELD_SECONDS = 60.0
"""How long a due ping is withheld before it is logged: right after a start all is unknown."""


class Health:
    """Collects signs from jobs, database writes and self-checks, and judges them.

    Three judgements, each a list of sentences that is empty where all is well: `hung` (only a
    restart helps), `reasons` (the scheduler is stuck or the database takes no write) and
    `doubts` (those, and what else makes alerts unreliable). Any thread may note and ask: each note
    is a single assignment, and what grows is copied before it is gone through.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._moved: dict[str, float] = {}
        self._written: float | None = None
        self._refused: tuple[float, str] | None = None
        self._unanswered = ""
        self._unrecorded = 0
        self._broken_since: dict[str, float] = {}
        self._stuck: dict[str, float] = {}
        self._unsure: Sequence[str] = ()
        self.lost = ""
        """Why this process can't continue with its database, once that is so."""

    def moved(self, job: str) -> None:
        """Note that a job began, progressed or ended; from the first time on that is expected."""
        if job in WATCHED:
            self._moved[job] = self._clock.monotonic()

    def wrote(self, failure: str | None) -> None:
        """Note how a write to the database ended: None where it was committed."""
        now = self._clock.monotonic()
        if failure is None:
            self._written = now
        else:
            self._refused = now, failure

    def answered(self, failure: str = "") -> None:
        """Note whether the database answered the last self-check, and if not, why."""
        self._unanswered = failure

    def broke(self, job: str) -> float:
        """Note that a bug ended the job's last run; return for how many seconds that goes on."""
        now = self._clock.monotonic()
        return now - self._broken_since.setdefault(job, now) if job in WATCHED else 0.0

    def worked(self, job: str) -> None:
        """Note that the job's last run came to its end."""
        self._broken_since.pop(job, None)

    def unrecorded(self, organizations: Collection[str]) -> None:
        """Note the organizations whose last poll a bug kept from being recorded."""
        self._unrecorded = len(organizations)

    def inspected(self, *, stuck: Iterable[str], unsure: Sequence[str]) -> None:
        """Note what a self-check found: work that is stuck, and why alerts are unreliable."""
        now = self._clock.monotonic()
        self._stuck = {what: self._stuck.get(what, now) for what in stuck}
        self._unsure = unsure

    def lose(self, why: str) -> None:
        """Note that this process can't continue with its database."""
        self.lost = self.lost or why

    def needs_proof(self) -> bool:
        """Whether only a test write can show that the database takes one: no other did lately."""
        latest = self._clock.monotonic() - PROOF_SECONDS
        is_fresh = self._written is not None and self._written >= latest
        return not is_fresh or bool(self._unanswered or self._refusal())

    def trusts_store(self) -> bool:
        """Whether the database answers and takes every write."""
        return not self._store_trouble()

    def hung(self) -> list[str]:
        """List what neither ends nor progresses, and would not without a restart."""
        latest = self._clock.monotonic() - HUNG_SECONDS
        jobs = [job for job, at in sorted(self._moved.items()) if at < latest]
        stuck = [what for what, since in self._stuck.items() if since < latest]
        return [f"{job} has made no progress for {HUNG_SECONDS:.0f} s" for job in jobs] + stuck

    def reasons(self) -> list[str]:
        """List why the watch does not work: it hangs, or its database takes no write."""
        broken = sorted(self._broken_since)
        reasons = [*self.hung(), *self._store_trouble()]
        reasons += [f"{job} fails because of a bug: see the log" for job in broken]
        if self._unrecorded:
            polls = f"polls of {plural(self._unrecorded, 'organization')}"
            reasons.append(f"{polls} can't be recorded, because of a bug: see the log")
        return reasons

    def doubts(self) -> list[str]:
        """List why alerts are unreliable; the heartbeat is withheld for these."""
        return [*self.reasons(), *self._unsure]

    def _store_trouble(self) -> list[str]:
        if self.lost:
            return [self.lost]
        if self._unanswered:
            return [f"the database does not answer: {self._unanswered}"]
        refusal = self._refusal()
        return [f"the database can't be written: {refusal}"] if refusal else []

    def _refusal(self) -> str:
        # A full disk may still take a small write, and refuse the next one that matters.
        if self._refused is None:
            return ""
        at, why = self._refused
        lately = self._clock.monotonic() - at < STORE_SECONDS
        return why if lately or self._written is None or self._written < at else ""


class SelfCheck:
    """Inspects the database now and then and notes in `health` what it finds.

    `intervals` says how often each organization is polled now, by its key.
    """

    def __init__(
        self,
        *,
        database: Database,
        health: Health,
        clock: Clock,
        intervals: Mapping[int, timedelta],
        channels: Collection[str],
    ) -> None:
        self._database = database
        self._health = health
        self._clock = clock
        self._intervals = intervals
        self._channels = channels
        self._resting: set[int] = set()

    def look(self) -> None:
        """Inspect it once; raises `StorageError` where the database does not answer properly."""
        try:
            upkeep.require_unchanged(self._database)
            if self._health.needs_proof():
                prove_write(self._database)
            now = self._clock.now()
            with self._database.read() as connection:
                self._health.inspected(
                    stuck=self._stuck(connection, now),
                    unsure=list(self._unsure(connection, now)),
                )
        except DatabaseLost:
            raise
        except StorageError as error:  # without its path or address, which not everyone may read
            self._health.answered(str(error).removeprefix(f"database {self._database.label}: "))
            raise
        self._health.answered()

    def polled(self, polls: Iterable[Poll]) -> None:
        """Note which organizations rest by design: their key's rate budget leaves no request."""
        for poll in polls:
            (self._resting.discard if poll.wait is None else self._resting.add)(poll.claim.pk)

    def _stuck(self, connection: Connection, now: datetime) -> Iterator[str]:
        if claims.stuck_polls(connection, self._intervals, now=now):
            yield "a poll started and never ended"
        for channel in sorted(deliveries.stuck_channels(connection, self._channels, now=now)):
            yield f"a delivery on {channel} started and never ended"

    def _unsure(self, connection: Connection, now: datetime) -> Iterator[str]:
        longest = max(self._intervals.values(), default=timedelta(0))
        polled = claims.last_good_polls(connection, since=now - 2 * longest)
        # What lies a little ahead was written before the clock jumped back, and is as good.
        is_seeing = any(
            abs(now - at) <= 2 * self._intervals[pk]
            for pk, at in polled.items()
            if pk in self._intervals
        )
        if not (is_seeing or self._resting >= self._intervals.keys()):
            yield "no organization was polled successfully within two intervals"
        channels = deliveries.untold_on(connection, self._channels, since=now - UNTOLD_AFTER)
        if channels:
            yield (
                f"a critical alert has reached nobody for {span(UNTOLD_AFTER)}: every delivery on"
                f" {', '.join(sorted(channels))} fails"
            )


def clocks_apart(database: Database, clock: Clock) -> str | None:
    """Return a sentence where our clock and that of the database's server differ too much.

    Raises `StorageError`.
    """
    before = clock.now()
    with database.read() as connection:
        theirs = clock_of(connection)
    if theirs is None or before - CLOCKS_APART <= theirs <= clock.now() + CLOCKS_APART:
        return None
    seconds = round((before - theirs).total_seconds())
    return (
        f"this machine's clock is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} that"
        f" of {database.label}: synchronize both with the same time servers"
    )


READY, STOPPING = "READY=1", "STOPPING=1"
"""Messages to systemd: the start or a reload is done; the service shuts down."""


class Notifier:
    """Sends states to systemd's `$NOTIFY_SOCKET`; without one it does nothing.

    Nothing is raised: what can't be sent is logged once.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        is_ours = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        microseconds = environ.get("WATCHDOG_USEC", "") if is_ours else ""
        is_number = microseconds.isascii() and microseconds.isdigit()
        self._alive_every = int(microseconds) / 2_000_000 if is_number else 0.0
        self._alive_at = float("-inf")
        self._failed = False

    def status(self, text: str) -> None:
        """Report in one line what is going on; `systemctl status` shows it."""
        self.send(f"STATUS={' '.join(text.split())}")

    def reloading(self) -> None:
        """Report that a reload begins; `ready()` ends it."""
        self.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def starting(self, text: str, *, seconds: float) -> None:
        """Report that the start may take so many seconds more, however long it took."""
        self.send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")
        self.status(text)

    def alive(self) -> None:
        """Feed the watchdog, if the unit has one, as often as it needs."""
        now = time.monotonic()
        if self._alive_every and now - self._alive_at >= self._alive_every:
            self._alive_at = now
            self.send("WATCHDOG=1")

    def send(self, message: str) -> None:
        """Send a message as `sd_notify(3)` lists them."""
        if not self._address:
            return
        # A leading @ stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_NOTIFY_SECONDS)
                sock.sendto(message.encode(errors="replace"), address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd notification failed", socket=self._address, error=error)
            self._failed = True


class Heartbeat:
    """Requests `url`, which is a secret, every `interval` while there are no doubts.

    A ping that fails is logged once and tried again after the next interval.
    """

    def __init__(self, url: str, *, interval: timedelta, client: Client, clock: Clock) -> None:
        self._request = client.build_request("GET", url)
        self._host = one_line(parse_url(url).host)  # all that may be shown of the URL
        self._interval = interval.total_seconds()
        self._client = client
        self._clock = clock
        self._due_at = clock.monotonic()
        self._failing = ""
        self._withheld: tuple[str, ...] = ()

    def beat(self, doubts: Sequence[str]) -> None:
        """Ping if it is due and there are no `doubts`; else as soon as there are none.

        Takes 10 s at most.
        """
        late = self._clock.monotonic() - self._due_at
        if late < 0:
            return
        if doubts:
            if late >= _WITHHELD_SECONDS and self._withheld != (*doubts,):
                log.warning("heartbeat withheld", reason="; ".join(doubts))
                self._withheld = (*doubts,)
            return
        if self._withheld:
            log.info("heartbeat resumed")
            self._withheld = ()
        self._due_at = self._clock.monotonic() + self._interval
        failure = self._ping()
        if failure and failure != self._failing:
            log.warning("heartbeat not accepted", error=failure)
        elif self._failing and not failure:
            log.info("heartbeat accepted again", host=self._host)
        self._failing = failure

    def _ping(self) -> str:
        """Request the URL; return why that was not accepted, by its status alone."""
        try:
            status = glance(
                self._client,
                self._request,
                seconds=_PING_SECONDS,
                body_seconds=_PING_SECONDS,
                max_bytes=_ANSWER_BYTES,
            ).status
        except HttpError as error:
            return why_unreached(error, place=self._host, seconds=_PING_SECONDS)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return ""
        return f"{self._host} answered {status}"
