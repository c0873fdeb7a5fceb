"""A network whose every wait ends at a deadline, and one HTTP/1.1 connection on it.

Timeouts are per read elsewhere, so a byte now and then would never end them. Here each wait of a
request (name lookup, connect, TLS, read, write) gets at most what is left of its whole time.
`proxy_for` says which proxy the environment names: so leave webhooks and the heartbeat. Polls
don't: their proxy is a key of the config.
"""

import ipaddress
import os
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import h11
import httpcore
import httpx

from quota_watch.lib.errors import QuotaWatchError

_MOST_HEAD = 100 * 1024
_AT_ONCE = 64 * 1024
_PIECE = 4096  # bytes; a ready socket takes so much at once, so one wait is one piece
_SOCKET_OPTION = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables by which the environment names the certificates to believe."""

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


class HttpError(QuotaWatchError):
    """A request could not be set up, or its answer could not be taken."""


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


class Connection:
    """One HTTP/1.1 connection, which carries one exchange after another while it is clean.

    Raises what httpcore and h11 raise; after that it is good for nothing but `close`.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self.heard = False
        """Whether anything came since the last request was sent."""

    def send(self, head: h11.Request, content: bytes = b"") -> None:
        """Send a request; a server that hangs up early may have said why."""
        self.heard = False
        parts = [self._state.send(head)]
        if content:
            parts.append(self._state.send(h11.Data(data=content)))
        parts.append(self._state.send(h11.EndOfMessage()))
        with suppress(httpcore.WriteError):
            self._stream.write(b"".join(part for part in parts if part))

    def receive_head(self) -> h11.Response:
        """Return the head of the answer, after any interim ones."""
        while not isinstance(event := self._next_event(), h11.Response):
            if not isinstance(event, h11.InformationalResponse):
                raise httpcore.RemoteProtocolError("the answer has no head")
        return event

    def receive_body(self) -> Iterator[bytes]:
        """Yield the body of the answer as it comes."""
        while isinstance(event := self._next_event(), h11.Data):
            yield bytes(event.data)

    def make_ready(self) -> bool:
        """Get ready for the next request; False where this exchange left anything behind.

        What a server sends beyond one answer must never pass for the answer to the next request.
        """
        state = self._state
        clean = state.our_state is state.their_state is h11.DONE and not state.trailing_data[0]
        if clean:
            state.start_next_cycle()
        return clean

    def is_quiet(self) -> bool:
        """Whether nothing came while it was idle, not even a goodbye."""
        tls = self._stream.get_extra_info("ssl_object")
        unread = tls is not None and tls.pending()
        return not (unread or self._stream.get_extra_info("is_readable"))

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def _next_event(self) -> Any:
        while (event := self._state.next_event()) is h11.NEED_DATA:
            data = self._stream.read(_AT_ONCE)
            if not data and self._state.their_state is h11.SEND_RESPONSE:
                raise httpcore.RemoteProtocolError("Server disconnected without an answer.")
            self.heard = self.heard or bool(data)
            self._state.receive_data(data)
        return event


def read_headers(head: h11.Response) -> dict[str, str]:
    """Return the headers of an answer; what stands there several times is joined."""
    found: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """Gather the certificates to believe: the usual ones, the machine's, those in `ca_file`.

    Raises `OSError` that names file and variable where the environment names certificates that
    can't be had, and `HttpError` for `ca_file`.
    """
    try:
        context = httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        named = [f"{name}={os.environ[name]}" for name in _CERTIFICATES if name in os.environ]
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "no PEM certificate"
        where = " ".join(named) or error.filename or "the usual certificates"
        raise OSError(f"{where} can't be used: {reason}") from None
    context.load_default_certs()  # the machine's own too: where companies put theirs
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "strerror", None) or "it holds no certificate in PEM form"
            raise HttpError(f"ca_file {ca_file} can't be used: {reason}") from None
    return context


@cache
def usual_certificates() -> ssl.SSLContext:
    """Gather them once, where no file of our own is to be trusted; raises `OSError`."""
    return trust()


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


_ENTRY = re.compile(r"(?P<host>\[[^]]*\]|[^:]*|[^:]*:[^:]*:.*?)(?::(?P<port>[0-9]+))?")
"""A host, an address or a network, perhaps with a port; IPv6 only in brackets with one."""


def proxy_for(url: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the variable that names a proxy for a URL, and the proxy's URL; None where none does.

    As most programs have it: `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, else `ALL_PROXY`,
    lower case first; not for this machine itself, nor for what `NO_PROXY` lists.
    """
    parts = urlsplit(url)
    if _is_exempt(parts, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            proxy = environ.get(variable, "").strip()
            if proxy:
                return variable, proxy if "://" in proxy else f"http://{proxy}"
    return None


def parse_proxy(url: str) -> httpx.Proxy | None:
    """Parse a proxy's URL; None for what is none. TLS inside of TLS has no deadline."""
    try:
        proxy = httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL):
        return None
    return proxy if proxy.url.scheme == "http" and proxy.url.host else None


def _is_exempt(url: SplitResult, no_proxy: str) -> bool:
    host = _plain(url.hostname or "")
    address = _address(host)
    if address.is_loopback if address else f".{host}".endswith(".localhost"):
        return True
    port = url.port or (443 if url.scheme == "https" else 80)
    return any(_holds(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy) if entry)


def _holds(entry: str, host: str, port: int) -> bool:
    """Decide whether an entry such as `*.corp`, `10.0.0.0/8` or `[::1]:8080` holds a host."""
    match = _ENTRY.fullmatch(entry)
    if match is None or match["port"] not in {None, str(port)}:
        return False
    name = _plain(match["host"].strip("[]").removeprefix("*").removeprefix("."))
    if entry == "*":
        return True
    address = _address(host)
    if address is None:
        return bool(name) and f".{host}".endswith(f".{name}")
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _plain(host: str) -> str:
    return host.lower().removesuffix(".")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
