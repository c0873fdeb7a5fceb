"""An HTTP client whose requests end at a deadline and a size, over connections that are reused.

Redirects are not followed, cookies not kept, the environment's proxies and `.netrc` not read: a
credential goes where the caller sends it and nowhere else.
"""

import re
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Self

import h11

from quota_watch import __version__
from quota_watch.lib.network import (
    ConnectError,
    Connection,
    HttpError,
    ProtocolError,
    ReadError,
    Stream,
    TimedOut,
    connect,
    deadline,
    left,
    trust,
    usual_certificates,
)
from quota_watch.lib.urls import Url, parse_url

_IDLE_SECONDS = 55.0
"""How long an idle connection is kept: routers and proxies drop one after a minute."""

_IDLE_POST_SECONDS = 1.0
"""The same for what must not be sent twice: so fresh a connection is hardly ever dead."""

_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"quota-watch/{__version__}",
}

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LONGEST_SECONDS = 999_999_999.0

MAX_BODY = 16 * 1024 * 1024
"""The largest body that is accepted, in bytes."""


class BodyError(HttpError):
    """An answer of status `status` arrived, but its body can't be used."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer: status, headers (names in lower case) and the body, decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A request ready to be sent to the server of `url`; what may hold a key is not shown.

    `way` names what its connection leads to: that server, or a proxy that passes requests on.
    """

    url: Url
    way: str
    head: h11.Request = field(repr=False)
    content: bytes = field(default=b"", repr=False)

    def below(self, path: str) -> "Request":
        """Return the same request for a path below its own, quoted already; it may have a query."""
        head, target = self.head, self.head.target.rstrip(b"/") + path.encode("ascii")
        # The headers have been checked; another target costs no second check.
        head = h11.Request(method=head.method, target=target, headers=head.headers)
        return Request(self.url, self.way, head, self.content)


_Read = Callable[[Iterator[bytes], int, Mapping[str, str]], Response]
"""Reads the body of an answer from its pieces, given status and headers."""


class Client:
    """A pool of at most `connections` that threads share, kept alive between requests.

    `ca_file` holds certificates to trust beside the usual ones; `proxy` is an `http://` URL.
    Raises `HttpError` if either can't be used. The usual ones are read when first needed. `fetch`
    and `glance` ask with it.
    """

    def __init__(
        self, *, connections: int, ca_file: Path | None = None, proxy: str | None = None
    ) -> None:
        self._trusted = None if ca_file is None else trust(ca_file)
        self._proxy = None if proxy is None else _parse_proxy(proxy)
        login = self._proxy and self._proxy.login
        self._proxy_headers = [(b"Proxy-Authorization", login)] if login else []
        self._most = connections
        self._free = threading.Semaphore(connections)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []  # the oldest first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.stream.close()

    def build_request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        content: bytes | None = None,
    ) -> Request:
        """Return a request with `headers` and those that all requests have.

        Raises `ValueError` for what is no URL or not ASCII, `ProtocolError` for what no header
        can carry.
        """
        place = parse_url(url)
        all_headers = {"Host": place.authority, **_HEADERS}
        if place.login:
            all_headers["Authorization"] = place.login.decode()
        if content is not None:
            all_headers["Content-Length"] = str(len(content))
        own = {name.lower() for name in headers}
        all_headers = {
            name: each for name, each in all_headers.items() if name.lower() not in own
        } | dict(headers)
        sent = [(name.encode("ascii"), each.encode("ascii")) for name, each in all_headers.items()]
        target, way = place.target, f"{place.scheme}://{place.host}:{place.port}"
        if self._proxy is not None and place.scheme == "http":  # else there is a tunnel
            target, way = f"http://{place.authority}{target}", "proxy"
            sent += self._proxy_headers
        try:
            head = h11.Request(method=method, target=target, headers=sent)
        except h11.LocalProtocolError as error:
            raise ProtocolError(str(error)) from error
        return Request(place, way, head, content or b"")

    def exchange(self, request: Request, read: _Read) -> Response:
        """Return the answer to a request; raises as `fetch` does.

        A GET whose kept connection dies before a byte of the answer is sent once more, on a new
        one.
        """
        if not self._free.acquire(timeout=left()):
            raise TimedOut("every connection is in use")
        try:
            repeatable = request.head.method == b"GET"
            seconds = _IDLE_SECONDS if repeatable else _IDLE_POST_SECONDS
            connection = self._take(request.way, seconds)
            if connection is not None:
                try:
                    return self._ask(connection, request, read)
                except (ReadError, ProtocolError):
                    if connection.is_answered or not repeatable:
                        raise
            return self._ask(self._connect(request), request, read)
        finally:
            self._free.release()

    def _ask(self, connection: Connection, request: Request, read: _Read) -> Response:
        try:
            connection.send(request.head, request.content)
            status, headers = connection.receive_head()
            response = read(connection.receive_body(), status, headers)
        except BaseException:
            connection.stream.close()
            raise
        if connection.make_ready():
            self._keep(connection)
        else:
            connection.stream.close()
        return response

    def _take(self, way: str, seconds: float) -> Connection | None:
        """Return the most recently used connection that is alive; close those that are not."""
        since = time.monotonic() - seconds
        while True:
            with self._lock:
                idle = next((each for each in reversed(self._idle) if each.way == way), None)
                if idle is None or idle.idle_since < since:
                    return None
                self._idle.remove(idle)
            if not idle.stream.is_readable():  # not even the end has arrived
                return idle
            idle.stream.close()

    def _keep(self, connection: Connection) -> None:
        """Keep a connection for the next request; close those that are too old or too many."""
        connection.idle_since = time.monotonic()
        since = connection.idle_since - _IDLE_SECONDS
        old = []
        with self._lock:
            self._idle.append(connection)
            while len(self._idle) > self._most or self._idle[0].idle_since < since:
                old.append(self._idle.pop(0))
        for each in old:
            each.stream.close()

    def _connect(self, request: Request) -> Connection:
        url = request.url
        first = self._proxy or url
        stream = connect(first.host, first.port)
        try:
            if url.scheme == "https":
                if self._proxy is not None:
                    self._tunnel(stream, url)
                stream.start_tls(self._context(), url.host)
        except BaseException:
            stream.close()
            raise
        return Connection(stream, request.way)

    def _context(self) -> ssl.SSLContext:
        try:
            return self._trusted or usual_certificates()
        except OSError as error:
            raise ConnectError(str(error)) from error

    def _tunnel(self, stream: Stream, url: Url) -> None:
        """Ask the proxy for a tunnel to the URL's server."""
        connection = Connection(stream, "proxy")
        host = f"[{url.host}]" if ":" in url.host else url.host
        target = f"{host}:{url.port}".encode("ascii")
        headers = [(b"Host", target), *self._proxy_headers]
        connection.send(h11.Request(method="CONNECT", target=target, headers=headers))
        status, _ = connection.receive_head()
        if not 200 <= status < 300:  # noqa: PLR2004 -- success
            # Not in its own words: they may repeat the login we sent.
            raise ConnectError(f"the proxy answered {status}")


