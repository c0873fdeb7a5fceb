"""A network whose every wait ends at a deadline, as the ground for httpcore to stand on.

httpx's timeouts are per read, so a byte now and then would never end them. Here each wait of a
request (name lookup, connect, TLS, read, write) gets at most what is left of its whole time.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

_PIECE = 4096  # bytes; a ready socket takes so much at once, so one wait is one piece
_SOCKET_OPTION = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

_ends: ContextVar[float | None] = ContextVar("ends", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let every wait of this thread's requests end `seconds` from now, or earlier."""
    ends = time.monotonic() + seconds
    outer = _ends.get()
    token = _ends.set(ends if outer is None else min(ends, outer))
    try:
        yield
    finally:
        _ends.reset(token)


def left(timeout: float | None, expired: type[httpcore.TimeoutException]) -> float | None:
    """Return `timeout`, but not more than is left of the deadline; raise `expired` if over."""
    ends = _ends.get()
    if ends is None:
        return timeout
    rest = ends - time.monotonic()
    if rest <= 0:
        raise expired("the time for the whole request is up")
    return rest if timeout is None else min(timeout, rest)


class Backend(httpcore.NetworkBackend):
    """httpcore's network, within the deadline of the request that uses it."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first of the host's addresses that answers.

        Each gets an equal share of the time left: one that swallows packets (a broken IPv6
        route) must not use up what the next one needs.
        """
        addresses = _resolve(host, port, left(timeout, httpcore.ConnectTimeout))
        failure: Exception = httpcore.ConnectError("the name has no address")
        for done, address in enumerate(addresses):
            rest = left(timeout, httpcore.ConnectTimeout)
            share = None if rest is None else rest / (len(addresses) - done)
            try:
                return Stream(
                    self._inner.connect_tcp(
                        address, port, share, local_address, socket_options or ()
                    )
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class Stream(httpcore.NetworkStream):
    """A connection whose every wait is within the deadline of the request that uses it."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, at most `max_bytes`; nothing at the end."""
        return self._inner.read(max_bytes, left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of `buffer`."""
        for start in range(0, len(buffer), _PIECE):
            rest = left(timeout, httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + _PIECE], rest)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Return the same connection with TLS on it."""
        rest = left(timeout, httpcore.ConnectTimeout)
        return Stream(self._inner.start_tls(ssl_context, server_hostname, rest))

    def close(self) -> None:
        """Hang up."""
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore wants to know of the socket."""
        return self._inner.get_extra_info(info)


def _resolve(host: str, port: int, timeout: float | None) -> list[str]:
    """Return the host's addresses, in the system's order.

    The system's lookup can't be told when to end, so a thread of its own waits for it.
    """
    answer: queue.Queue[list[str] | Exception] = queue.Queue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, OverflowError, UnicodeError) as error:
            answer.put(error)
        else:
            answer.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))

    threading.Thread(target=look_up, name="name-lookup", daemon=True).start()
    try:
        result = answer.get(timeout=timeout)
    except queue.Empty:
        raise httpcore.ConnectTimeout("the name lookup took too long") from None
    if isinstance(result, Exception):
        raise httpcore.ConnectError(f"the name can't be looked up: {result}") from None
    return result
