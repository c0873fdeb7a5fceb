"""Every way an answer can fail, as a typed error with what to do: refusals and bad answers."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from quota_watch.lib.http import http_date, seconds_until
from quota_watch.lib.text import one_line, span
from quota_watch.model.source import ErrorKind, UpstreamError

_SHORT, _SENTENCE = 40, 200  # characters of what is quoted

MAX_RETRY_AFTER = 86_400.0
"""The longest wait that is accepted, in seconds: the daily limit resets at 00:00 UTC."""

_EXPECTED = frozenset(
    {
        "Forbidden",
        "Insufficient scope",
        "No access to organization or no sites found",
        "Rate limit exceeded",
        "Unauthorized",
    }
)
"""Rybbit's own messages about which our sentence says more."""

_NOT_YET = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What was requested, in words, the scope a key needs for it, and the remedy without it."""

    what: str
    scope: str | None
    instead: str = ""


EVENT_COUNT = Endpoint("event count", "analytics:read")
PLAN = Endpoint(
    "plan of an organization", "org:read", ", or set the organization's limit in the config"
)
SITE_USAGE = Endpoint(
    "usage of a site", "sites:read", ", or set the organization's limit in the config"
)
ORGANIZATIONS = Endpoint("list of organizations", None)
VERSION = Endpoint("version", None)


class _Meaning(NamedTuple):
    """What went wrong, in a sentence for people, and whether waiting can help."""

    kind: ErrorKind
    message: str
    may_pass: bool


def error_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    organization: str | None,
    server: str,
    endpoint: Endpoint = EVENT_COUNT,
) -> UpstreamError:
    """Return the error for an answer other than 200 (UPSTREAM.md § 3, Errors).

    `headers` must find names in lower case. The message names server and organization.
    """
    answer = _object(body)
    retry_after = _retry_after(headers, answer)
    scope = next((name for name in ("burst", "daily") if answer.get("scope") == name), None)
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            meaning = _refused(status, answer, endpoint)
        case HTTPStatus.TOO_MANY_REQUESTS:
            meaning = _limited(scope, retry_after)
        case _:
            meaning = _failed(status, headers, endpoint)
    return UpstreamError(
        meaning.kind,
        f"{place(server, organization)}: {meaning.message}{_own_words(answer, body)}",
        may_pass=meaning.may_pass,
        status=status,
        retry_after=retry_after,
        scope=scope,
    )


def place(server: str, organization: str | None) -> str:
    """Name an organization and its server, without a password in the server's URL.

    `organization` None: the server as such.
    """
    scheme, slashes, rest = one_line(server, None).rpartition("://")
    host, slash, path = rest.partition("/")
    address = f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"
    if organization is None:
        return address
    return f"organization {one_line(organization, None) or '(no id)'} at {address}"


def _refused(status: int, answer: Mapping[str, Any], endpoint: Endpoint) -> _Meaning:
    """Distinguish the refusals; what Rybbit can't know without its database may pass."""
    error = quotable(answer.get("error")) or ""
    if "required" in answer or error == "Insufficient scope":
        scope = quotable(answer.get("required")) or endpoint.scope or "that this needs"
        return _Meaning(
            ErrorKind.INSUFFICIENT_SCOPE,
            f"API key lacks the scope {scope} ({status}). Give it that scope in Rybbit, or"
            f" make a key without restrictions{endpoint.instead}",
            may_pass=False,
        )
    if error.startswith("No access to organization"):
        return _Meaning(
            ErrorKind.NO_ACCESS,
            f"API key sees no site of this organization ({status}). Either it has none, or"
            " the key's owner can see none, or it is a Rybbit before 2.7.0, which accepts no keys"
            " here, or its database is down",
            may_pass=True,
        )
    if endpoint.scope is None:
        return _Meaning(
            ErrorKind.FORBIDDEN,
            f"the {endpoint.what} was refused ({status}). The API key is wrong or expired; rarely"
            " an outage: check api_key and base_url",
            may_pass=True,
        )
    return _Meaning(
        ErrorKind.FORBIDDEN,
        f"API key rejected ({status}): revoked, expired or of another organization; rarely an"
        " outage. Check api_key and id",
        may_pass=True,
    )


def _limited(scope: str | None, retry_after: float | None) -> _Meaning:
    wait = "" if retry_after is None else f"; retry after {span(timedelta(seconds=retry_after))}"
    return _Meaning(
        ErrorKind.RATE_LIMITED,
        f"too many requests for this key's {f'{scope} ' if scope else ''}limit (429){wait}. Other"
        " programs with keys of the same owner use it too; a longer poll.interval uses less",
        may_pass=True,
    )


