"""Signs of life to the outside: what systemd is told, and a URL that is asked while all is well."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus

from quota_watch.channels.channel import why_unreached
from quota_watch.lib.http import BodyError, Client, Request, fetch
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.lib.network import HttpError
from quota_watch.lib.text import one_line
from quota_watch.lib.urls import parse_url

log = get_logger(__name__)

_NOTIFY_SECONDS = 1.0
"""How long to wait for room in systemd's queue; telling it must never hold up the watch."""

_PING_SECONDS = 10.0
_ANSWER_BYTES = 65_536
_WITHHELD_SECONDS = 60.0
"""How long a due ping is withheld before the log says so: at a start all is still unknown."""


class Notifier:
    """Speaks to `$NOTIFY_SOCKET`; without one, as outside systemd, it does nothing.

    Nothing is raised: what can't be told is logged once.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._alive_every = _watchdog_seconds(environ) / 2
        self._alive_at = float("-inf")
        self._failed = False

    def ready(self) -> None:
        """Tell that the start, or a reload, is done."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Tell in one line what goes on; `systemctl status` shows it."""
        self._send(f"STATUS={' '.join(text.split())}")

    def reloading(self) -> None:
        """Tell that a reload begins; `ready()` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def starting(self, text: str, *, seconds: float) -> None:
        """Tell that the start goes on, and may take so long from now, however long it took."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")
        self.status(text)

    def alive(self) -> None:
        """Feed the watchdog, if systemd keeps one, as often as it needs."""
        now = time.monotonic()
        if self._alive_every and now - self._alive_at >= self._alive_every:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell that the service shuts down."""
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
                log.warning("systemd can't be told", socket=self._address, error=error)
            self._failed = True


class Heartbeat:
    """Asks for `url`, which is a secret, every `interval` while nothing speaks against it.

    A ping that fails is logged once and tried again after the next interval.
    """

    def __init__(self, url: str, *, interval: timedelta, client: Client, clock: Clock) -> None:
        self._url = url
        self._interval = interval.total_seconds()
        self._client = client
        self._clock = clock
        self._due_at = clock.monotonic()
        self._failing = ""
        self._withheld: tuple[str, ...] = ()

    def beat(self, doubts: Sequence[str]) -> None:
        """Ping if it is time and there are no `doubts`; else as soon as there are none.

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
        """Ask for the URL now; return whether it answered that all is well."""
        failure = self._failure()
        if failure is None and self._failing:
            log.info("heartbeat accepted again", host=self._host)
        elif failure is not None and failure != self._failing:
            log.warning("heartbeat not accepted", error=failure)
        self._failing = failure or ""
        return failure is None

    @property
    def _host(self) -> str:
        """All that may be shown of the URL."""
        return one_line(parse_url(self._url).host)

    def _failure(self) -> str | None:
        request = self._client.build_request("GET", self._url)
        try:
            status = self._ask(request)
        except HttpError as error:
            return why_unreached(error, place=self._host, seconds=_PING_SECONDS)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        return f"{self._host} answered {status}"

    def _ask(self, request: Request) -> int:
        try:
            return fetch(
                self._client, request, seconds=_PING_SECONDS, max_bytes=_ANSWER_BYTES
            ).status
        except BodyError as error:  # the status says it all
            return error.status


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return after how long without a sign of life systemd ends this process; 0: never."""
    ours = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if ours and text.isascii() and text.isdigit() else 0.0
