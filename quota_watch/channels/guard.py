"""Sockets with an end, for what knows timeouts per operation only, as `smtplib` does.

A server that trickles bytes never ends those; here a timer shuts the sockets themselves.
"""

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import httpcore

from quota_watch.lib.network import Backend, deadline


class SocketGuard:
    """A context that lasts `seconds`; when they are over, the sockets it opened are shut."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds
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
        return time.monotonic() >= self._ends

    def connect(self, host: str, port: int) -> socket.socket:
        """Return a guarded connection to the first of the host's addresses that answers.

        Raises `OSError`, `TimeoutError` where the time is up.
        """
        try:
            with deadline(self._ends - time.monotonic()):
                stream = Backend().connect_tcp(host, port)
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
