"""What a config says about the status page: who may ask what, and how pages reach the store."""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from flask import Flask, Request, Response, abort, request
from sqlalchemy import Connection
from werkzeug.exceptions import HTTPException, MethodNotAllowed, Unauthorized

from quota_watch.config import Config
from quota_watch.lib.clock import Clock
from quota_watch.messages.silence_link import SilenceLinks
from quota_watch.model.watch import Watch
from quota_watch.storage.database import Database
from quota_watch.views.status import Status, statuses

Health = Callable[[], Sequence[str]]
"""Tells why the service is not healthy, a sentence for each reason; empty when it is."""

REFRESH_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """What the pages show and who may see them.

    `token` None lets everyone in who reaches the port. `prefix` is the path of the public URL.
    `interval` is the configured time between polls. An open page renews itself every
    `refresh_seconds`. `silence_links` None: nothing can be changed. `since` is when this config was
    taken up, `refused` whether a later one was not.
    """

    watches: tuple[Watch, ...]
    channels: tuple[str, ...]
    time_zone: str
    hosts: frozenset[str]
    token: str | None = field(default=None, repr=False)
    interval: timedelta = timedelta(minutes=15)
    prefix: str = ""
    templates: Path | None = None
    refresh_seconds: int = REFRESH_SECONDS
    silence_links: SilenceLinks | None = None
    since: datetime | None = None
    refused: bool = False

    @classmethod
    def of(cls, config: Config) -> Self:
        """Read a config with `[web]`; raises `ConfigError` where the tokenis not available."""
        web = config.web
        token = web.token.reveal() if web and web.token else None
        return cls(
            watches=config.watches(),
            channels=tuple(config.channels),
            time_zone=config.alerts.time_zone,
            hosts=web.hosts() if web else frozenset(),
            interval=config.poll.interval,
            token=token,
            prefix=urlsplit((web.public_url if web else None) or "").path,
            templates=config.templates.directory,
            silence_links=SilenceLinks.of(config),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One moment of the store, and what to show of it."""

    connection: Connection
    site: PageSettings
    now: datetime

    def organizations(
        self, watches: Sequence[Watch] | None = None, *, brief: bool = False
    ) -> list[Status]:
        """Read what `status` shows of some organizations, or of all, or the `brief` of it."""
        chosen = self.site.watches if watches is None else watches
        return statuses(
            self.connection, chosen, now=self.now, interval=self.site.interval, brief=brief
        )

    def watch(self, organization_id: str) -> Watch | None:
        """Return the watch of an organization by its id, or None."""
        watches = self.site.watches
        return next((each for each in watches if each.organization.id == organization_id), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The database as pages see it; `site` returns what holds now."""

    database: Database
    clock: Clock
    site: Callable[[], PageSettings]

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """Open one moment of the store; raises `StorageError`."""
        with self.database.read() as connection:
            yield Reading(connection=connection, site=self.site(), now=self.clock.now())


HEALTH = "/healthz"
"""The path that needs neither a token nor a known host: probes have none."""

_MACHINES = ("/api/", "/metrics")
_METHODS = ("GET", "HEAD")
_ACTIONS = frozenset({"silence", "choose"})
"""The endpoints behind a signed link, which is a permission by itself."""

_MISDIRECTED = 421
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer bears; nobody else's bears all of it."""


class MisdirectedRequestError(HTTPException):
    """A request for a host that is not ours: a DNS name that others pointed at this machine."""

    code = _MISDIRECTED
    description = (
        "This page does not answer to that host name. If it should, add the name to"
        " web.allowed_hosts in the config."
    )


def guard(app: Flask, site: Callable[[], PageSettings]) -> None:
    """Let `app` refuse what it must, and send the headers that keep browsers safe."""

    @app.before_request
    def refuse() -> None:
        acts = site().silence_links is not None
        if request.method not in _METHODS and not (acts and request.endpoint == "choose"):
            raise MethodNotAllowed(valid_methods=_METHODS)
        if request.path == HEALTH:
            return
        if host_of(request) not in site().hosts:
            raise MisdirectedRequestError
        if acts and request.endpoint in _ACTIONS | {"static"}:
            return
        token = site().token
        if token is not None and not hmac.compare_digest(_given(request), token.encode()):
            abort(_unauthorized(request.path))

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response


def is_for_machines(path: str) -> bool:
    """Tell whether a path answers in JSON or text, its errors too."""
    return path.startswith(_MACHINES) or path == HEALTH


def host_of(asked: Request) -> str:
    """Return the host a request names, in lower case, without a port."""
    host = asked.environ.get("HTTP_HOST", "").lower()
    if host.startswith("["):
        return str(host[1:].partition("]")[0])
    return str(host.partition(":")[0])


def _given(asked: Request) -> bytes:
    """Return the token of a request, as bearer or as password of HTTP Basic; empty if none."""
    scheme, _, value = asked.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        return str(value).strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _unauthorized(path: str) -> Response:
    challenge = "Bearer" if path.startswith(_MACHINES) else 'Basic realm="quota-watch"'
    error = Unauthorized(
        "Send the token of [web] as a bearer token, or as the password of any user."
    )
    response = Response(f"{error.description}\n", 401, mimetype="text/plain")
    response.headers["WWW-Authenticate"] = challenge
    return response
