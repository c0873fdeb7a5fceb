"""Whether the watch works: judged from what its jobs note and its database shows, and reported.

Reported to systemd (`Notifier`), to the heartbeat's URL (`Heartbeat`), to page and `check`.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus

from sqlalchemy import Connection

from quota_watch.channels.channel import why_unreached
from quota_watch.lib.http import BodyError, Client, fetch
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.lib.network import HttpError
from quota_watch.lib.text import one_line, span
from quota_watch.lib.urls import parse_url
from quota_watch.model.source import Organization
from quota_watch.pipeline.poll import Poll
from quota_watch.storage import DatabaseLost, StorageError, claims, deliveries, upkeep
from quota_watch.storage.database import Database, clock_of, prove_write

log = get_logger(__name__)

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
    `doubts` (those, and what else makes alerts unreliable).
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._moved: dict[str, float] = {}
        self._written: float | None = None
        self._refused: tuple[float, str] | None = None
        self._unanswered = ""
        self._unrecorded: tuple[str, ...] = ()
        self._broken: set[str] = set()
        self._stuck: dict[str, float] = {}
        self._unsure: tuple[str, ...] = ()
        self.lost = ""
        """Why this process can't continue with its database, once that is so."""

    def moved(self, job: str) -> None:
        """Note that a job began, progressed or ended; from the first time on that is expected."""
        with self._lock:
            self._moved[job] = self._clock.monotonic()

    def wrote(self, failure: str | None) -> None:
        """Note how a write to the database ended: None where it was committed."""
        now = self._clock.monotonic()
        with self._lock:
            if failure is None:
                self._written = now
            else:
                self._refused = now, failure

    def answered(self, failure: str = "") -> None:
        """Note whether the database answered the last self-check, and if not, why."""
        self._unanswered = failure

    def ended(self, job: str, *, by_defect: bool) -> None:
        """Note whether a bug ended the job's last run."""
        with self._lock:
            (self._broken.add if by_defect else self._broken.discard)(job)

    def unrecorded(self, organizations: Collection[str]) -> None:
        """Note the organizations whose last poll a bug kept from being recorded."""
        self._unrecorded = tuple(organizations)

    def inspected(self, *, stuck: tuple[str, ...], unsure: tuple[str, ...]) -> None:
        """Note what a self-check found: work that is stuck, and why alerts are unreliable."""
        now = self._clock.monotonic()
        with self._lock:
            self._stuck = {what: self._stuck.get(what, now) for what in stuck}
            self._unsure = unsure

    def lose(self, why: str) -> None:
        """Note that this process can't continue with its database."""
        self.lost = self.lost or why

    def idle_seconds(self) -> float | None:
        """Return how long ago the database last took a write; None where it never did, or failed.

        None calls for a test write.
        """
        with self._lock:
            if self._written is None or self._unanswered or self._refusal():
                return None
            return self._clock.monotonic() - self._written

    def trusts_store(self) -> bool:
        """Whether the database answers and takes every write."""
        return not self._store_trouble()

    def hung(self) -> list[str]:
        """List what neither ends nor progresses, and would not without a restart."""
        latest = self._clock.monotonic() - HUNG_SECONDS
        with self._lock:
            jobs = sorted(job for job, at in self._moved.items() if at < latest)
            stuck = [what for what, since in self._stuck.items() if since < latest]
        return [f"{job} has made no progress for {HUNG_SECONDS:.0f} s" for job in jobs] + stuck

    def reasons(self) -> list[str]:
        """List why the watch does not work: it hangs, or its database takes no write."""
        return self.hung() + self._store_trouble() + self._defects()

    def doubts(self) -> list[str]:
        """List why alerts are unreliable; the heartbeat is withheld for these."""
        return [*self.reasons(), *self._unsure]

    def _defects(self) -> list[str]:
        with self._lock:
            defects = [f"{job} fails because of a bug: see the log" for job in sorted(self._broken)]
        number = len(self._unrecorded)
        if not number:
            return defects
        unrecorded = f"polls of {number} {'organization' if number == 1 else 'organizations'}"
        return [*defects, f"{unrecorded} can't be recorded, because of a bug: see the log"]

    def _store_trouble(self) -> list[str]:
        if self.lost:
            return [self.lost]
        if self._unanswered:
            return [f"the database does not answer: {self._unanswered}"]
        with self._lock:
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

    `ours` names the organizations by their keys, `interval` returns how often one is polled now.
    """

    def __init__(
        self,
        *,
        database: Database,
        health: Health,
        clock: Clock,
        ours: Mapping[int, Organization],
        channels: Collection[str],
        interval: Callable[[Organization], timedelta],
    ) -> None:
        self._database = database
        self._health = health
        self._clock = clock
        self._ours = ours
        self._channels = channels
        self._interval = interval
        self._resting: set[int] = set()

    def look(self) -> None:
        """Inspect it once; raises `StorageError` where the database does not answer properly."""
        try:
            upkeep.require_unchanged(self._database)
            idle = self._health.idle_seconds()
            if idle is None or idle > PROOF_SECONDS:
                prove_write(self._database)
            self._examine()
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

    def _examine(self) -> None:
        now = self._clock.now()
        with self._database.read() as connection:
            stuck = tuple(self._stuck(connection, now))
            unsure = tuple(self._unsure(connection, now))
        self._health.inspected(stuck=stuck, unsure=unsure)

    def _stuck(self, connection: Connection, now: datetime) -> Iterator[str]:
        if claims.stuck_polls(connection, self._ours, now=now):
            yield "a poll started and never ended"
        for channel in sorted(deliveries.stuck_channels(connection, self._channels, now=now)):
            yield f"a delivery on {channel} started and never ended"

    def _unsure(self, connection: Connection, now: datetime) -> Iterator[str]:
        if not (self._is_seeing(connection, now) or self._resting >= self._ours.keys()):
            yield "no organization was polled successfully within two intervals"
        late = deliveries.untold(connection, self._channels, since=now - UNTOLD_AFTER)
        if late:
            channels = sorted({name for each in late for name in each.channels})
            yield (
                f"a critical alert has reached nobody for {span(UNTOLD_AFTER)}: every delivery on"
                f" {', '.join(channels)} fails"
            )

    def _is_seeing(self, connection: Connection, now: datetime) -> bool:
        intervals = {pk: self._interval(each) for pk, each in self._ours.items()}
        longest = max(intervals.values(), default=timedelta(0))
        # What lies a little ahead was written before the clock jumped back, and is as good.
        polled = claims.last_good_polls(connection, since=now - 2 * longest)
        return any(
            abs(now - at) <= 2 * intervals[pk] for pk, at in polled.items() if pk in intervals
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


class Notifier:
    """Sends states to systemd's `$NOTIFY_SOCKET`; without one it does nothing.

    Nothing is raised: what can't be sent is logged once.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._alive_every = _watchdog_seconds(environ) / 2
        self._alive_at = float("-inf")
        self._failed = False

    def ready(self) -> None:
        """Report that the start, or a reload, is done."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Report in one line what is going on; `systemctl status` shows it."""
        self._send(f"STATUS={' '.join(text.split())}")

    def reloading(self) -> None:
        """Report that a reload begins; `ready()` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def starting(self, text: str, *, seconds: float) -> None:
        """Report that the start may take so many seconds more, however long it took."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")
        self.status(text)

    def alive(self) -> None:
        """Feed the watchdog, if the unit has one, as often as it needs."""
        now = time.monotonic()
        if self._alive_every and now - self._alive_at >= self._alive_every:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the service shuts down."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
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


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return after how long without a sign of life systemd kills this process; 0: never."""
    ours = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if ours and text.isascii() and text.isdigit() else 0.0


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
        self.ping()

    def ping(self) -> bool:
        """Request the URL now; return whether it was accepted."""
        failure = self._failure()
        if failure is None and self._failing:
            log.info("heartbeat accepted again", host=self._host)
        elif failure is not None and failure != self._failing:
            log.warning("heartbeat not accepted", error=failure)
        self._failing = failure or ""
        return failure is None

    def _failure(self) -> str | None:
        try:
            status = fetch(
                self._client, self._request, seconds=_PING_SECONDS, max_bytes=_ANSWER_BYTES
            ).status
        except BodyError as error:  # the status alone decides
            status = error.status
        except HttpError as error:
            return why_unreached(error, place=self._host, seconds=_PING_SECONDS)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        return f"{self._host} answered {status}"
