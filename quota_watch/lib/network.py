"""Sockets whose every wait ends at a deadline, and an HTTP/1.1 connection over one.

A timeout for each read would never expire while a byte arrives now and then. Here each wait of a
request (name lookup, connect, TLS, read, write) gets at most what is left of its whole time.
"""

import io
import math
import os
import queue
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

import certifi
import h11

from quota_watch.lib import QuotaWatchError

_MOST_HEAD = 100 * 1024
_AT_ONCE = 64 * 1024
_LONGEST = 86_400.0  # seconds
_TLS_WAITS: dict[type[OSError], int] = {
    ssl.SSLWantReadError: select.POLLIN,
    ssl.SSLWantWriteError: select.POLLOUT,
}
_ANSWER = re.compile(rb"HTTP/1\.[01] [2-5]")
"""How an answer begins that is not an interim one."""
_ERRNO = re.compile(r"\[Errno -?\d+\] ")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The environment variables that name the certificates to trust."""

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")

_ends = ContextVar("ends", default=math.inf)


class HttpError(QuotaWatchError):
    """A request could not be made, or its answer could not be used."""


class TimedOut(HttpError):  # noqa: N818 - reads as what happened
    """The time for the whole request is up."""


class ConnectError(HttpError):
    """No connection was made: unknown name, no listener, or TLS or the proxy refused."""


class ReadError(HttpError, OSError):
    """The connection broke; an `OSError`, as of any other socket."""


class ProtocolError(HttpError):
    """What arrived is not proper HTTP, or ended early."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let every wait of this thread's requests end `seconds` from now, or earlier."""
    token = _ends.set(min(time.monotonic() + seconds, _ends.get()))
    try:
        yield
    finally:
        _ends.reset(token)


def left() -> float:
    """Return the seconds left until the deadline, at most a day; raises `TimedOut`."""
    rest = min(_ends.get() - time.monotonic(), _LONGEST)
    if rest <= 0:
        raise TimedOut("the request took too long")
    return rest


def in_words(error: BaseException) -> str:
    """Return the system's own words for an error, without its number for them."""
    return _ERRNO.sub("", str(error))


def connect(host: str, port: int) -> "Stream":
    """Connect to the first of the host's addresses that answers.

    Each gets an equal share of the time left: one that drops packets (a broken IPv6 route)
    must not use up the time of the next. Raises `ConnectError` and `TimedOut`.
    """
    addresses = _resolve(host, port)
    failure: HttpError = ConnectError("the name has no address")
    for attempts, address in enumerate(addresses):
        share = left() / (len(addresses) - attempts)
        try:
            return Stream(socket.create_connection((address, port), share))
        except TimeoutError as error:
            failure = TimedOut(str(error))
        except OSError as error:
            failure = ConnectError(in_words(error))
    raise failure


