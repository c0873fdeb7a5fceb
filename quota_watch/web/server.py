"""The web server: waitress in its own thread, which no client can block."""

import errno
import socket
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import waitress
from flask import Flask, Response
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

from quota_watch.config.addresses import Listen
from quota_watch.lib import QuotaWatchError
from quota_watch.lib.logs import get_logger
from quota_watch.lib.machine import Clock
from quota_watch.storage import StorageError
from quota_watch.storage.database import Database, prove_write
from quota_watch.web import machines, pages
from quota_watch.web.app import (
    HEALTH,
    Health,
    PageSettings,
    Store,
    guard,
    install_errors,
    use_templates,
)

log = get_logger(__name__)

_THREADS = 4
_CONNECTIONS = 300
_IDLE_SECONDS = 10
_MOST_HEADERS, _MOST_BODY = 16_384, 4_096
_STATIC_SECONDS = 3_600
_LOOP_SECONDS = 1  # whole ones: waitress cuts the rest off, and 0 would be a busy loop
_STOP_SECONDS = 0.9


_REMEDIES = {
    errno.EADDRINUSE: "choose another port, or stop the program using it",
    errno.EACCES: "ports below 1024 are for root: choose a higher one, behind a proxy if need be",
}


class ListenError(QuotaWatchError):
    """The address of `web.listen` is not available; names it and what to do."""


def create_app(
    site: Callable[[], PageSettings], *, database: Database, clock: Clock, health: Health
) -> Flask:
    """Build the application; `site` is asked at each request what to show and to whom."""
    app = Flask(__name__, static_folder="static", static_url_path="/static")
    app.config.update(
        MAX_CONTENT_LENGTH=_MOST_BODY, SEND_FILE_MAX_AGE_DEFAULT=_STATIC_SECONDS, DEBUG=False
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's own provider
    # Accept a slash at the end of a path: a redirect would trust what a `Host` header says.
    app.url_map.strict_slashes = False
    use_templates(app, site())
    store = Store(database=database, clock=clock, site=site)
    guard(app, site)
    install_errors(app)
    pages.install(app, store)
    machines.install(app, store)

    @app.get(HEALTH)
    def healthz() -> Response:
        text = "".join(f"{reason}\n" for reason in health())
        status = HTTPStatus.SERVICE_UNAVAILABLE if text else HTTPStatus.OK
        return Response(text or "ok\n", status, mimetype="text/plain")

    return app


class PageServer:
    """Serves one address until it is stopped; `site` may be replaced meanwhile."""

    def __init__(
        self,
        site: PageSettings,
        *,
        listen: Listen,
        database: Database,
        clock: Clock,
        health: Health,
        idle_seconds: int = _IDLE_SECONDS,
        connections: int = _CONNECTIONS,
    ) -> None:
        self.site = site
        self._listen = listen
        self._stopped = False
        app = create_app(lambda: self.site, database=database, clock=clock, health=health)
        self._socket = bound(listen)
        self._server: TcpWSGIServer = waitress.create_server(
            app,
            sockets=[self._socket],
            url_prefix=site.prefix,
            ident=None,
            threads=_THREADS,
            connection_limit=connections,
            channel_timeout=idle_seconds,
            cleanup_interval=1,
            asyncore_loop_timeout=_LOOP_SECONDS,
            asyncore_use_poll=True,
            max_request_header_size=_MOST_HEADERS,
            max_request_body_size=_MOST_BODY,
            clear_untrusted_proxy_headers=True,
        )
        self._server.channel_class = _Channel
        self._thread = threading.Thread(target=self._server.run, name="status page", daemon=True)
        self._thread.start()
        log.info("status page", url=self.url)

    @property
    def url(self) -> str:
        """The address, with the port that was really taken."""
        return f"http://{Listen(self._listen.host, self._socket.getsockname()[1])}"

    def serves(self, listen: Listen, site: PageSettings) -> bool:
        """Check whether this server can go on with these settings."""
        return (listen, site.prefix, site.templates) == (
            self._listen,
            self.site.prefix,
            self.site.templates,
        )

    def stop(self) -> None:
        """Close every connection and end."""
        if self._stopped:
            return
        self._stopped = True
        # Its threads first: one that ends later would wake a loop that is gone.
        self._server.task_dispatcher.shutdown(timeout=_STOP_SECONDS)
        connections = self._server._map  # noqa: SLF001  has no other name
        self._server.trigger.pull_trigger(
            partial(wasyncore.close_all, connections, ignore_all=True)
        )
        self._thread.join(_STOP_SECONDS)


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection on which bytes of a request that never ends do not count as life."""

    last_activity: float

    def handle_read(self) -> None:
        began, before = self.request is not None, self.last_activity
        super().handle_read()
        if began and self.request is not None:
            self.last_activity = before


def bound(listen: Listen) -> socket.socket:
    """Open a socket on the page's address; raises `ListenError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "use an address of this machine")
        raise ListenError(
            f"web.listen: can't listen on {listen}: {error.strerror}; {remedy}"
        ) from None
    return listener


_TRUSTED_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0


class DatabaseHealth:
    """Tries a small write, at most every five seconds, whoever asks how often.

    While one try is under way others are answered at once: with its trouble once it takes long.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._trying = threading.Lock()
        self._reasons: list[str] = []
        self._began_at = float("-inf")

    def __call__(self) -> list[str]:
        """Check why the database takes no write; empty where it does."""
        if not self._trying.acquire(blocking=False):
            is_slow = self._clock.monotonic() - self._began_at > _PATIENCE_SECONDS
            return ["the database is slow to accept a write"] if is_slow else self._reasons
        try:
            now = self._clock.monotonic()
            if now - self._began_at >= _TRUSTED_SECONDS:
                self._began_at = now
                try:
                    prove_write(self._database)
                    self._reasons = []
                except StorageError as error:
                    self._reasons = [str(error)]
            return self._reasons
        finally:
            self._trying.release()
