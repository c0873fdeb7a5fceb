"""The status page beside the jobs: there while the config asks for it."""

from typing import TYPE_CHECKING

from quota_watch.config import Config
from quota_watch.lib.clock import Clock
from quota_watch.storage.database import Database

if TYPE_CHECKING:
    from quota_watch.web.server import StatusPage
    from quota_watch.web.site import Health


class Page:
    """Follows the config through reloads; what serves it is imported once a config asks for it.

    `health` gives the reasons why the service is not well; None lets the page look for itself.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        health: "Health | None" = None,
        refresh_seconds: int = 60,
    ) -> None:
        self._database = database
        self._clock = clock
        self._health = health
        self._refresh_seconds = refresh_seconds
        self._page: StatusPage | None = None

    @property
    def url(self) -> str | None:
        """Where the page listens, or None where there is none."""
        return self._page.url if self._page else None

    def take_up(self, config: Config) -> None:
        """Show what `config` says from now on; if it raises `QuotaWatchError`, nothing changes."""
        if self._page is None:
            if config.web is None:
                return
            from quota_watch.web.server import StatusPage  # noqa: PLC0415  of an extra

            self._page = StatusPage(
                database=self._database,
                clock=self._clock,
                health=self._health,
                refresh_seconds=self._refresh_seconds,
            )
        self._page.take_up(config)

    def close(self) -> None:
        """Serve nothing any more, within two seconds."""
        if self._page is not None:
            self._page.stop()
