"""Who may ask what, and what every answer says to the browser."""

import base64
import binascii
import hmac
from collections.abc import Callable

from flask import Flask, Request, Response, abort, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, Unauthorized

from quota_watch.web.site import Site

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
        "This page does not answer under that host name. If it should, add the name to"
        " web.allowed_hosts in the config."
    )


def install(app: Flask, site: Callable[[], Site]) -> None:
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
    error = Unauthorized("Give the token of [web]: as bearer, or as the password of any user.")
    response = Response(f"{error.description}\n", 401, mimetype="text/plain")
    response.headers["WWW-Authenticate"] = challenge
    return response
