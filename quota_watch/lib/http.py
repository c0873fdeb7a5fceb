"""HTTP with an end: a pool of connections whose requests stop at a deadline and a size.

Redirects are not followed, cookies not kept, the environment's proxies and `.netrc` not read: a
credential goes where the caller sent it and nowhere else.
"""

import re
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
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
    read_headers,
    trust,
    usual_certificates,
)
from quota_watch.lib.urls import Url, parse_proxy, parse_url

_IDLE_SECONDS = 55.0
"""How long a connection is kept: routers and proxies forget what was silent for a minute."""

_IDLE_POST_SECONDS = 1.0
"""How long for what must not be sent twice: so fresh a connection is hardly ever dead."""

_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"quota-watch/{__version__}",
}

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LONGEST_SECONDS = 999_999_999.0

MAX_BODY = 16 * 1024 * 1024
"""The largest body that is believed, in bytes."""


class BodyError(HttpError):
    """An answer of status `status` came, but no body that can be taken."""

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
    """A request ready to be sent to the server of `url`."""

    url: Url
    head: h11.Request
    content: bytes = b""

    def below(self, path: str) -> "Request":
        """Return the same request for a path below its own, quoted already; it may have a query."""
        head, target = self.head, self.head.target.rstrip(b"/") + path.encode("ascii")
        # The headers have been checked; another target costs no second check.
        head = h11.Request(method=head.method, target=target, headers=head.headers)
        return Request(self.url, head, self.content)


_Read = Callable[[Iterator[bytes], int, Mapping[str, str]], Response]
"""Reads the body of an answer from its pieces, given status and headers."""


@dataclass(frozen=True, slots=True)
class _Idle:
    """A connection that waits for its next request since `since`, by the monotonic clock."""

    way: str
    connection: Connection
    since: float


class Client:
    """Connections that threads share, at most so many at a time, kept alive between requests.

    `build_client` makes one; `fetch` and `glance` ask with it.
    """

    def __init__(
        self, *, trusted: Callable[[], ssl.SSLContext], proxy: Url | None, connections: int
    ) -> None:
        self._trusted = trusted
        self._proxy = proxy
        self._most = connections
        self._free = threading.Semaphore(connections)
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []  # the oldest first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what waits for its next request."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.connection.close()

    def build_request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Request:
        """Return a request with `headers` and those that all requests have.

        Raises `ValueError` for what is no URL or not ASCII, `ProtocolError` for what no header
        can carry.
        """
        place = parse_url(url)
        named = {"Host": place.authority, **_HEADERS}
        if place.login:
            named["Authorization"] = place.login.decode()
        if content is not None:
            named["Content-Length"] = str(len(content))
        given = dict(headers or {})
        same = {name.lower() for name in given}
        named = {name: each for name, each in named.items() if name.lower() not in same} | given
        sent = [(name.encode("ascii"), each.encode("ascii")) for name, each in named.items()]
        target = place.target
        if self._is_forwarded(place):
            target = f"{place.scheme}://{place.authority}{target}"
            sent += self._proxy_headers()
        try:
            head = h11.Request(method=method, target=target, headers=sent)
        except h11.LocalProtocolError as error:
            raise ProtocolError(str(error)) from error
        return Request(place, head, content or b"")

    def exchange(self, request: Request, read: _Read) -> Response:
        """Return the answer to a request; raises as `fetch` does.

        What can't have reached the server, as its connection died while it was idle, is sent once
        more on a new one.
        """
        if not self._free.acquire(timeout=left()):
            raise TimedOut("every connection is in use")
        try:
            repeatable = request.head.method == b"GET"
            way = self._way(request.url)
            connection = self._take(way, _IDLE_SECONDS if repeatable else _IDLE_POST_SECONDS)
            if connection is not None:
                try:
                    return self._ask(connection, way, request, read)
                except (ReadError, ProtocolError, h11.RemoteProtocolError):
                    if connection.heard or not repeatable:
                        raise
            return self._ask(self._connect(request.url), way, request, read)
        except h11.ProtocolError as error:
            raise ProtocolError(str(error)) from error
        finally:
            self._free.release()

    def _ask(self, connection: Connection, way: str, request: Request, read: _Read) -> Response:
        try:
            connection.send(request.head, request.content)
            head = connection.receive_head()
            response = read(connection.receive_body(), head.status_code, read_headers(head))
        except BaseException:
            connection.close()
            raise
        if connection.make_ready():
            self._keep(_Idle(way, connection, time.monotonic()))
        else:
            connection.close()
        return response

    def _take(self, way: str, seconds: float) -> Connection | None:
        """Return the connection that was used last, if it is alive; close what is not."""
        since = time.monotonic() - seconds
        while True:
            with self._lock:
                idle = next((each for each in reversed(self._idle) if each.way == way), None)
                if idle is None or idle.since < since:
                    return None
                self._idle.remove(idle)
            if idle.connection.is_quiet():
                return idle.connection
            idle.connection.close()

    def _keep(self, idle: _Idle) -> None:
        """Keep a connection for its next request; close those that are too old or too many."""
        since = idle.since - _IDLE_SECONDS
        old = []
        with self._lock:
            self._idle.append(idle)
            while len(self._idle) > self._most or self._idle[0].since < since:
                old.append(self._idle.pop(0))
        for each in old:
            each.connection.close()

    def _is_forwarded(self, url: Url) -> bool:
        """Whether a proxy gets the request itself, not a tunnel for it."""
        return self._proxy is not None and url.scheme == "http"

    def _way(self, url: Url) -> str:
        """Name what a connection for this URL is connected to."""
        return "proxy" if self._is_forwarded(url) else f"{url.scheme}://{url.host}:{url.port}"

    def _connect(self, url: Url) -> Connection:
        way = self._proxy or url
        stream = connect(way.host, way.port)
        try:
            if url.scheme == "https":
                if self._proxy is not None:
                    self._tunnel(stream, url)
                stream.start_tls(self._context(), url.host)
        except BaseException:
            stream.close()
            raise
        return Connection(stream)

    def _context(self) -> ssl.SSLContext:
        try:
            return self._trusted()
        except OSError as error:
            raise ConnectError(str(error)) from error

    def _tunnel(self, stream: Stream, url: Url) -> None:
        """Let the proxy connect us through to the URL's server."""
        connection = Connection(stream)
        host = f"[{url.host}]" if ":" in url.host else url.host
        target = f"{host}:{url.port}".encode("ascii")
        headers = [(b"Host", target), *self._proxy_headers()]
        connection.send(h11.Request(method="CONNECT", target=target, headers=headers))
        head = connection.receive_head()
        if not 200 <= head.status_code < 300:  # noqa: PLR2004 -- success
            # Not in its own words: they may repeat the login that it was sent.
            raise ConnectError(f"the proxy answered {head.status_code}")

    def _proxy_headers(self) -> list[tuple[bytes, bytes]]:
        login = self._proxy and self._proxy.login
        return [(b"Proxy-Authorization", login)] if login else []


