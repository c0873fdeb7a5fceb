"""The Flask application: pages, JSON, metrics and health over one store."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import jinja2
from flask import Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError

from quota_watch.lib.clock import Clock
from quota_watch.lib.errors import QuotaWatchError
from quota_watch.lib.figures import (
    ago,
    days,
    duration,
    largest_first,
    local,
    number,
    rough,
    share,
    short_day,
    what_and_advice,
    whole_day,
)
from quota_watch.lib.files import resource_dir
from quota_watch.lib.logs import get_logger
from quota_watch.lib.text import one_line
from quota_watch.storage.database import Database
from quota_watch.views import organizations as views
from quota_watch.views.forecast import prospect, prospect_json
from quota_watch.web import guard, metrics, pages, silence
from quota_watch.web.pages import what_helps
from quota_watch.web.site import Health, Site, Store

log = get_logger(__name__)

_MOST_BYTES = 4_096
_UNHEALTHY = 503
_STATIC_SECONDS = 3_600


def create_app(
    site: Callable[[], Site], *, database: Database, clock: Clock, health: Health
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
    guard.install(app, site)
    _install_errors(app)
    pages.install(app, store)
    _install_api(app, store)
    metrics.install(app, store)
    silence.install(app, store)

    @app.get(guard.HEALTH)
    def healthz() -> Response:
        reasons = list(health())
        text = "".join(f"{reason}\n" for reason in reasons) or "ok\n"
        return Response(text, _UNHEALTHY if reasons else 200, mimetype="text/plain")

    return app


def _use_templates(app: Flask, site: Site) -> None:
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
    if guard.is_for_machines(request.path):
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
        with store.read() as reading:
            group = request.args.get("group")
            found = [each for each in reading.organizations() if group in {None, each["group"]}]
        return jsonify({"organizations": found})

    @app.get("/api/v1/organizations/<organization_id>")
    def api_organization(organization_id: str) -> Response:
        with store.read() as reading:
            watch = reading.watch(organization_id)
            if watch is None:
                abort(404, "No organization with that id is watched.")
            (found,) = reading.organizations([watch])
            seen = prospect(reading.connection, watch, now=reading.now)
        foretold = prospect_json(seen)
        found |= {name: foretold[name] for name in ("advice", "plan_fit")}
        return jsonify({"organizations": [found | {"help": what_helps(seen)}]})

    @app.get("/api/v1/alerts")
    def api_alerts() -> Response:
        only_open = request.args.get("open") in {"1", "true"}
        with store.read() as reading:
            found = views.alerts(reading.connection, None, only_open=only_open)
        return jsonify({"alerts": found})


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


def few_words(day: str | None) -> str:
    """Return an ISO date as `23 Mar`, or a dash."""
    if day is None:
        return _TO
    parsed = date.fromisoformat(day)
    return f"{parsed.day} {short_day(parsed).split()[1][:3]}"


def month(day: str) -> str:
    """Return the month of an ISO date: `March 2026`."""
    return whole_day(day).split(" ", 1)[1]


def between(crossing: Mapping[str, str | None]) -> str:
    """Return the days between which the limit is passed: `20-28 Mar`, with a proper dash."""
    early, late = crossing["early"], crossing["late"]
    if late is None:
        return f"{few_words(early)} or later"
    return "" if early == late else f"{few_words(early)} {_TO} {few_words(late)}"


def _period_days(period: Mapping[str, str]) -> str:
    return days(date.fromisoformat(period["start"]), date.fromisoformat(period["end"]))


def _left(until: str, now: datetime) -> str:
    return duration(datetime.fromisoformat(until) - now)


def _clock(at: str) -> str:
    """Return an ISO time as `15 Mar, 12:00`, in UTC."""
    parsed = datetime.fromisoformat(at).astimezone(UTC)
    return f"{few_words(parsed.date().isoformat())}, {parsed:%H:%M}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "about": rough,
    "ago": ago,
    "between": between,
    "clock": _clock,
    "compact": compact,
    "day": whole_day,
    "few": few_words,
    "icon": lambda state: f"icon-{state}.svg" if state in _URGENT else "icon.svg",
    "is_past": lambda at, now: datetime.fromisoformat(at) < now,
    "largest_first": largest_first,
    "left": _left,
    "line": one_line,
    "local": local,
    "month": month,
    "number": number,
    "period_days": _period_days,
    "share": share,
    "sign": lambda state: _SIGNS[state],
    "state": lambda state: _WORDS.get(state, state.capitalize()),
    "what": lambda message: what_and_advice(message)[0],
    "advice": lambda message: what_and_advice(message)[1],
    "words": lambda name: name.replace("_", " "),
}
"""The filters that the pages' templates have beside Jinja's own."""
