"""Messages over HTTP, in the form a service expects, to a URL that may itself be a secret.

The form is the facts themselves, the result of a user's template, or that of a service.
"""

import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.client import responses
from typing import Any

from quota_watch.channels.channel import (
    ATTEMPT_SECONDS,
    Channel,
    DeliveryError,
    Notice,
    why_unreached,
)
from quota_watch.config.secrets import signing_key
from quota_watch.lib.http import Client, Response, glance, seconds_until
from quota_watch.lib.logs import Redactor
from quota_watch.lib.network import ConnectError, HttpError, connect, deadline, trust
from quota_watch.lib.text import iso, one_line
from quota_watch.lib.urls import parse_url
from quota_watch.messages.facts import Facts, Message
from quota_watch.messages.render import Renderer, TemplateError
from quota_watch.model.watch import Severity

_ANSWER_BYTES = 64 * 1024
_ANSWER_SECONDS = 2.0
_PERMANENT = frozenset({HTTPStatus.GONE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_PASSING = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)

AT_ONCE = 4
"""How many messages of one channel may be under way at a time."""

JSON_TYPE = "application/json"
_TEXT_TYPE = "text/plain; charset=utf-8"
_MUST_BE_JSON = ".json.j2"


@dataclass(frozen=True, slots=True)
class Post:
    """One request's body."""

    body: bytes
    content_type: str = JSON_TYPE


class Form:
    """How a message becomes requests, and how a refusal of them is read.

    This one is `format = "json"`: the facts as they are. What stands before the methods is what
    its channel takes.
    """

    takes_period_ends: bool = True
    batches: bool = False
    keeps_incidents: bool = False

    def posts(self, message: Message, now: datetime) -> Sequence[Post]:  # noqa: ARG002 -- for others
        """Make the requests, sent in order. May raise `TemplateError`."""
        return [Post(compact(body)) for body in message.bodies]

    def notice(self, notice: Notice, now: datetime) -> Post:
        """Put plain words where most receivers look: under our names, Slack's and Discord's."""
        words = f"{notice.title}\n{notice.text}"
        body = {"version": 1, "type": "notice", "id": notice.id, "timestamp": iso(now)}
        return Post(compact({**body, "title": notice.title, "text": words, "content": words}))

    def complaint(self, answer: bytes) -> tuple[str, float | None]:  # noqa: ARG002 -- for others
        """Read what is said of a refusal, and the seconds that it asks to wait.

        Here nothing: an unknown receiver may answer anything, even what it was sent.
        """
        return "", None


class OwnTemplate(Form):
    """The form of the user's template `webhook/NAME`, which sees `variables` as `vars`.

    What parses as JSON is sent as that, all else as text; a `*.json.j2` must make JSON.
    """

    def __init__(self, renderer: Renderer, name: str, *, variables: Mapping[str, Any]) -> None:
        self._renderer = renderer
        self._name = name
        self._variables = variables

    def posts(self, message: Message, now: datetime) -> Sequence[Post]:
        """Render each of the facts."""
        return [self._post(facts, now) for facts in message.facts]

    def _post(self, facts: Facts, now: datetime) -> Post:
        text = self._renderer.webhook(self._name, facts, variables=self._variables, now=now)
        problem = _not_json(text)
        if problem and self._name.endswith(_MUST_BE_JSON):
            raise TemplateError(f"template webhook/{self._name} doesn't make JSON: {problem}")
        return Post(text.encode(), _TEXT_TYPE if problem else JSON_TYPE)


def compact(payload: Mapping[str, Any]) -> bytes:
    """Write JSON in the same bytes however the payload was stored in between."""
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def json_object(answer: bytes) -> Mapping[str, Any]:
    """Read an answer's JSON object; an empty one where it is none."""
    try:
        body = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _not_json(text: str) -> str | None:
    """Say what keeps a text from being JSON, None where it is."""
    try:
        json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        return f"{error.msg} in line {error.lineno} of what it made; use the filter tojson"
    except (ValueError, RecursionError) as error:
        return str(error)
    return None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


class WebhookChannel(Channel):
    """Posts each message in its `form` to one URL, signed with each of `secrets`.

    `client` is the caller's, shared and closed by it; `proxy` is the proxy it goes through.
    `hidden` are secrets that a receiver may repeat. `tls` is for `check` alone. Raises
    `InvalidValueError`.
    """

    at_once = AT_ONCE

    def __init__(
        self,
        *,
        name: str,
        url: str,
        secrets: Sequence[str],
        headers: Mapping[str, str],
        min_severity: Severity,
        client: Client,
        form: Form,
        proxy: str | None = None,
        hidden: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self.name = name
        self.min_severity = min_severity
        self.takes_period_ends = form.takes_period_ends
        self.batches = form.batches
        self.keeps_incidents = form.keeps_incidents
        self._form = form
        self._proxy = None if proxy is None else parse_url(proxy)
        self._host = one_line(parse_url(url).host)  # all that may be shown of the URL
        self._place = f"the proxy {one_line(self._proxy.host)}" if self._proxy else self._host
        self._redact = Redactor([url, *hidden])
        self._url = url
        self._keys = tuple(signing_key(secret) for secret in secrets)
        self._headers = {header.lower(): value for header, value in headers.items()}
        self._client = client
        self._tls = tls
        self._attempt_seconds = attempt_seconds

    def send(self, message: Message, *, now: datetime) -> None:
        """Post what the form makes of the message; any 2xx is success, redirects are not followed.

        A form may need several requests; where one fails, all are sent again.
        """
        try:
            posts = self._form.posts(message, now)
        except TemplateError as error:
            raise DeliveryError(str(error), start_late=True) from None
        self._post_all(posts, message.id, now)

    def notify(self, notice: Notice, *, now: datetime) -> None:
        """Post the words as the form has them."""
        self._post_all([self._form.notice(notice, now)], notice.id, now)

    def check(self) -> str:
        """Connect, with TLS for an https URL, and leave without a request."""
        with self._attempt(self._place):
            url = self._proxy or parse_url(self._url)  # a proxy is only reached
            stream = connect(url.host, url.port)
            if url.scheme == "https":
                stream = stream.start_tls(self._tls or trust(), url.host)
            stream.close()
        through = "" if self._proxy is None else f", which leads to {self._host},"
        return f"{self._place}{through} can be reached (nothing was sent)"

    def _post_all(self, posts: Sequence[Post], id: str, now: datetime) -> None:  # noqa: A002 - as in the specification
        with self._attempt(self._host):
            for post in posts:
                self._post(post, id, now)

    @contextmanager
    def _attempt(self, place: str) -> Iterator[None]:
        """Ask something of `place` in the time there is; what goes wrong is a `DeliveryError`."""
        try:
            with deadline(self._attempt_seconds):
                yield
        except (HttpError, OSError) as error:
            at = self._place if isinstance(error, ConnectError) else place
            why = why_unreached(error, place=at, seconds=self._attempt_seconds)
            raise DeliveryError(why) from None

    def _post(self, post: Post, id: str, now: datetime) -> None:  # noqa: A002 - as in the specification
        """Send one request with the headers of Standard Webhooks; the time is the attempt's."""
        timestamp = int(now.timestamp())
        headers = self._headers | {
            "content-type": post.content_type,
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
        }
        if self._keys:
            signed = signature(self._keys, id=id, timestamp=timestamp, body=post.body)
            headers["webhook-signature"] = signed
        response = glance(
            self._client,
            self._client.build_request("POST", self._url, content=post.body, headers=headers),
            seconds=self._attempt_seconds,
            body_seconds=_ANSWER_SECONDS,
            max_bytes=_ANSWER_BYTES,
        )
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(response, now)

    def _refusal(self, response: Response, now: datetime) -> DeliveryError:
        status = response.status
        passing = status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        complaint, seconds = self._form.complaint(response.body)
        words = one_line(self._redact(complaint))
        waits = (seconds_until(response.headers.get("retry-after", ""), now), seconds)
        return DeliveryError(
            f"{self._host} answered {status} {responses.get(status, '')}".rstrip()
            + (f": {words}" if words else ""),
            permanent=status in _PERMANENT,
            status=status,
            retry_after=max((wait for wait in waits if wait is not None), default=None),
            start_late=not passing,
        )


def signature(keys: Iterable[bytes], *, id: str, timestamp: int, body: bytes) -> str:  # noqa: A002 - the name the specification has for it
    """Sign a body as Standard Webhooks has it: one entry per key, so that keys can be changed."""
    signed = b".".join((id.encode(), str(timestamp).encode(), body))
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
