"""HTTP with an end: one pooled client whose requests stop at a deadline and a size.

httpx's timeouts are per read, so a byte now and then would never end them. Here every wait of
a request (name lookup, connect, TLS, read, write) gets at most what is left of the whole
request's time. Redirects are not followed, cookies not kept, the environment's proxies and
`.netrc` not read: a credential goes where the caller sent it and nowhere else.
"""

import logging
import queue
import socket
import ssl
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpcore
import httpx

from quota_watch import __version__
from quota_watch.clock import SystemClock
from quota_watch.domain.errors import QuotaWatchError

MAX_BODY = 16 * 1024 * 1024
"""The largest body that is believed, in bytes."""

_KEEP_ALIVE = 4.0  # seconds; below the 5 s after which Node hangs up, so that we do it first
_PIECE = 4096  # bytes; a ready socket takes so much at once, so one wait is one piece
_SOCKET_OPTION = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

_clock = SystemClock()
_ends: ContextVar[float | None] = ContextVar("ends", default=None)


class HttpError(QuotaWatchError):
    """A request could not be set up, or its answer could not be taken."""


class BodyError(HttpError):
    """An answer of status `status` came, but not its body."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class TooLarge(BodyError):  # noqa: N818 - reads as what happened, like TooManyRedirects in httpx
    """The body was larger than allowed; the rest of it was not read."""


class UnreadableBody(BodyError):  # noqa: N818
    """The body came compressed in a way that can't be undone."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer: status, headers (names in any case) and the body, decompressed."""

    status: int
    headers: httpx.Headers
    body: bytes


def build_client(
    *, ca_file: Path | None = None, proxy: str | None = None, connections: int
) -> httpx.Client:
    """Build the client that threads share, with at most `connections` at a time.

    `ca_file` holds certificates to trust beside the usual ones; `proxy` is an `http://` URL.
    Raises `HttpError` if either can't be used.
    """
    for name in ("httpx", "httpcore"):  # they log whole URLs, and some are secrets
        logging.getLogger(name).setLevel(logging.WARNING)
    return httpx.Client(
        transport=_Transport(_trust(ca_file), proxy=proxy, connections=connections),
        headers={"User-Agent": f"quota-watch/{__version__}", "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        follow_redirects=False,
        trust_env=False,
    )


def fetch(
    client: httpx.Client, request: httpx.Request, *, seconds: float, max_bytes: int = MAX_BODY
) -> Response:
    """Send `request` and return the whole answer, whatever its status.

    Takes at most `seconds`. Raises `httpx.HTTPError` (`httpx.TimeoutException` when time is
    up), `TooLarge` beyond `max_bytes` of body, or `UnreadableBody`; both know the status.
    """
    request.extensions["timeout"] = httpx.Timeout(seconds).as_dict()
    with deadline(seconds):
        response = _send(client, request)
        try:
            body = _body(response, max_bytes)
        finally:
            response.close()
    return Response(response.status_code, response.headers, body)


def _send(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send; httpx works out where a redirect leads even if nobody follows it, and may fail."""
    try:
        return client.send(request, stream=True)
    except (httpx.InvalidURL, UnicodeError):
        reason = "Invalid URL in location header"
    raise httpx.RemoteProtocolError(reason, request=request)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Let every wait of this thread's requests end `seconds` from now, or earlier."""
    ends = _clock.monotonic() + seconds
    outer = _ends.get()
    token = _ends.set(ends if outer is None else min(ends, outer))
    try:
        yield
    finally:
        _ends.reset(token)


def _left(timeout: float | None, expired: type[httpcore.TimeoutException]) -> float | None:
    """Return `timeout`, but not more than is left of the deadline; raise `expired` if over."""
    ends = _ends.get()
    if ends is None:
        return timeout
    left = ends - _clock.monotonic()
    if left <= 0:
        raise expired("the time for the whole request is up")
    return left if timeout is None else min(timeout, left)


def _body(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    for piece in _decompressed(response, max_bytes):
        body += piece
        if len(body) > max_bytes:
            raise TooLarge(
                f"the body is larger than {max_bytes} bytes", status=response.status_code
            )
    return bytes(body)


def _decompressed(response: httpx.Response, max_bytes: int) -> Iterator[bytes]:
    """Yield the body, each piece at most one byte larger than `max_bytes` if it was packed.

    Nobody asked for compression, but a proxy on the way may not care.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        yield from response.iter_raw()
        return
    status = response.status_code
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise UnreadableBody("the body is packed in a way that was not asked for", status=status)
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, as its header says
    began = False
    try:
        for piece in response.iter_raw():
            began = True
            yield unzip.decompress(piece, max_bytes + 1)
    except zlib.error:
        raise UnreadableBody("the body says gzip but is not", status=status) from None
    if began and (not unzip.eof or unzip.unused_data):
        raise UnreadableBody("the packed body is cut short or runs past its end", status=status)


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.load_default_certs()  # the machine's own too: where companies put theirs
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "strerror", None) or "it holds no certificate in PEM form"
            raise HttpError(f"ca_file {ca_file} can't be used: {reason}") from None
    return context


class _Transport(httpx.HTTPTransport):
    """httpx's transport over a pool whose network knows the deadline.

    `_pool` is the one private name this relies on; the tests notice if it moves.
    """

    def __init__(self, context: ssl.SSLContext, *, proxy: str | None, connections: int) -> None:
        super().__init__(verify=context, trust_env=False)
        limits: dict[str, Any] = {
            "ssl_context": context,
            "max_connections": connections,
            "max_keepalive_connections": connections,
            "keepalive_expiry": _KEEP_ALIVE,
            "network_backend": _Backend(),
        }
        if proxy is None:
            self._pool = httpcore.ConnectionPool(**limits)
        else:
            way = _parsed_proxy(proxy)
            self._pool = httpcore.HTTPProxy(str(way.url), proxy_auth=way.raw_auth, **limits)


def _parsed_proxy(proxy: str) -> httpx.Proxy:
    """Parse a proxy's URL. TLS to the proxy itself is refused: TLS inside it has no deadline."""
    try:
        parsed = httpx.Proxy(proxy)
    except (ValueError, httpx.InvalidURL):
        parsed = None
    if parsed is None or parsed.url.scheme != "http" or not parsed.url.host:
        raise HttpError("proxy is not an http:// URL, such as http://proxy.example:3128")
    return parsed


class _Backend(httpcore.NetworkBackend):
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
        addresses = _resolve(host, port, _left(timeout, httpcore.ConnectTimeout))
        failure: Exception = httpcore.ConnectError("the name has no address")
        for done, address in enumerate(addresses):
            left = _left(timeout, httpcore.ConnectTimeout)
            share = None if left is None else left / (len(addresses) - done)
            try:
                return _Stream(
                    self._inner.connect_tcp(
                        address, port, share, local_address, socket_options or ()
                    )
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait is within the deadline of the request that uses it."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            left = _left(timeout, httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + _PIECE], left)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
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
