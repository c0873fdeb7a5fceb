"""One question to a Rybbit server and its answer, or a typed error.

Every request to upstream goes through `Asker.read`; a key leaves it in its header only.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Generic, TypeVar

from quota_watch.lib.http import BodyError, Client, Request, Response, fetch
from quota_watch.lib.logs import Redactor
from quota_watch.lib.machine import Clock
from quota_watch.lib.network import HttpError, ProtocolError, TimedOut
from quota_watch.model.source import ErrorKind, NotYet, UpstreamError
from quota_watch.rybbit.errors import Endpoint, bad_answer, error_of, place, quotable
from quota_watch.rybbit.pacing import Budget, Pacer, Purpose

T = TypeVar("T")

_WORTH_HIDING = 8  # characters; a shorter key could be a part of any honest answer
_REFUSALS = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""Plain refusals: nothing follows them, so the connection serves the next question."""

_WORTH_WAITING = 60.0  # seconds; a bucket is full again by then, a day's budget is not
_LONGEST_PAUSE = 10.0  # of what a refusal asks for
_WORTH_TELLING = 1.0
_MOST_REFUSALS = 3  # for requests that others made at the same moment

_BROKEN_OFF = ("disconnected", "peer closed")  # how h11 and we name a hang-up


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask `server`, about `organization` or, where that is None, about the server as such.

    `path` is quoted, with its query. `key` None: it is public, needs no credential and no budget.
    """

    server: str
    organization: str | None
    endpoint: Endpoint
    path: str
    key: str | None = field(repr=False)
    purpose: Purpose = Purpose.EXTRA

    @property
    def place(self) -> str:
        """What it is about, to begin a sentence with."""
        return place(self.server, self.organization)


class Asker:
    """Asks questions over one HTTP client; an answer takes `timeout` seconds at most."""

    def __init__(self, http: Client, *, timeout: float, pacer: Pacer, clock: Clock) -> None:
        self._http = http
        self._timeout = timeout
        self._pacer = pacer
        self._clock = clock
        self._requests: dict[tuple[str, str | None], Request] = {}  # by server and key

    def read(self, question: Question, parse: Callable[[bytes], T]) -> T:
        """Return what `parse` makes of the body of a 200.

        Raises `UpstreamError` and nothing else for whatever upstream does, and `NotYet` where the
        pacer allows no request now.
        """
        budget = self._reserve(question)
        exchange = _Exchange(question, parse)
        failure: UpstreamError | None = None
        try:
            answer = self._send(question, exchange)
            if answer.status == HTTPStatus.OK:
                return exchange.value
            raise _refusal(question, answer)
        except UpstreamError as error:
            failure = _without_key(error, question.key)
            raise
        finally:  # whatever happened: until then it counts as under way
            if budget is not None:
                budget.learn(
                    exchange.answer,
                    failure,
                    question.purpose,
                    now=self._clock.now(),
                    at=self._clock.monotonic(),
                )

    def _reserve(self, question: Question) -> Budget | None:
        """Take a token of the key's budget and return that; None where there is no key."""
        if question.key is None:
            return None
        budget = self._pacer.budget(question.server, question.key)
        wait = budget.reserve(question.purpose, at=self._clock.monotonic())
        if wait > 0:
            raise NotYet(wait)
        return budget

    def _send(self, question: Question, exchange: "_Exchange[T]") -> Response:
        """Send the question, have its answer read, and return that, whatever its status."""
        try:
            request = self._request(question).below(question.path)
            return fetch(self._http, request, seconds=self._timeout, check=exchange.receive)
        except BodyError as error:
            if error.status != HTTPStatus.OK:  # a refusal is understood without its body
                exchange.answer = Response(error.status, {}, b"")
                return exchange.answer
            failure = _rejection(question, str(error))
        except (HttpError, ValueError, OSError) as error:
            failure = _failure(error, question, self._timeout)
        raise failure  # out here it does not drag the original along, which may quote upstream

    def _request(self, question: Question) -> Request:
        """Return the request that all questions with this key to this server begin with."""
        server, key = question.server, question.key
        request = self._requests.get((server, key))
        if request is None:
            headers = {"Accept": "application/json"}
            if key is not None:
                # The encoder's own complaint would show the key whole.
                if not (key.isascii() and key.isprintable() and key == key.strip() and key):
                    raise UpstreamError(
                        ErrorKind.FORBIDDEN,
                        f"{question.place}: the api_key is empty or has characters no key can have"
                        " (a line break, a space at an end, a letter that is not ASCII), so it was"
                        " not sent. Copy it again",
                        may_pass=False,
                    )
                headers["Authorization"] = f"Bearer {key}"
            request = self._http.build_request("GET", server, headers=headers)
            self._requests[server, key] = request
        return request


