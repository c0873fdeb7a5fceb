"""The last line: what is told where an alert can't be recorded because of a defect of ours.

It uses nothing of what may have failed: no template, no zone, no row of an alert.
"""

import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

from quota_watch.channels.channel import Channel, DeliveryError, Notice
from quota_watch.lib.clock import Clock
from quota_watch.lib.files import FileError, whole_file
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

_TEXT_OF_ALL = """quota-watch fails, by a defect of its own, at what it does for all organizations.

Nothing may be counted or told until that is mended.

What to do: look at their usage in Rybbit yourself; find "{job}" and the words before it in the log
of quota-watch, and report them.

This is said once a day for as long as it lasts.
"""


class LastLine:
    """Tells of organizations whose polls we ourselves failed on, once a day each.

    `unrecorded` is told which they are now, for health. `memory` is the file that keeps what was
    told today where the database can't.
    """

    def __init__(
        self,
        *,
        database: Database,
        channels: Mapping[str, Channel],
        clock: Clock,
        unrecorded: Callable[[Collection[str]], object] = lambda _: None,
        memory: Path | None = None,
    ) -> None:
        self._database = database
        self._channels = channels
        self._clock = clock
        self._unrecorded = unrecorded
        self._memory = memory
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
                _tell(channel, _of_some(heard, now.date()), now)

    def note_all(self, job: str) -> None:
        """Tell every channel that a job fails for all organizations."""
        now = self._clock.now()
        if not self._begins_day_beside(job, now.date()):
            return
        notice = Notice(
            id=f"defect-{now.date()}-{job}",
            title="Critical: quota-watch itself fails and watches nothing",
            text=_TEXT_OF_ALL.format(job=job),
        )
        for channel in self._channels.values():
            _tell(channel, notice, now)

    def _begins_day(self, pk: int, watch: Watch, now: datetime) -> bool:
        """Keep the day before anything is told: else every restart would say it again."""
        try:
            with self._database.write() as connection:
                return take_notice_of_day(connection, pk, now.date())
        except StorageError as error:
            log.error("database can't keep what is told", error=error)
            return self._begins_day_beside(watch.organization.id, now.date())

    def _begins_day_beside(self, subject: str, today: date) -> bool:
        """Keep the day in a file: False where it stands there already, or nothing can be kept."""
        if self._memory is None:
            return False
        told = _told_on(self._memory, today)
        if subject in told:
            return False
        try:
            with whole_file(self._memory) as file:
                json.dump({"day": today.isoformat(), "told": [*told, subject]}, file)
        except FileError as error:
            log.error("not told that it failed", subject=subject, error=error)
            return False
        return True


def _told_on(memory: Path, today: date) -> list[str]:
    try:
        entry = json.loads(memory.read_bytes())
        return list(entry["told"]) if entry["day"] == today.isoformat() else []
    except (OSError, ValueError, LookupError, TypeError):  # none yet, or none of ours
        return []


def _of_some(heard: Mapping[int, Watch], today: date) -> Notice:
    watches = list(heard.values())
    names = [f"- {each.name} ({each.organization.id})" for each in watches]
    more = f" and {len(watches) - 1} more" if len(watches) > 1 else ""
    return Notice(
        id=f"defect-{today}-{min(heard)}",
        title=f"Critical: quota-watch itself fails on {watches[0].name}{more}",
        text=_TEXT.format(names="\n".join(names)),
    )


def _tell(channel: Channel, notice: Notice, now: datetime) -> None:
    try:
        channel.notify(notice, now=now)
    except DeliveryError as error:
        log.error("not told that it failed", channel=channel.name, error=error)
    except Exception:  # a defect there must not keep it from the next channel
        log.exception("not told that it failed", channel=channel.name)
    with suppress(Exception):
        channel.rest()