def build_client(
    *, ca_file: Path | None = None, proxy: str | None = None, connections: int
) -> Client:
    """Build the client that threads share, with at most `connections` at a time.

    `ca_file` holds certificates to trust beside the usual ones; `proxy` is an `http://` URL.
    Raises `HttpError` if either can't be used. The usual ones are read when they are needed.
    """
    context = None if ca_file is None else trust(ca_file)
    trusted = usual_certificates if context is None else lambda: context
    parsed = None if proxy is None else parse_proxy(proxy)
    if proxy is not None and parsed is None:
        raise HttpError("proxy is not an http:// URL, such as http://proxy.example:3128")
    return Client(trusted=trusted, proxy=parsed, connections=connections)


def fetch(
    client: Client,
    request: Request,
    *,
    seconds: float,
    max_bytes: int = MAX_BODY,
    check: Callable[[Response], object] = lambda _: None,
) -> Response:
    """Send `request` and return the whole answer, whatever its status.

    Takes at most `seconds`. Raises `HttpError`: `TimedOut` when time is up, `TooLarge` beyond
    `max_bytes` of body, or `UnreadableBody`; both know the status. Where `check` raises the
    connection ends: who sent what nobody asked for has more to come.
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
    """Send `request` and return its status with the beginning of the body, as far as it comes.

    A body that is long, slow or broken changes nothing. Takes at most `seconds`, of which
    `body_seconds` for the body. Raises `HttpError` where no status came.
    """

    def read(pieces: Iterator[bytes], status: int, headers: Mapping[str, str]) -> Response:
        body = bytearray()
        with suppress(HttpError, h11.ProtocolError), deadline(body_seconds):
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
    """Yield the body, each piece at most one byte larger than `max_bytes` if it was packed.

    Nobody asked for compression, but a proxy on the way may not care.
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
