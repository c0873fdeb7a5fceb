"""The heartbeat: a URL that is asked for while all is well, so that someone notices when not."""

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus

import httpx

from quota_watch.channels.channel import no_connection, too_late
from quota_watch.lib.clock import Clock
from quota_watch.lib.http import BodyError, fetch
from quota_watch.lib.logs import get_logger
from quota_watch.lib.text import one_line

log = get_logger(__name__)

_DEADLINE_SECONDS = 10.0
_ANSWER_BYTES = 65_536
_PATIENCE_SECONDS = 60.0
"""How long a due ping is withheld before the log says so: at a start all is still unknown."""


class Heartbeat:
    """Asks for `url`, which is a secret, every `interval` while nothing speaks against it.

    A ping that fails is logged once and tried again after the next interval.
    """

    def __init__(
        self, url: str, *, interval: timedelta, client: httpx.Client, clock: Clock
    ) -> None:
        self._url = httpx.URL(url)
        self._interval = interval.total_seconds()
        self._client = client
        self._clock = clock
        self._due_at = clock.monotonic()
        self._failing = ""
        self._withheld: tuple[str, ...] = ()

    def beat(self, doubts: Sequence[str]) -> None:
        """Ping if it is time and there are no `doubts`; else as soon as there are none.

        Takes 10 s at most.
        """
        late = self._clock.monotonic() - self._due_at
        if late < 0:
            return
        if doubts:
            if late >= _PATIENCE_SECONDS and self._withheld != (*doubts,):
                log.warning("heartbeat withheld", reason="; ".join(doubts))
                self._withheld = (*doubts,)
            return
        if self._withheld:
            log.info("heartbeat goes on")
            self._withheld = ()
        self._due_at = self._clock.monotonic() + self._interval
        self.ping()

    def ping(self) -> bool:
        """Ask for the URL now; tell whether it answered that all is well."""
        failure = self._failure()
        if failure is None and self._failing:
            log.info("heartbeat is taken again", host=self._host)
        elif failure is not None and failure != self._failing:
            log.warning("heartbeat not taken", error=failure)
        self._failing = failure or ""
        return failure is None

    @property
    def _host(self) -> str:
        """All that may be shown of the URL."""
        return one_line(self._url.host)

    def _failure(self) -> str | None:
        request = self._client.build_request("GET", self._url)
        try:
            status = self._ask(request)
        except httpx.TimeoutException:
            return too_late(self._host, _DEADLINE_SECONDS)
        except httpx.ConnectError as error:
            return no_connection(self._host, error)
        except httpx.HTTPError as error:
            return f"the exchange with {self._host} broke off ({type(error).__name__})"
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        return f"{self._host} answered {status}"

    def _ask(self, request: httpx.Request) -> int:
        try:
            return fetch(
                self._client, request, seconds=_DEADLINE_SECONDS, max_bytes=_ANSWER_BYTES
            ).status
        except BodyError as error:  # the status says it all
            return error.status