def patiently(
    request: Callable[[], T],
    *,
    longest: float = _LONGEST_PAUSE,
    sleep: Callable[[float], object] = time.sleep,
    on_wait: Callable[[], object] = lambda: None,
) -> T:
    """Make the request, waiting a little where the key's budget or a refusal asks for it.

    `longest` are the seconds up to which a refusal may ask for a pause; `on_wait` is called before
    it sleeps for a second or more. Raises `NotYet`, or the refusal, where it would have to wait for
    long, or was refused again and again.
    """
    refusals = 0
    while True:
        try:
            return request()
        except NotYet as not_yet:
            if not_yet.seconds > _WORTH_WAITING:
                raise
            if not_yet.seconds >= _WORTH_TELLING:
                on_wait()
            sleep(not_yet.seconds)
        except UpstreamError as error:  # after a refusal it is the budget that asks to wait
            refusals += 1
            is_long = (error.retry_after or math.inf) > longest
            if error.kind is not ErrorKind.RATE_LIMITED or is_long or refusals == _MOST_REFUSALS:
                raise


class _Exchange(Generic[T]):
    """What has come of a question so far: its answer, once whole, and what `parse` made of it."""

    value: T  # there once a 200 has been received

    def __init__(self, question: Question, parse: Callable[[bytes], T]) -> None:
        self._question = question
        self._parse = parse
        self.answer: Response | None = None

    def receive(self, answer: Response) -> None:
        """Keep the answer and read it; where that raises, its connection serves nothing more."""
        self.answer = answer
        if answer.status == HTTPStatus.OK:
            self.value = self._parsed(answer.body)
        elif answer.status not in _REFUSALS:
            raise _refusal(self._question, answer)

    def _parsed(self, body: bytes) -> T:
        try:
            return self._parse(_without_key_in(body, self._question.key))
        except UpstreamError as error:
            raise _rejection(self._question, error.message) from None


def _refusal(question: Question, answer: Response) -> UpstreamError:
    return error_of(
        answer.status,
        answer.headers,
        _without_key_in(answer.body, question.key),
        organization=question.organization,
        server=question.server,
        endpoint=question.endpoint,
    )


def _failure(error: Exception, question: Question, timeout: float) -> UpstreamError:
    """Return an error of ours for why no answer arrived."""
    place = question.place
    reason = quotable(str(error)[:200]) or type(error).__name__
    brief = reason.partition(":")[0]
    match error:
        case TimedOut():
            return UpstreamError(
                ErrorKind.TIMEOUT,
                f"{place}: no whole answer within {timeout:g} s ({reason}). If that persists, check"
                " that the server is up, or raise rybbit.timeout",
                may_pass=True,
            )
        case ValueError():
            return UpstreamError(
                ErrorKind.CONNECTION,
                f"{place}: this address can't be used ({reason}). Correct base_url",
                may_pass=False,
            )
        case ProtocolError() if not any(words in brief for words in _BROKEN_OFF):
            return bad_answer(f"{place}: the answer is not proper HTTP ({brief})", status=None)
        case ProtocolError():
            reason = brief  # what follows is upstream's own bytes
    advice = f"the connection failed ({reason}). If this persists, check base_url and the network"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        advice = (
            f"its certificate is not trusted ({reason}). If it is from your own authority, name"
            " that in rybbit.ca_file"
        )
    return UpstreamError(ErrorKind.CONNECTION, f"{place}: {advice}", may_pass=True)


def _rejection(question: Question, why: str) -> UpstreamError:
    return bad_answer(f"{question.place}: the answer was rejected: {why}")


def _without_key(error: UpstreamError, key: str | None) -> UpstreamError:
    """Blot the key out of an error's words: upstream may spell it in any way it likes."""
    if key is not None and len(key) >= _WORTH_HIDING:
        error.message = Redactor([key, key.lower(), key.upper()])(error.message)
        error.args = (error.message,)
    return error


def _without_key_in(body: bytes, key: str | None) -> bytes:
    """Blot the key out of an answer that repeats it: our errors quote answers."""
    for form in _forms(key):
        if form in body:
            body = body.replace(form, b"[api_key]")
    return body


@lru_cache(maxsize=64)
def _forms(key: str | None) -> frozenset[bytes]:
    if key is None or len(key) < _WORTH_HIDING:
        return frozenset()
    return frozenset({key.encode(), json.dumps(key)[1:-1].encode()})
