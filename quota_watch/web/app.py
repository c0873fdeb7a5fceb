"""What every page needs: settings, the store, access control, error pages and templates."""

import base64
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import jinja2
from flask import Flask, Request, Response, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    ServiceUnavailable,
)

from quota_watch.config import Config
from quota_watch.forecast.forecast import Crossing
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock, resource_dir
from quota_watch.lib.text import (
    ago,
    certainty,
    days,
    duration,
    iso,
    largest_first,
    long_day,
    moment,
    number,
    one_line,
    rough,
    share,
    short_day,
    verb,
    what_and_advice,
)
from quota_watch.messages.silence_link import SilenceLinks
from quota_watch.messages.words.forecast import risk
from quota_watch.model.watch import Watch
from quota_watch.storage.database import Database
from quota_watch.views.status import Status, statuses

log = get_logger(__name__)

Health = Callable[[], Sequence[str]]
"""Tells why the service is not healthy, a sentence for each reason; empty when it is."""


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
    refresh_seconds: int = 60
    silence_links: SilenceLinks | None = None
    since: datetime | None = None
    refused: bool = False

    @classmethod
    def of(cls, config: Config) -> Self:
        """Read a config with `[web]`; raises `ConfigError` where the token is not available."""
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
        return statuses(
            self.connection,
            self.site.watches if watches is None else watches,
            now=self.now,
            interval=self.site.interval,
            brief=brief,
        )

    def watch(self, organization_id: str) -> Watch | None:
        """Find the watch of an organization by its id."""
        watches = self.site.watches
        return next((each for each in watches if each.organization.id == organization_id), None)


View = Callable[..., ResponseReturnValue]
"""Answers a request from a `Reading`, and from what its path holds."""


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

    def ask(self, view: View, **of_path: str) -> ResponseReturnValue:
        """Let a view answer from one moment of the store."""
        with self.read() as reading:
            return view(reading, **of_path)


def add_views(app: Flask, store: Store, views: Mapping[str, View]) -> None:
    """Let each path of `app` be answered by a view, whose name is its endpoint's."""
    for path, view in views.items():
        app.add_url_rule(path, view.__name__, partial(store.ask, view))


HEALTH = "/healthz"
"""The path that needs neither a token nor a known host: probes have none."""

_MACHINES = ("/api/", "/metrics")
_METHODS = ("GET", "HEAD")
_ACTIONS = frozenset({"silence", "choose"})
"""The endpoints behind a signed link, which is a permission by itself."""

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

    code = HTTPStatus.MISDIRECTED_REQUEST
    description = (
        "This page does not answer to that host name. If it should, add the name to"
        " web.allowed_hosts in the config."
    )


def guard(app: Flask, site: Callable[[], PageSettings]) -> None:
    """Let `app` refuse what it must, and send the headers that keep browsers safe."""

    @app.before_request
    def refuse() -> Response | None:
        acts = site().silence_links is not None
        if request.method not in _METHODS and not (acts and request.endpoint == "choose"):
            raise MethodNotAllowed(valid_methods=_METHODS)
        if request.path == HEALTH:
            return None
        if host_of(request) not in site().hosts:
            raise MisdirectedRequestError
        token = site().token
        if token is None or (acts and request.endpoint in _ACTIONS | {"static"}):
            return None
        return None if hmac.compare_digest(_given(request), token.encode()) else _unauthorized()

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response


def host_of(request: Request) -> str:
    """Read the host that a request names, in lower case, without a port."""
    host = request.environ.get("HTTP_HOST", "").lower()
    if host.startswith("["):
        return str(host[1:].partition("]")[0])
    return str(host.partition(":")[0])


def _given(request: Request) -> bytes:
    """Read the token of a request, sent as bearer or as the password of HTTP Basic."""
    scheme, _, value = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        return str(value).strip().encode("latin-1")
    with suppress(ValueError):
        if scheme.lower() == "basic":
            return base64.b64decode(value, validate=True).partition(b":")[2]
    return b""


def _unauthorized() -> Response:
    is_program = request.path.startswith(_MACHINES)
    return Response(
        "Send the token of [web] as a bearer token, or as the password of any user.\n",
        HTTPStatus.UNAUTHORIZED,
        {"WWW-Authenticate": "Bearer" if is_program else 'Basic realm="quota-watch"'},
        mimetype="text/plain",
    )


