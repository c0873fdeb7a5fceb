"""Anything the library apprise can reach; imported only where such a channel exists.

Its plugins have no deadline for the whole of an attempt, so each attempt has a thread of its own;
and they log parts of their URLs, most of which are secret, so their logging is switched off.
"""

import logging
import threading
from datetime import datetime

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, PersistentStoreMode

from quota_watch.channels.channel import (
    ATTEMPT_SECONDS,
    Channel,
    DeliveryError,
    Notice,
)
from quota_watch.channels.chat import plain_text
from quota_watch.config.values import InvalidValueError
from quota_watch.lib.text import one_line
from quota_watch.messages.facts import Message
from quota_watch.messages.view import subject, tone_of
from quota_watch.model.watch import Severity

_TYPES = {
    "critical": NotifyType.FAILURE,
    "warning": NotifyType.WARNING,
    "info": NotifyType.INFO,
    "test": NotifyType.INFO,
    "resolved": NotifyType.SUCCESS,
}


class AppriseChannel(Channel):
    """Sends through one apprise URL. Raises `InvalidValueError`."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        min_severity: Severity,
        attempt_seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self.name = name
        self.min_severity = min_severity
        self._attempt_seconds = attempt_seconds
        self._attempt: threading.Thread | None = None
        self._accepted = ""
        for each in ("apprise", "urllib3", "requests"):  # all that could log a part of the URL
            logger = logging.getLogger(each)
            logger.setLevel(logging.CRITICAL + 1)
            logger.propagate = False
        asset = AppriseAsset(
            app_id="quota-watch",
            app_desc="Quota Watch",
            async_mode=False,
            storage_mode=PersistentStoreMode.MEMORY.value,
        )
        service = Apprise.instantiate(url, asset=asset)
        if service is None:
            raise InvalidValueError(
                "not a URL that apprise understands; see https://appriseit.com/services/ for how "
                "the service's URL is built"
            )
        self._service = one_line(str(service.service_name))
        self._apprise = Apprise(service, asset=asset)

    def send(self, message: Message, *, now: datetime) -> None:
        """Hand the message to the service; apprise reports that it failed, not why.

        While an attempt still hangs no other is begun, and one that got through after its
        deadline is not repeated.
        """
        if self._attempt is not None and self._attempt.is_alive():
            raise DeliveryError(f"an earlier attempt to reach {self._service} is still hanging")
        if self._accepted != message.id:
            facts = message.facts
            title, body = subject(*facts, now=now), plain_text(facts, now)
            self._try(message.id, title, body, _TYPES[tone_of(facts[0])])

    def notify(self, notice: Notice, *, now: datetime) -> None:  # noqa: ARG002 -- the protocol's
        """Hand the words to the service."""
        self._try(notice.id, notice.title, notice.text, NotifyType.FAILURE)

    def _try(self, id: str, title: str, body: str, type_: NotifyType) -> None:  # noqa: A002 - a delivery's id is called so everywhere
        def attempt() -> None:
            if self._apprise.notify(body, title, type_, body_format=NotifyFormat.TEXT):
                self._accepted = id

        # A daemon thread: one that hangs for ever must not keep the process.
        self._attempt = thread = threading.Thread(
            target=attempt, name=f"apprise-{self.name}", daemon=True
        )
        thread.start()
        thread.join(self._attempt_seconds)
        if thread.is_alive():
            raise DeliveryError(
                f"{self._service} did not answer within {self._attempt_seconds:g} seconds"
            )
        if self._accepted != id:
            raise DeliveryError(
                f"{self._service} did not accept the message (apprise gives no reason)"
            )

    def check(self) -> str:
        """Name the service that the URL is for: apprise can't connect without sending."""
        return f"the URL is one for {self._service} (nothing was sent; a test can tell)"
