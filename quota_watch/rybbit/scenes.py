"""Made-up organizations whose traffic looks real: weekdays, nights, growth, a viral day.

Every number is a pure function of the scene, the day and the time, in whole arithmetic, and
within a day it only grows.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import blake2b

from quota_watch.domain.periods import CalendarMonth, Period, each_day
from quota_watch.domain.usage import is_over

_MONDAY_TO_SUNDAY = (1.0, 1.06, 1.05, 1.02, 0.94, 0.62, 0.58)
_NIGHT = (9, 6, 5, 4, 5, 8, 16, 30)
_DAY = (46, 58, 62, 60, 56, 60, 63, 62, 58, 52, 46, 44)
_EVENING = (40, 33, 23, 14)
_BY_HOUR = _NIGHT + _DAY + _EVENING
_PER_MILLE = {
    "pageview": 550,
    "custom_event": 110,
    "performance": 155,  # less what the day's errors are above their least
    "outbound": 45,
    "error": 20,
    "button_click": 40,
    "copy": 15,
    "form_submit": 15,
    "input_change": 50,
}
_MORE_ERRORS = 31  # per mille, exclusive: errors are 2 to 5 % of a day
_NOISE = 0.08
_ENFORCED_EVERY = timedelta(minutes=30)  # UPSTREAM.md § 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One organization: who it is, how much happens there, and what goes wrong.

    `base` is an ordinary day's events, `growth` its factor per day from `started` on, before
    which nothing was. `viral` holds days and their factors. Past `limit` counted events of a
    month everything is dropped, from the next half hour on. At `revoked_at` the key ends.
    """

    id: str
    name: str
    api_key: str = field(repr=False)
    base: int
    started: date
    growth: float = 1.0
    weekdays: tuple[float, ...] = _MONDAY_TO_SUNDAY
    viral: tuple[tuple[date, float], ...] = ()
    limit: int | None = None
    revoked_at: datetime | None = None
    seed: int = 0

    def revoked(self, now: datetime) -> bool:
        """Tell whether the key is refused at `now`."""
        return self.revoked_at is not None and now >= self.revoked_at

    def counts(self, day: date, now: datetime) -> Counter[str]:
        """Return the events of a UTC day by type, as far as they have been stored at `now`."""
        stopped = _stopped_at(self, CalendarMonth().period_of(day))
        return _came(self, day, now if stopped is None else min(now, stopped))

    def volume(self, day: date) -> int:
        """Return how many events the whole day brings if none is dropped."""
        if day < self.started:
            return 0
        ordinary = self.base * self.growth ** (day - self.started).days
        swing = 1 + _NOISE * (2 * _chance(self, day, 1000) / 1000 - 1)
        return int(ordinary * self.weekdays[day.weekday()] * dict(self.viral).get(day, 1) * swing)


def _came(scene: Scene, day: date, now: datetime) -> Counter[str]:
    """Return what came in of the day until `now`, nothing dropped."""
    part, whole = _part_of_day(day, now)
    volume = scene.volume(day) if part else 0
    more_errors = _chance(scene, day, _MORE_ERRORS)
    shares = Counter(_PER_MILLE)
    shares.update(error=more_errors, performance=-more_errors)
    came = {type_: volume * share * part // (1000 * whole) for type_, share in shares.items()}
    return Counter(came)


def _part_of_day(day: date, now: datetime) -> tuple[int, int]:
    """Return how much of a day's traffic has passed at `now`, as part and whole."""
    whole = sum(_BY_HOUR) * 3600
    seconds = int((now - datetime.combine(day, time.min, UTC)).total_seconds())
    hour, rest = divmod(min(max(seconds, 0), 24 * 3600), 3600)
    return sum(_BY_HOUR[:hour]) * 3600 + (*_BY_HOUR, 0)[hour] * rest, whole


@lru_cache(maxsize=1024)
def _stopped_at(scene: Scene, month: Period) -> datetime | None:
    """Return when Rybbit's half-hourly look at the limit began to drop events, if it did."""
    if scene.limit is None:
        return None
    used = 0
    for day in each_day(month.start, month.last_day):
        midnight = datetime.combine(day, time.min, UTC)
        whole_day = _billed(scene, day, midnight + timedelta(days=1))
        if is_over(used + whole_day, scene.limit):
            looks = (midnight + n * _ENFORCED_EVERY for n in range(1, 49))
            return next(at for at in looks if is_over(used + _billed(scene, day, at), scene.limit))
        used += whole_day
    return None


def _billed(scene: Scene, day: date, now: datetime) -> int:
    counts = _came(scene, day, now)
    return counts.total() - counts["error"]


def _chance(scene: Scene, day: date, sides: int) -> int:
    """Return what a die with so many sides shows that day, the same every time."""
    thrown = blake2b(f"{scene.seed}/{scene.id}/{day}/{sides}".encode(), digest_size=8)
    return int.from_bytes(thrown.digest()) % sides
