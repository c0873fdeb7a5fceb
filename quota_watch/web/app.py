"""The Flask application: pages, JSON, metrics and health over one store."""

from collections.abc import Callable

import jinja2
from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError

from quota_watch.lib.clock import Clock
from quota_watch.lib.errors import QuotaWatchError
from quota_watch.lib.logs import get_logger
from quota_watch.lib.resources import resource_dir
from quota_watch.storage.database import Database
from quota_watch.web import api, guard, metrics, pages, wording
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
    api.install(app, store)
    metrics.install(app, store)

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
    app.jinja_env.filters.update(wording.FILTERS)


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
        log.error("page not made", path=request.path, error=str(error))
        message = "The store can't be read right now. The log of the service says why."
        return _answer(_UNHEALTHY, "Service Unavailable", message, [])

    @app.errorhandler(Exception)
    def failed(_: Exception) -> Response:
        # Flask calls this while the exception is being handled.
        log.exception("page failed", path=request.path)  # noqa: LOG004
        message = "Something went wrong here. The log of the service says what."
        return _answer(InternalServerError.code, "Internal Server Error", message, [])


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
