"""The Flask application: pages, JSON, metrics and health over one store."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import jinja2
from flask import Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError

from quota_watch.forecast.forecast import Crossing
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.clock import Clock
from quota_watch.lib.figures import (
    ago,
    days,
    duration,
    largest_first,
    long_day,
    moment,
    number,
    rough,
    share,
    short_day,
    what_and_advice,
)
from quota_watch.lib.files import resource_dir
from quota_watch.lib.logs import get_logger
from quota_watch.lib.text import iso, one_line, plain
from quota_watch.storage.database import Database
from quota_watch.views.alerts import alerts
from quota_watch.views.known import look_ahead
from quota_watch.web import metrics, pages
from quota_watch.web.pages import what_helps
from quota_watch.web.site import HEALTH, Health, PageSettings, Store, guard, is_for_machines

log = get_logger(__name__)

_MOST_BYTES = 4_096
_UNHEALTHY = 503
_STATIC_SECONDS = 3_600


def create_app(
    site: Callable[[], PageSettings], *, database: Database, clock: Clock, health: Health
) -> Flask:
    """Build the application; `site` is asked at each request what to show and to whom."""
    app = Flask(__name__, static_folder="static", static_url_path="/static")
    app.config.update(
        MAX_CONTENT_LENGTH=_MOST_BYTES, SEND_FILE_MAX_AGE_DEFAULT=_STATIC_SECONDS, DEBUG=False
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's own provider
    # A path's slash is a matter of taste, not of a redirect to what a `Host` header says.
    app.url_map.strict_slashes = False
    _use_templates(app, site())
    store = Store(database=database, clock=clock, site=site)
    guard(app, site)
    _install_errors(app)
    pages.install(app, store)
    _install_api(app, store)
    metrics.install(app, store)

    @app.get(HEALTH)
    def healthz() -> Response:
        reasons = list(health())
        text = "".join(f"{reason}\n" for reason in reasons) or "ok\n"
        return Response(text, _UNHEALTHY if reasons else 200, mimetype="text/plain")

    return app


def _use_templates(app: Flask, site: PageSettings) -> None:
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


def _install_errors(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        if error.response is not None:
            return error.response  # type: ignore[return-value]  # werkzeug's type of a response
        status = error.code or InternalServerError.code
        headers = [each for each in error.get_headers() if each[0] != "Content-Type"]
        return _answer(status, error.name, error.description or "", headers)

    @app.errorhandler(QuotaWatchError)
    def unreadable(error: QuotaWatchError) -> Response:
        log.error("page failed", path=_path(), error=str(error))
        message = "The store can't be read right now. The log of the service says why."
        return _answer(_UNHEALTHY, "Service Unavailable", message, [])

    @app.errorhandler(Exception)
    def failed(_: Exception) -> Response:
        # Flask calls this while the exception is being handled.
        log.exception("page failed", path=_path())  # noqa: LOG004
        message = "Something went wrong here. The log of the service says what."
        return _answer(InternalServerError.code, "Internal Server Error", message, [])


def _path() -> str:
    """Name what was asked for; a signed link is a secret and stays one."""
    return "/silence/…" if request.path.startswith("/silence/") else request.path


def _answer(status: int, name: str, message: str, headers: list[tuple[str, str]]) -> Response:
    if is_for_machines(request.path):
        response = jsonify({"errors": [{"status": status, "message": message}]})
    else:
        response = Response(
            render_template("error.html.j2", status=status, name=name, message=message)
        )
    response.status_code = status
    response.headers.extend(headers)
    return response


def _install_api(app: Flask, store: Store) -> None:
    """Add `/api/v1/…` to `app`."""

    @app.get("/api/v1/organizations")
    def api_organizations() -> Response:
        group = request.args.get("group")
        with store.read() as reading:
            found = [each for each in reading.organizations() if group in {None, each.group}]
        return jsonify(plain({"organizations": found}))

    @app.get("/api/v1/organizations/<organization_id>")
    def api_organization(organization_id: str) -> Response:
        with store.read() as reading:
            watch = reading.watch(organization_id)
            if watch is None:
                abort(404, "No organization with that id is watched.")
            (status,) = reading.organizations([watch])
            known = look_ahead(reading.connection, status.known)
        more = {"advice": plain(known.advice), "plan_fit": plain(known.plan_fit)}
        found = status.to_json() | more | {"help": what_helps(known)}
        return jsonify({"organizations": [found]})

    @app.get("/api/v1/alerts")
    def api_alerts() -> Response:
        only_open = request.args.get("open") in {"1", "true"}
        with store.read() as reading:
            found = alerts(reading.connection, None, only_open=only_open)
        return jsonify(plain({"alerts": found}))


_UNITS = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))
_TO = "\N{EN DASH}"
_SIGNS = {"critical": "■", "unknown": "○", "warning": "▲", "info": "◆", "ok": "●"}
_WORDS = {"ok": "OK"}
_URGENT = ("critical", "warning", "unknown")


def compact(value: float) -> str:
    """Return a count in few characters: `950`, `25k`, `1.2M`."""
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
    "words": lambda name: name.replace("_", " "),
}
"""The filters that the pages' templates have beside Jinja's own."""
