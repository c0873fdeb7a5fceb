"""Signed JSON over HTTP: the facts as they are, to a URL that may itself be a secret."""

import json
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import httpcore
import httpx

from quota_watch.domain.rules import Severity
from quota_watch.http import http_date, trust
from quota_watch.network import Backend, deadline
from quota_watch.notify.channel import ATTEMPT_SECONDS, Message
from quota_watch.notify.errors import DeliveryError, no_connection, too_late
from quota_watch.notify.retry import WEBHOOK_RETRIES
from quota_watch.signing import signature, signing_key
from quota_watch.text import one_line

_ANSWER_BYTES = 64 * 1024
_ANSWER_SECONDS = 2.0
_PERMANENT = frozenset({HTTPStatus.GONE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
_DIGITS = 9


class WebhookChannel:
    """Posts each message once to one URL, signed with each of `secrets`.

    `client` is the caller's, shared and closed by it. `tls` is for `check` alone. Raises
    `SigningSecretError`.
    """

    takes_period_ends: Final = True
    batches: Final = False

    def __init__(
        self,
        *,
        name: str,
        url: str,
        secrets: Sequence[str],
        headers: Mapping[str, str],
        min_severity: Severity,
        client: httpx.Client,
        tls: ssl.SSLContext | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self.name = name
        self.recipients = ("",)
        self.min_severity = min_severity
        self.retries = WEBHOOK_RETRIES
        self._url = httpx.URL(url)
        self._keys = tuple(signing_key(secret) for secret in secrets)
        self._headers = dict(headers)
        self._client = client
        self._tls = tls
        self._attempt_seconds = attempt_seconds

    def send(self, message: Message, *, now: datetime) -> None:
        """Post the facts; any 2xx is success. Redirects are not followed."""
        body = body_of(message.facts[0])
        headers = httpx.Headers(self._headers)  # which knows names in any case
        headers.update(self._standard(message.id, int(now.timestamp()), body))
        request = self._client.build_request(
            "POST",
            self._url,
            content=body,
            headers=headers,
            timeout=self._attempt_seconds,
        )
        try:
            status, answered = self._post(request)
        except httpx.TimeoutException:
            raise DeliveryError(too_late(self._host, self._attempt_seconds)) from None
        except httpx.ConnectError as error:
            raise DeliveryError(no_connection(self._host, error)) from None
        except (httpx.InvalidURL, UnicodeError):  # httpx reads a redirect though it stays here
            nowhere = f"{self._host} redirects to something that is no URL"
            raise DeliveryError(nowhere, start_late=True) from None
        except httpx.HTTPError as error:
            what = type(error).__name__
            raise DeliveryError(f"the exchange with {self._host} broke off ({what})") from None
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(status, answered.get("retry-after"), now)

    def check(self) -> str:
        """Connect, with TLS for an https URL, and leave without a request."""
        try:
            with deadline(self._attempt_seconds):
                self._connect().close()
        except httpcore.TimeoutException:
            raise DeliveryError(too_late(self._host, self._attempt_seconds)) from None
        except httpcore.ConnectError as error:
            raise DeliveryError(no_connection(self._host, error.__cause__ or error)) from None
        return f"{self._host} can be reached (nothing was sent)"

    def _connect(self) -> httpcore.NetworkStream:
        is_https = self._url.scheme == "https"
        port = self._url.port or (443 if is_https else 80)
        stream = Backend().connect_tcp(self._url.host, port)
        return stream.start_tls(self._tls or trust(), self._url.host) if is_https else stream

    @property
    def _host(self) -> str:
        """All that may be shown of the URL."""
        return one_line(self._url.host)

    def _standard(self, id: str, timestamp: int, body: bytes) -> dict[str, str]:  # noqa: A002 - as in the specification
        """Return the headers of Standard Webhooks; the timestamp is the attempt's."""
        headers = {
            "Content-Type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
        }
        if self._keys:
            signed = signature(self._keys, id=id, timestamp=timestamp, body=body)
            headers["webhook-signature"] = signed
        return headers

    def _post(self, request: httpx.Request) -> tuple[int, httpx.Headers]:
        """Send and return status and headers, which are all that decides."""
        with deadline(self._attempt_seconds):
            response = self._client.send(request, stream=True)
            try:
                _read_a_little(response)
            finally:
                response.close()
        return response.status_code, response.headers

    def _refusal(self, status: int, retry_after: str | None, now: datetime) -> DeliveryError:
        passing = status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return DeliveryError(
            f"{self._host} answered {_named(status)}",
            permanent=status in _PERMANENT,
            status=status,
            retry_after=seconds_until(retry_after, now),
            start_late=not passing,
        )


def body_of(facts: Mapping[str, Any]) -> bytes:
    """Return the facts as JSON, in the same bytes however they were stored in between."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def seconds_until(retry_after: str | None, now: datetime) -> float | None:
    """Return what a `Retry-After` header asks to wait, in seconds or as a date, or None."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text if len(text) <= _DIGITS else "9" * _DIGITS)
    at = http_date(text)
    return None if at is None else max((at - now).total_seconds(), 0.0)


def _read_a_little(response: httpx.Response) -> None:
    """Let the receiver finish a short answer; a long, slow or broken one changes nothing."""
    read = 0
    with suppress(httpx.HTTPError), deadline(_ANSWER_SECONDS):
        for piece in response.iter_raw():
            read += len(piece)
            if read > _ANSWER_BYTES:
                return


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
