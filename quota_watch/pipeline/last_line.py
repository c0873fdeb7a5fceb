"""The last line: what is told where an alert can't be recorded because of a defect of ours.

It uses nothing of what may have failed: no template, no zone, no row of an alert.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime

from quota_watch.channels.channel import Channel, DeliveryError, Notice
from quota_watch.lib.clock import Clock
from quota_watch.lib.logs import get_logger
from quota_watch.model.watch import Watch
from quota_watch.storage.database import Database
from quota_watch.storage.days import take_notice_of_day
from quota_watch.storage.errors import StorageError

log = get_logger(__name__)

_TEXT = """quota-watch reads the counts of these organizations, but fails while it records them:

{names}

Their alerts may be missing until that is mended.

What to do: look at their usage in Rybbit yourself; find "organization not recorded" in the log
of quota-watch, and report it. Other organizations are watched as ever.

This is said once a day for as long as it lasts.
"""


class LastLine:
    """Tells of organizations whose polls we ourselves failed on, once a day each.

    `unrecorded` is told which they are now, for health.
    """

    def __init__(
        self,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        unrecorded: Callable[[Collection[str]], object] = lambda _: None,
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._unrecorded = unrecorded
        self._failing: dict[int, Watch] = {}

    def note(self, polled: Collection[int], failing: Mapping[int, Watch]) -> None:
        """Take in which of the polled organizations we failed on, and tell of those."""
        for pk in polled:
            self._failing.pop(pk, None)
        self._failing |= failing
        self._unrecorded([watch.organization.id for watch in self._failing.values()])
        now = self._clock.now()
        due = {pk: watch for pk, watch in failing.items() if self._begins_day(pk, watch, now)}
        for name, channel in self._channels.items():
            heard = {pk: w for pk, w in due.items() if name in {*w.channels, *w.fallback}}
            if heard:
                _tell(channel, heard, now)

    def _begins_day(self, pk: int, watch: Watch, now: datetime) -> bool:
        """Keep the day before anything is told: else every restart would say it again."""
        try:
            with self._database.write() as connection:
                return take_notice_of_day(connection, pk, now.date())
        except StorageError as error:
            log.error("not told that it failed", organization=watch.organization.id, error=error)
            return False


def _tell(channel: Channel, heard: Mapping[int, Watch], now: datetime) -> None:
    watches = list(heard.values())
    names = [f"- {each.name} ({each.organization.id})" for each in watches]
    more = f" and {len(watches) - 1} more" if len(watches) > 1 else ""
    notice = Notice(
        id=f"defect-{now.date()}-{min(heard)}",
        title=f"Critical: quota-watch itself fails on {watches[0].name}{more}",
        text=_TEXT.format(names="\n".join(names)),
    )
    try:
        channel.notify(notice, now=now)
    except DeliveryError as error:
        log.error("not told that it failed", channel=channel.name, error=error)
    except Exception:  # a defect there must not keep it from the next channel
        log.exception("not told that it failed", channel=channel.name)
    with suppress(Exception):
        channel.rest()
