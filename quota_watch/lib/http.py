"""HTTP with an end: one pooled client whose requests stop at a deadline and a size.

Redirects are not followed, cookies not kept, the environment's proxies and `.netrc` not read: a
credential goes where the caller sent it and nowhere else.
"""

import logging
import queue
import re
import ssl
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpcore
import httpx

from quota_watch import __version__
from quota_watch.lib.errors import QuotaWatchError
from quota_watch.lib.network import Backend, deadline, left

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LONGEST_SECONDS = 999_999_999.0

MAX_BODY = 16 * 1024 * 1024
"""The largest body that is believed, in bytes."""


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
        transport=_Transport(trust(ca_file), proxy=proxy, connections=connections),
        headers={
            "User-Agent": f"quota-watch/{__version__}",
            "Accept-Encoding": "identity",
            # What a server sends beyond one answer must never pass for the answer to the next.
            "Connection": "close",
        },
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


def http_date(text: str) -> datetime | None:
    """Return the moment that a header's date names, or None where it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def seconds_until(retry_after: str, now: datetime) -> float | None:
    """Read a `Retry-After`: seconds, perhaps a fraction too, or a date; None if neither."""
    text = retry_after.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_SECONDS)
    at = http_date(text)
    return None if at is None else max((at - now).total_seconds(), 0.0)


def _send(client: httpx.Client, request: httpx.Request) -> httpx.Response:
    """Send; httpx works out where a redirect leads even if nobody follows it, and may fail."""
    try:
        return client.send(request, stream=True)
    except (httpx.InvalidURL, UnicodeError):
        reason = "Invalid URL in location header"
    raise httpx.RemoteProtocolError(reason, request=request)


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


def trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return what certificates are believed: the usual ones, the machine's, those in `ca_file`."""
    context = httpx.create_ssl_context()
    context.load_default_certs()  # the machine's own too: where companies put theirs
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "strerror", None) or "it holds no certificate in PEM form"
            raise HttpError(f"ca_file {ca_file} can't be used: {reason}") from None
    return context


class _Transport(httpx.BaseTransport):
    """A fixed number of lanes, each lent to one request at a time.

    httpcore's own pool is not shared between threads because it may close a connection that it
    has just given to another thread (encode/httpcore issue 1110).
    """

    def __init__(self, context: ssl.SSLContext, *, proxy: str | None, connections: int) -> None:
        self._lanes = [_Lane(context, proxy) for _ in range(connections)]
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        for lane in self._lanes:
            self._free.put(lane)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request on a free lane, which comes back when the answer is closed."""
        with ExitStack() as giving_back:
            lane = self._take(request.extensions["timeout"]["pool"])
            giving_back.callback(self._free.put, lane)
            response = lane.handle_request(request)
            response.stream = _Lent(response.stream, giving_back.pop_all())
        return response

    def close(self) -> None:
        """Close every connection."""
        for lane in self._lanes:
            lane.close()

    def _take(self, timeout: float | None) -> "_Lane":
        try:
            return self._free.get(timeout=left(timeout, httpcore.PoolTimeout))
        except (queue.Empty, httpcore.PoolTimeout):
            raise httpx.PoolTimeout("every connection is in use") from None


class _Lane(httpx.HTTPTransport):
    """httpx's transport for one request at a time, over a network that knows the deadline.

    `_pool` is the one private name this relies on; the tests notice if it moves.
    """

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        super().__init__(verify=context, trust_env=False)
        ways: dict[str, Any] = {
            "ssl_context": context,
            "max_keepalive_connections": 0,
            "network_backend": Backend(),
        }
        if proxy is None:
            self._pool = httpcore.ConnectionPool(**ways)
        else:
            parsed = _parsed_proxy(proxy)
            self._pool = httpcore.HTTPProxy(str(parsed.url), proxy_auth=parsed.raw_auth, **ways)


class _Lent(httpx.SyncByteStream):
    """A body under way; closing it gives its lane back."""

    def __init__(self, inner: Any, giving_back: ExitStack) -> None:
        self._inner, self._giving_back = inner, giving_back

    def __iter__(self) -> Iterator[bytes]:
        yield from self._inner

    def close(self) -> None:
        with self._giving_back:
            self._inner.close()


def _parsed_proxy(proxy: str) -> httpx.Proxy:
    """Parse a proxy's URL. TLS to the proxy itself is refused: TLS inside it has no deadline."""
    try:
        parsed = httpx.Proxy(proxy)
    except (ValueError, httpx.InvalidURL):
        parsed = None
    if parsed is None or parsed.url.scheme != "http" or not parsed.url.host:
        raise HttpError("proxy is not an http:// URL, such as http://proxy.example:3128")
    return parsed
