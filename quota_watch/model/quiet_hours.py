"""Quiet hours: when only what is critical may disturb, by the clock on the wall."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from quota_watch.lib.figures import zone_of

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """From `start` until `end`, whole minutes of the clocks in `time_zone`, every day.

    Where `end` is the earlier one it is that of the next day; where both are the same there is
    no quiet time.
    """

    start: time
    end: time
    time_zone: str

    def hold(self, now: datetime) -> bool:
        """Tell whether it is quiet at `now`."""
        shown = now.astimezone(zone_of(self.time_zone)).time()
        if self.start <= self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end


def until_quiet_ends(quiet: QuietHours | None, now: datetime) -> datetime | None:
    """Return when the quiet time that `now` is in ends, in UTC, or None where it is not quiet.

    Where clocks jump over the end it is over when they do; where they show it twice, the first
    time.
    """
    if quiet is None or not quiet.hold(now):
        return None
    zone = zone_of(quiet.time_zone)
    today = now.astimezone(zone).date()
    shown = [
        datetime.combine(day, quiet.end, zone).replace(fold=fold)
        for day in (today, today + _DAY, today + 2 * _DAY)
        for fold in (0, 1)
    ]
    ends = (moment.astimezone(UTC) for moment in shown)
    end = min(moment for moment in ends if moment > now and not quiet.hold(moment))
    while end - _MINUTE > now and not quiet.hold(end - _MINUTE):
        end -= _MINUTE
    return end