class Stream:
    """A connection whose every wait is within the deadline of the request that uses it.

    It has what `smtplib` wants of a socket. Raises `ReadError` and `TimedOut`.
    """

    def __init__(self, connection: socket.socket) -> None:
        # Never blocking: a socket's own timeout costs three system calls where one poll will do.
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._ready = select.poll()
        self._needs = 0

    def recv(self, most: int) -> bytes:
        """Return what has arrived, at most so much; nothing at the end."""
        if not self._is_decrypted():
            self._wait(select.POLLIN)
        while (data := self.recv_now(most)) is None:
            self._wait(self._needs)
        return data

    def recv_now(self, most: int) -> bytes | None:
        """Return what has arrived; None where nothing has, or only what TLS itself needs."""
        return self._try(self._socket.recv, most, needs=select.POLLIN)

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest, or_until=0) :]

    def send(self, data: memoryview, *, or_until: int = select.POLLIN) -> int:
        """Send what fits; where nothing does, wait for that or another event, and return 0."""
        sent = self._try(self._socket.send, data, needs=select.POLLOUT)
        if sent is None:
            self._wait(self._needs | or_until)
        return sent or 0

    def start_tls(self, context: ssl.SSLContext, host: str) -> Self:
        """Go on encrypted; a connection with which that fails is closed."""
        try:
            self._socket.settimeout(left())
            self._socket = context.wrap_socket(self._socket, server_hostname=host)
        except TimeoutError as error:
            raise TimedOut(str(error)) from error
        except OSError as error:  # as SSLError is
            raise ConnectError(str(error)) from error
        self._socket.settimeout(0)
        return self

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a buffered reader of it."""
        return io.BufferedReader(_Incoming(self))

    def getsockname(self) -> Any:
        """Return our own end of it."""
        return self._socket.getsockname()

    def is_readable(self) -> bool:
        """Whether something has arrived, be it the end."""
        return self._is_decrypted() or self._poll(select.POLLIN, 0)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _is_decrypted(self) -> bool:
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    def _try(
        self, operation: Callable[[_Argument], _Result], argument: _Argument, *, needs: int
    ) -> _Result | None:
        """Do something if it can be done now, else return None and know what it needs first."""
        try:
            return operation(argument)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            self._needs = _TLS_WAITS.get(type(error), needs)
            return None
        except OSError as error:
            raise ReadError(str(error)) from error

    def _wait(self, event: int) -> None:
        if not self._poll(event, math.ceil(1000 * left())):
            raise TimedOut("timed out")

    def _poll(self, event: int, milliseconds: int) -> bool:
        self._ready.register(self._socket, event)
        return bool(self._ready.poll(milliseconds))


class _Incoming(io.RawIOBase):
    """The incoming side of a stream, as a file that leaves the stream open."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Connection:
    """One HTTP/1.1 connection, which carries one exchange after another while it is clean.

    Raises `HttpError`s; after that it must be closed.
    """

    def __init__(self, stream: Stream, way: str) -> None:
        self.stream = stream
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self.way = way
        """Where it leads, as its owner names that."""
        self.idle_since = 0.0
        """When it last became idle, by the monotonic clock."""
        self.is_answered = False
        """Whether anything arrived since the last request was sent."""
        self._is_sent = True

    def send(self, head: h11.Request, content: bytes = b"") -> None:
        """Send a request, or what the server takes of it: it may answer before it has read all."""
        self.is_answered = False
        parts = [self._state.send(head)]
        if content:
            parts.append(self._state.send(h11.Data(data=content)))
        parts.append(self._state.send(h11.EndOfMessage()))
        rest = memoryview(b"".join(part for part in parts if part))
        with suppress(ReadError):  # it may have hung up, but first answered why
            while rest and not (self.is_answered and _ANSWER.match(self._state.trailing_data[0])):
                sent = self.stream.send(rest)
                rest = rest[sent:]
                if not sent:
                    self._take(self.stream.recv_now(_AT_ONCE))
        self._is_sent = not rest

    def receive_head(self) -> tuple[int, Mapping[str, str]]:
        """Return status and headers of the answer, after any interim ones; repeated ones joined."""
        if not self.is_answered:
            self._take(self.stream.recv(_AT_ONCE))
        while not isinstance(event := self._next_event(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise ProtocolError("the answer has no head")
        headers: dict[str, str] = {}
        for raw_name, raw_value in event.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return event.status_code, headers

    def receive_body(self) -> Iterator[bytes]:
        """Yield the body of the answer as it arrives."""
        while isinstance(event := self._next_event(), h11.Data):
            yield bytes(event.data)

    def make_ready(self) -> bool:
        """Prepare for the next request; False where this exchange left anything behind.

        What a server sends beyond one answer must never pass for the answer to the next request.
        """
        state = self._state
        is_done = self._is_sent and state.our_state is state.their_state is h11.DONE
        is_clean = is_done and not state.trailing_data[0]
        if is_clean:
            state.start_next_cycle()
        return is_clean

    def _next_event(self) -> Any:
        try:
            while (event := self._state.next_event()) is h11.NEED_DATA:
                self._take(self.stream.recv(_AT_ONCE))
        except h11.RemoteProtocolError as error:
            raise ProtocolError(str(error)) from error
        return event

    def _take(self, data: bytes | None) -> None:
        """Take in what arrived, if anything did; nothing at all is the end."""
        if data is None:
            return
        if not data and self._state.their_state is h11.SEND_RESPONSE:
            raise ProtocolError("Server disconnected without an answer.")
        self.is_answered = self.is_answered or bool(data)
        self._state.receive_data(data)


def trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """Gather the certificates to trust: the usual ones, the machine's, those in `ca_file`.

    Raises an `OSError` that names file and variable where the environment names certificates that
    are missing, and `HttpError` for `ca_file`.
    """
    try:
        file, folder = (os.environ.get(name) for name in _CERTIFICATES)
        usual = None if file or folder else certifi.where()
        context = ssl.create_default_context(cafile=file or usual, capath=folder)
    except OSError as error:  # ssl.SSLError is one
        variables = [f"{name}={os.environ[name]}" for name in _CERTIFICATES if name in os.environ]
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "no PEM certificate"
        where = " ".join(variables) or error.filename or "the usual certificates"
        raise OSError(f"{where} can't be used: {reason}") from None
    context.load_default_certs()  # the machine's own too: where companies put theirs
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "strerror", None) or "it holds no PEM certificate"
            raise HttpError(f"ca_file {ca_file} can't be used: {reason}") from None
    return context


usual_certificates = cache(trust)
"""Gathers the certificates to trust once, without a `ca_file`; raises `OSError`."""


def _resolve(host: str, port: int) -> list[str]:
    """Return the host's addresses, in the system's order.

    The system's lookup takes no deadline, so a thread of its own waits for it.
    """
    answer: queue.Queue[list[str] | Exception] = queue.Queue()

    def look_up() -> None:
        try:
            places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, OverflowError, UnicodeError) as error:
            answer.put(error)
        else:
            answer.put(list(dict.fromkeys(str(address[0]) for *_, address in places)))

    threading.Thread(target=look_up, name="name-lookup", daemon=True).start()
    try:
        result = answer.get(timeout=left())
    except queue.Empty:
        raise TimedOut("the name lookup took too long") from None
    if isinstance(result, Exception):
        raise ConnectError(f"the name can't be looked up: {in_words(result)}") from None
    return result
