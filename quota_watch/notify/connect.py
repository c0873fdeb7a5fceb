"""A connection with an end: one deadline over name lookup, connect, TLS and all that is said.

Timeouts of sockets are per operation, and a server that trickles bytes never ends them; here a
timer shuts the connection itself.
"""

import re
import socket
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import httpcore

from quota_watch import network
from quota_watch.clock import SystemClock
from quota_watch.notify.text import printable

_ERRNO = re.compile(r"\[Errno -?\d+\] ")

_clock = SystemClock()


class Deadline:
    """A context that lasts `seconds`; when they are over, the sockets it guards are shut."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = _clock.monotonic() + seconds
        self._guarded: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for guarded in self._guarded:
                guarded.close()

    @property
    def is_over(self) -> bool:
        """Tell whether the time is up."""
        return _clock.monotonic() >= self._ends

    def left(self) -> float:
        """Return the seconds that are left; raises `TimeoutError` where none are."""
        left = self._ends - _clock.monotonic()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left

    def connect(self, host: str, port: int) -> socket.socket:
        """Return a guarded connection to the first of the host's addresses that answers.

        Raises `OSError`.
        """
        try:
            with network.deadline(self.left()):
                stream = network.Backend().connect_tcp(host, port)
        except httpcore.TimeoutException:
            raise TimeoutError("the time is up") from None
        except httpcore.ConnectError as error:
            raise OSError(str(error)) from None
        connection: socket.socket = stream.get_extra_info("socket")
        connection.settimeout(self.seconds)  # longer than is left: the timer is what ends it
        self._guard(connection)
        return connection

    def _guard(self, connection: socket.socket) -> None:
        """Keep a second handle: wrapping a socket in TLS takes the first one away."""
        with self._lock:
            self._guarded.append(connection.dup())
        if self.is_over:
            self._shut()

    def _shut(self) -> None:
        with self._lock:
            for guarded in self._guarded:
                with suppress(OSError):
                    guarded.shutdown(socket.SHUT_RDWR)


def explain(error: OSError, place: str, *, deadline: Deadline) -> str:
    """Return why a connection to `place` failed, as a sentence."""
    if isinstance(error, TimeoutError) or deadline.is_over:
        return f"{place} did not answer within {deadline.seconds:g} seconds"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {place} is refused: {printable(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {place}: {printable(error.reason or 'the connection ended')}"
    return f"no connection to {place}: {cause(error)}"


def cause(error: Exception) -> str:
    """Return the system's own words for what happened, without its number for it."""
    return printable(_ERRNO.sub("", str(error)))