def _parse_proxy(url: str) -> Url:
    with suppress(ValueError):
        proxy = parse_url(url)
        if proxy.scheme == "http":  # TLS inside of TLS is not supported
            return proxy
    raise HttpError("proxy is not an http:// URL, such as http://proxy.example:3128")


def fetch(
    client: Client,
    request: Request,
    *,
    seconds: float,
    max_bytes: int = MAX_BODY,
    check: Callable[[Response], object] = lambda _: None,
) -> Response:
    """Send `request` and return the whole answer, whatever its status.

    Takes at most `seconds`. Raises `HttpError`: `TimedOut` when time is up, `BodyError` for a
    body beyond `max_bytes` or one that can't be decompressed. Where `check` raises, the connection
    is closed: after a bad answer more of it may follow.
    """

    def read(pieces: Iterator[bytes], status: int, headers: Mapping[str, str]) -> Response:
        body = bytearray()
        for piece in _decompressed(pieces, status, headers, max_bytes):
            body += piece
            if len(body) > max_bytes:
                raise BodyError(f"the body is larger than {max_bytes} bytes", status=status)
        response = Response(status, headers, bytes(body))
        check(response)
        return response

    with deadline(seconds):
        return client.exchange(request, read)


def glance(
    client: Client, request: Request, *, seconds: float, body_seconds: float, max_bytes: int
) -> Response:
    """Send `request` and return its status with the beginning of the body, as far as it arrives.

    A long, slow or broken body is no error. Takes at most `seconds`, of which `body_seconds` for
    the body. Raises `HttpError` where no status arrives.
    """

    def read(pieces: Iterator[bytes], status: int, headers: Mapping[str, str]) -> Response:
        body = bytearray()
        with suppress(HttpError), deadline(body_seconds):
            for piece in pieces:
                body += piece
                if len(body) > max_bytes:
                    break
        return Response(status, headers, bytes(body))

    with deadline(seconds):
        return client.exchange(request, read)


def _decompressed(
    pieces: Iterator[bytes], status: int, headers: Mapping[str, str], max_bytes: int
) -> Iterator[bytes]:
    """Yield the body, each piece at most one byte larger than `max_bytes` if it was compressed.

    We request no compression, but a proxy on the way may ignore that.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        yield from pieces
        return
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise BodyError("the body is compressed in a way that was not requested", status=status)
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, as its header says
    began = False
    try:
        for piece in pieces:
            began = True
            yield unzip.decompress(piece, max_bytes + 1)
    except zlib.error:
        raise BodyError("the body says gzip but is not", status=status) from None
    if began and (not unzip.eof or unzip.unused_data):
        raise BodyError("the compressed body is cut short or runs past its end", status=status)


def http_date(text: str) -> datetime | None:
    """Return the moment that a header's date names, or None where it is none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  with sockets, random and more

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def seconds_until(retry_after: str, now: datetime | None) -> float | None:
    """Read a `Retry-After`: seconds, perhaps a fraction too, or a date; None if neither.

    Where the date of `now` is unknown, a date is neither.
    """
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_SECONDS)
    at = http_date(text) if now else None
    return max((at - now).total_seconds(), 0.0) if at and now else None
