"""Asking Rybbit for the event counts of an organization, and believing only sane answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from http import HTTPStatus
from urllib.parse import quote

import httpx

from quota_watch.domain.periods import each_day
from quota_watch.domain.source import ErrorKind, Organization, UpstreamError
from quota_watch.domain.usage import DayCounts
from quota_watch.http import BodyError, Response, fetch
from quota_watch.rybbit.answers import bad_answer, parse_days
from quota_watch.rybbit.refusals import error_of
from quota_watch.rybbit.wording import place, quotable

_WORTH_HIDING = 8  # characters; a shorter key could be a part of any honest answer
_BROKEN_OFF = ("disconnected", "peer closed")  # how httpcore and h11 name a hang-up


class RybbitClient:
    """The `Source` that is a Rybbit server, or several.

    Each organization's key goes to that organization's own server and nowhere else.
    """

    def __init__(
        self, http: httpx.Client, *, keys: Mapping[Organization, str], timeout: float
    ) -> None:
        self._http = http
        self._keys = keys
        self._timeout = timeout

    def days(self, organization: Organization, start: date, end: date) -> Sequence[DayCounts]:
        """Return the counts of every day from `start` to `end`, both included.

        Only the row of `end` itself may be missing, as today's is at 00:00:00 (UPSTREAM.md
        § 3). Raises `UpstreamError` and nothing else for whatever upstream does.
        """
        answer = self._ask(organization, start, end)
        if answer.status != HTTPStatus.OK:
            raise error_of(
                answer.status,
                answer.headers,
                answer.body,
                organization=organization.id,
                server=organization.server,
            )
        try:
            days = parse_days(answer.body)
            _check_range(days, start, end)
        except UpstreamError as error:
            raise _not_believed(organization, error.message) from None
        return days

    def _ask(self, organization: Organization, start: date, end: date) -> Response:
        key = _sendable(self._keys[organization], organization)
        asked = {"start_date": start.isoformat(), "end_date": end.isoformat(), "time_zone": "UTC"}
        headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        try:
            url = _url(organization)
            request = self._http.build_request("GET", url, params=asked, headers=headers)
            answer = fetch(self._http, request, seconds=self._timeout)
        except BodyError as error:
            if error.status != HTTPStatus.OK:  # a refusal is understood without its body
                return Response(error.status, httpx.Headers(), b"")
            failure = _not_believed(organization, str(error))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError) as error:
            failure = self._failure(error, organization)
        else:
            return replace(answer, body=_blotted(key, answer.body))
        raise failure  # out here it does not drag the original along, which may quote upstream

    def _failure(self, error: Exception, organization: Organization) -> UpstreamError:
        """Return what kept an answer from coming, as our own error."""
        where = place(organization.server, organization.id)
        reason = quotable(str(error)[:200]) or type(error).__name__
        if isinstance(error, httpx.TimeoutException):
            return UpstreamError(
                ErrorKind.TIMEOUT,
                f"{where}: no whole answer within {self._timeout:g} s ({reason}). If that lasts,"
                " look whether the server is up, or raise rybbit.timeout",
                may_pass=True,
            )
        if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL | UnicodeError):
            return UpstreamError(
                ErrorKind.CONNECTION,
                f"{where}: this address can't be asked ({reason}). Correct base_url",
                may_pass=False,
            )
        if isinstance(error, httpx.RemoteProtocolError):
            reason = reason.partition(":")[0]  # what follows is upstream's own bytes
            if not any(words in reason for words in _BROKEN_OFF):
                return bad_answer(f"{where}: the answer is not proper HTTP ({reason})", status=None)
        return UpstreamError(ErrorKind.CONNECTION, f"{where}: {_advice(reason)}", may_pass=True)


def _url(organization: Organization) -> str:
    base = organization.server.rstrip("/")
    return f"{base}/api/org-event-count/{quote(organization.id, safe='')}"


def _not_believed(organization: Organization, why: str) -> UpstreamError:
    where = place(organization.server, organization.id)
    return bad_answer(f"{where}: the answer is not believed: {why}")


def _advice(reason: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return (
            f"its certificate is not trusted ({reason}). If it is your own authority's, name that"
            " in rybbit.ca_file"
        )
    return f"the connection failed ({reason}). If that lasts, check base_url and the network"


def _sendable(key: str, organization: Organization) -> str:
    """Return the key if a header can carry it; httpx's own complaint would show it whole."""
    if key.isascii() and key.isprintable() and key == key.strip() and key:
        return key
    raise UpstreamError(
        ErrorKind.FORBIDDEN,
        f"{place(organization.server, organization.id)}: the api_key is empty or has characters"
        " that no key has (a line break, a space at an end, a letter that is not ASCII), so it"
        " was not sent. Copy it again",
        may_pass=False,
    )


def _blotted(key: str, body: bytes) -> bytes:
    """Blot the key out of an answer that repeats it: our errors quote answers."""
    if len(key) >= _WORTH_HIDING:
        for form in (key, json.dumps(key)[1:-1]):
            body = body.replace(form.encode(), b"[api_key]")
    return body


def _check_range(days: Sequence[DayCounts], start: date, end: date) -> None:
    """Refuse days nobody asked for and gaps; both mean that something was misunderstood."""
    got = {counts.day for counts in days}
    outside = [day for day in sorted(got) if not start <= day <= end]
    if outside:
        raise bad_answer(
            f"it has {len(outside)} days outside {start} to {end}, such as {outside[0]}"
        )
    missing = [day for day in each_day(start, end) if day not in got and day != end]
    if missing:
        raise bad_answer(
            f"{len(missing)} days of {start} to {end} are missing, the first is {missing[0]}"
        )