def use_templates(app: Flask, site: PageSettings) -> None:
    """Render what lies in `web/` of our templates, or of the user's; everything is escaped."""
    own = [] if site.templates is None else [site.templates / "web"]
    app.jinja_options = {
        "autoescape": True,
        "undefined": jinja2.StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
    }
    app.jinja_loader = jinja2.FileSystemLoader([*own, resource_dir("templates") / "web"])
    app.jinja_env.filters.update(FILTERS)


def install_errors(app: Flask) -> None:
    """Answer what fails in words for people, or in JSON for programs; never with a traceback."""

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        status, message = error.code or 500, error.description or ""
        if request.path.startswith(_MACHINES) or request.path == HEALTH:
            response = jsonify({"errors": [{"status": status, "message": message}]})
        else:
            page = render_template("error.html.j2", status=status, name=error.name, message=message)
            response = Response(page)
        response.status_code = status
        response.headers.extend(each for each in error.get_headers() if each[0] != "Content-Type")
        return response

    @app.errorhandler(QuotaWatchError)
    def unreadable(error: QuotaWatchError) -> Response:
        log.error("page failed", path=_path(), error=str(error))
        return refused(
            ServiceUnavailable(
                "The store can't be read right now. The log of the service says why."
            )
        )

    @app.errorhandler(Exception)
    def failed(_: Exception) -> Response:
        # Flask calls this while the exception is being handled.
        log.exception("page failed", path=_path())  # noqa: LOG004
        return refused(
            InternalServerError("Something went wrong here. The log of the service says what.")
        )


def _path() -> str:
    """Name what was asked for; a signed link is a secret and stays one."""
    return "/silence/…" if request.path.startswith("/silence/") else request.path


_UNITS = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))
_TO = "\N{EN DASH}"
_SIGNS = {"critical": "■", "unknown": "○", "warning": "▲", "info": "◆", "ok": "●"}
_WORDS = {"ok": "OK"}
_URGENT = ("critical", "warning", "unknown")


def compact(value: float) -> str:
    """Write a count in few characters: `950`, `25k`, `1.2M`."""
    for size, unit in _UNITS:
        # 999,960 is 1M, not 1000k.
        if value >= size * 0.9995:
            scaled = value / size
            text = f"{scaled:.0f}" if scaled >= 99.5 else f"{scaled:.1f}".removesuffix(".0")  # noqa: PLR2004  three digits at most
            return text + unit
    return f"{value:.0f}"


def few_words(day: date | None) -> str:
    """Write a date as `23 Mar`, or a dash."""
    return _TO if day is None else f"{day.day} {short_day(day).split()[1][:3]}"


def between(crossing: Crossing) -> str:
    """Write the days between which the limit is passed: `20-28 Mar`, with a proper dash."""
    early, late = crossing.early, crossing.late
    if late is None:
        return f"{few_words(early)} or later"
    return "" if early == late else f"{few_words(early)} {_TO} {few_words(late)}"


def _clock(at: datetime) -> str:
    """Write a time as `15 Mar, 12:00`, in UTC."""
    at = at.astimezone(UTC)
    return f"{few_words(at.date())}, {at:%H:%M}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "about": rough,
    "ago": ago,
    "between": between,
    "clock": _clock,
    "compact": compact,
    "day": long_day,
    "few": few_words,
    "icon": lambda state: f"icon-{state}.svg" if state in _URGENT else "icon.svg",
    "largest_first": largest_first,
    "iso": iso,
    "left": lambda until, now: duration(until - now),
    "line": one_line,
    "local": moment,
    "month": lambda day: long_day(day).split(" ", 1)[1],
    "number": number,
    "period_days": lambda period: days(period.start, period.last_day),
    "share": share,
    "sign": lambda state: _SIGNS[state],
    "state": lambda state: _WORDS.get(state, state.capitalize()),
    "what": lambda message: what_and_advice(message)[0],
    "advice": lambda message: what_and_advice(message)[1],
    "verb": lambda odds: verb(odds or 0.0),
    "risk": risk,
    "certainty": certainty,
    "words": lambda name: name.replace("_", " "),
}
"""The filters that the pages' templates have beside Jinja's own."""
