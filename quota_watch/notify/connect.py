"""A connection with an end: one deadline over name lookup, connect, TLS and all that is said.

Timeouts of sockets are per operation, and a server that trickles bytes never ends them; here a
timer shuts the connection itself.
"""

import queue
import socket
import ssl
import threading
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Self

import httpx

from quota_watch.clock import SystemClock
from quota_watch.notify.text import printable

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

        Each gets an equal share of the time left, so that one that swallows packets leaves some
        to the next. Raises `OSError`.
        """
        addresses = _look_up(host, port, self.left())
        failure: OSError = socket.gaierror("it has no address")
        for done, (family, address) in enumerate(addresses):
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.settimeout(self.left() / (len(addresses) - done))
            try:
                connection.connect(address)
            except OSError as error:
                connection.close()
                failure = error
            else:
                connection.settimeout(self.left())
                self._guard(connection)
                return connection
        raise failure

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


@cache
def trust() -> ssl.SSLContext:
    """Return how servers are verified: the well-known authorities and the machine's own."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


def explain(error: OSError, place: str, *, deadline: Deadline) -> str:
    """Return why a connection to `place` failed, as a sentence."""
    if isinstance(error, TimeoutError) or deadline.is_over:
        return f"{place} did not answer within {deadline.seconds:g} seconds"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {place} is refused: {printable(error.verify_message)}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {place}: {printable(error.reason or 'the connection ended')}"
    if isinstance(error, socket.gaierror):
        return f"the name of {place} can't be looked up: {printable(error.strerror or str(error))}"
    return f"no connection to {place}: {printable(error.strerror or str(error))}"


_Address = tuple[socket.AddressFamily, tuple[str, int]]


def _look_up(host: str, port: int, seconds: float) -> list[_Address]:
    """Return the host's addresses in the system's order.

    The system's lookup can't be told when to end, so a thread of its own waits for it.
    """
    answer: queue.Queue[list[_Address] | OSError] = queue.Queue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            answer.put(error)
        except UnicodeError:
            answer.put(socket.gaierror("it is no name of a host"))
        else:
            answer.put([(entry[0], entry[4]) for entry in found])  # type: ignore[misc]

    threading.Thread(target=ask, name="name-lookup", daemon=True).start()
    try:
        result = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("the name lookup took too long") from None
    if isinstance(result, OSError):
        raise result
    return result