def _failed(status: int, headers: Mapping[str, str], endpoint: Endpoint) -> _Meaning:
    """Say what any other status means."""
    match status:
        case HTTPStatus.NOT_FOUND:
            return _Meaning(
                ErrorKind.NOT_FOUND,
                f"there is no {endpoint.what} at this address (404). base_url is probably wrong:"
                " it is the address of Rybbit itself, without /api",
                may_pass=False,
            )
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _Meaning(
                ErrorKind.UPSTREAM_ERROR,
                f"the server failed ({status}). If this persists, check its own log",
                may_pass=True,
            )
        case _ if status >= HTTPStatus.BAD_REQUEST:
            return _Meaning(
                ErrorKind.UPSTREAM_ERROR,
                f"the server did not accept the request ({status}). It may be a release of"
                " Rybbit that this quota-watch does not know",
                may_pass=status in _NOT_YET,
            )
        case _ if status >= HTTPStatus.MULTIPLE_CHOICES:
            host = _host(headers.get("location", "")) or "another address"
            return _Meaning(
                ErrorKind.BAD_ANSWER,
                f"base_url redirects ({status}) to {host}. That was not followed and the api_key"
                " was not sent there: set base_url to Rybbit's own address",
                may_pass=True,
            )
        case _:
            why = f"the answer is {status}, where Rybbit's is 200"
            return _Meaning(ErrorKind.BAD_ANSWER, why, may_pass=True)


def _host(location: str) -> str | None:
    """Return the host of a redirect's target; its path and query may hold secrets."""
    try:
        return quotable(urlsplit(location).hostname)
    except ValueError:
        return None


def _own_words(answer: Mapping[str, Any], body: bytes) -> str:
    """Return upstream's own message, as an addition to our sentence."""
    if looks_like_html(body):
        return " (it was a web page, not JSON: something in front of Rybbit answered)"
    message = quotable(answer.get("message")) or quotable(answer.get("error"))
    if message in _EXPECTED:
        return ""
    advice = quotable(answer.get("resolution"))
    words = ". ".join(words.rstrip(".") for words in (message, advice) if words)
    return f' (its words: "{words}")' if words else ""


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _retry_after(headers: Mapping[str, str], answer: Mapping[str, Any]) -> float | None:
    """Return the wait that upstream asks for in seconds: its header's, else its body's."""
    sent = http_date(headers.get("date", ""))  # our own clock may be off
    values = (headers.get("retry-after", ""), answer.get("retryAfter"))
    texts = (str(each) for each in values if isinstance(each, int | float | str))
    waits = (seconds_until(text, sent) for text in texts if len(text) < _SHORT)
    return next((min(wait, MAX_RETRY_AFTER) for wait in waits if wait is not None), None)


def bad_answer(message: str, *, status: int | None = 200) -> UpstreamError:
    """Return the error for an answer that is rejected; the next one may be better."""
    return UpstreamError(ErrorKind.BAD_ANSWER, message, may_pass=True, status=status)


def quotable(text: Any) -> str | None:
    """Return upstream's own words on one line, or None where there are none or too many."""
    line = one_line(text, None) if isinstance(text, str) else ""
    return line if 0 < len(line) <= _SENTENCE else None


def looks_like_html(body: bytes) -> bool:
    """Recognize a web page or XML; no JSON begins so."""
    return body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def read_json(body: bytes) -> Any:
    """Decode a body as JSON; raises `UpstreamError` of kind `bad_answer`."""
    if not body.strip():
        raise bad_answer("it is empty")
    if looks_like_html(body):
        raise bad_answer("it is a web page, not JSON: base_url may not point to Rybbit's API")
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_unambiguous, parse_constant=_no_number
        )
    except UnicodeDecodeError:
        raise bad_answer("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        where = f"at character {error.pos} of {len(error.doc)}"
        raise bad_answer(f"it is not JSON, or was cut short ({error.msg} {where})") from None
    except RecursionError:
        raise bad_answer("it is JSON nested too deeply to come from Rybbit") from None
    except ValueError as error:  # a number of thousands of digits
        raise bad_answer(f"it is not valid JSON: {quotable(str(error))}") from None


def read_object(body: bytes) -> Mapping[str, Any]:
    """Decode a body that must be an object; raises as `read_json`."""
    answer = read_json(body)
    if not isinstance(answer, dict):
        raise bad_answer(f"it is {excerpt(answer)}, not an object")
    return answer


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, but not one that has a name twice."""
    built = dict(pairs)
    if len(built) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise bad_answer(f"it has the field {excerpt(name)} twice in one object")
    return built


def _no_number(name: str) -> Any:
    raise bad_answer(f"it has {name} where JSON has no such number")


def own_error(answer: Any) -> str:
    """Return the error inside an answer of 200, as an addition to a sentence."""
    error = quotable(answer.get("error")) if isinstance(answer, dict) else None
    return f": it says {error!r}" if error else ""


def excerpt(value: Any) -> str:
    """Show a JSON value in at most about forty characters."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return f'"{one_line(value, _SHORT)}"'
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return one_line(str(value), _SHORT)
