"""Made-up organizations whose traffic looks real: weekdays, nights, growth, a viral day.

Every number is a pure function of the scene, the day and the time, in whole arithmetic, and
within a day it only grows. `CASTS` lists the organizations of each scene of the demo.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from quota_watch.model.limit import ENFORCED_EVERY
from quota_watch.model.period import ONE_DAY, Period, each_day, is_over, month_of

FREE_LIMIT = 3_000
"""The limit Rybbit takes where it finds no plan (UPSTREAM.md § 6)."""

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_LOOKS_A_DAY = ONE_DAY // ENFORCED_EVERY
_MONDAY_TO_SUNDAY = (1.0, 1.06, 1.05, 1.02, 0.94, 0.62, 0.58)
_BY_HOUR = (  # night, day, evening
    *(9, 6, 5, 4, 5, 8, 16, 30),
    *(46, 58, 62, 60, 56, 60, 63, 62, 58, 52, 46, 44),
    *(40, 33, 23, 14),
)
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
_JOB_TAKES = timedelta(minutes=1)
_HISTORY = timedelta(days=334)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an organization pays for from `at` on; `limit` None: a server without limits."""

    at: datetime
    limit: int | None
    plan: str = "custom"
    status: str = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """What Rybbit's half-hourly job stored last: its own count, and whether it drops events."""

    counted: int
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One organization: who it is, how much happens there, and what goes wrong.

    `base` is an ordinary day's events, `growth` its factor per day from `started` on, before
    which nothing was. `viral` holds days and their factors. Past `limit` counted events of a
    month everything is dropped, from the next half hour on; `changes` replace limit, plan and
    status, oldest first. In `hiccups` (from, until) the billing lookup fails; in `miscounts` the
    half-hourly job can't count, and so writes 0 and that nothing is over. The last `unpaid`
    of the sites collect nothing without a plan. `joined` holds when sites with a history came
    from elsewhere, and by how many percent each day has had more events from then on.

    At `revoked_at` the key ends. `scopes` None: it is unrestricted. It shows `sees` percent of
    the events and as much of the `sites`; its holder, whose `role` that is, is a member where it is
    less than all. A key that begins with `rb_org_` is the organization's own; any other may stand
    in several scenes.
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
    plan: str = "custom"
    status: str = "active"
    changes: tuple[Terms, ...] = ()
    hiccups: tuple[tuple[datetime, datetime], ...] = ()
    miscounts: tuple[tuple[datetime, datetime], ...] = ()
    sites: int = 2
    unpaid: int = 0
    joined: tuple[tuple[datetime, int], ...] = ()
    sees: int = 100
    role: str = "owner"
    scopes: frozenset[str] | None = None
    revoked_at: datetime | None = None
    seed: int = 0

    def terms(self, now: datetime) -> Terms:
        """The terms paid for at `now`, whatever the billing lookup answers."""
        first = Terms(at=_EVER, limit=self.limit, plan=self.plan, status=self.status)
        return [first, *(terms for terms in self.changes if terms.at <= now)][-1]

    def counts(self, day: date, now: datetime) -> Counter[str]:
        """Count the events of a UTC day by type, as far as they have been stored at `now`."""
        counts = _came(self, day, now)
        for start, end in _dropping(self, month_of(day)):
            if start.date() <= day <= end.date() and start < now:
                counts -= _came(self, day, min(now, end)) - _came(self, day, start)
        return counts

    def billed(self, now: datetime) -> int:
        """Count the billed events of the month of `now` that were stored until then."""
        days = each_day(now.date().replace(day=1), now.date())
        return sum(_billed(self.counts(day, now)) for day in days)

    def enforced(self, now: datetime) -> Enforced:
        """The result of the last half-hourly job, which takes a minute."""
        written_at = now - _JOB_TAKES
        looked = written_at - (written_at - _EVER) % ENFORCED_EVERY
        if any(start <= looked < end for start, end in self.miscounts):
            return Enforced(counted=0, over=False)
        counted = self.billed(looked)
        return Enforced(counted=counted, over=is_over(counted, self.terms(looked).limit))

    def volume(self, day: date) -> int:
        """The events of the whole day if none is dropped."""
        if day < self.started:
            return 0
        ordinary = self.base * self.growth ** (day - self.started).days
        swing = 1 + _NOISE * (2 * _chance(self, day, 1000) / 1000 - 1)
        return int(ordinary * self.weekdays[day.weekday()] * dict(self.viral).get(day, 1) * swing)


def _came(scene: Scene, day: date, now: datetime) -> Counter[str]:
    """Count what came in on the day until `now`, nothing dropped."""
    part, whole = _part_of_day(day, now)
    percent = 100 + sum(more for at, more in scene.joined if at <= now)
    return Counter(
        {
            type_: n * percent // 100 * part // (1000 * whole)
            for type_, n in _thousandfold(scene, day)
        }
    )


@lru_cache(maxsize=16_384)
def _thousandfold(scene: Scene, day: date) -> tuple[tuple[str, int], ...]:
    """A thousand times the events of the whole day, by type."""
    volume = scene.volume(day)
    more_errors = _chance(scene, day, _MORE_ERRORS)
    shares = _PER_MILLE | {
        "error": _PER_MILLE["error"] + more_errors,
        "performance": _PER_MILLE["performance"] - more_errors,
    }
    return tuple((type_, volume * share) for type_, share in shares.items())


def _part_of_day(day: date, now: datetime) -> tuple[int, int]:
    """How much of a day's traffic has passed at `now`, as part and whole."""
    whole = sum(_BY_HOUR) * 3600
    seconds = int((now - datetime.combine(day, time.min, UTC)).total_seconds())
    hour, rest = divmod(min(max(seconds, 0), 24 * 3600), 3600)
    return sum(_BY_HOUR[:hour]) * 3600 + (*_BY_HOUR, 0)[hour] * rest, whole


@lru_cache(maxsize=1024)
def _dropping(scene: Scene, month: Period) -> tuple[tuple[datetime, datetime], ...]:
    """Work out from when to when events of the month were dropped.

    Rybbit's half-hourly look at the limit begins and ends it.
    """
    if scene.limit is None and not scene.changes:
        return ()
    stretches: list[tuple[datetime, datetime]] = []
    stored, since = 0, None
    for day in each_day(month.start, month.last_day):
        midnight = datetime.combine(day, time.min, UTC)
        quiet = _is_quiet(scene, day, stored=stored, dropping=since is not None)
        before = 0
        for n in range(_LOOKS_A_DAY if quiet else 1, _LOOKS_A_DAY + 1):
            look = midnight + n * ENFORCED_EVERY
            billed = _billed(_came(scene, day, look))
            stored += billed - before if since is None else 0
            before = billed
            over = is_over(stored, scene.terms(look).limit)
            if over and since is None:
                since = look
            elif since is not None and not over:
                stretches.append((since, look))
                since = None
    return (*stretches, (since, month.resets_at)) if since else tuple(stretches)


def _is_quiet(scene: Scene, day: date, *, stored: int, dropping: bool) -> bool:
    """Whether dropping can neither begin nor end on that day before midnight."""
    midnight = datetime.combine(day, time.min, UTC) + ONE_DAY
    if any(terms.at.date() == day for terms in scene.changes):
        return False
    limit = scene.terms(midnight - ENFORCED_EVERY).limit
    return dropping or not is_over(stored + _billed(_came(scene, day, midnight)), limit)


def _billed(counts: Counter[str]) -> int:
    return counts.total() - counts["error"]


def _chance(scene: Scene, day: date, sides: int) -> int:
    """Roll a die with so many sides, with the same result each time for that day."""
    roll = blake2b(f"{scene.seed}/{scene.id}/{day}/{sides}".encode(), digest_size=8)
    return int.from_bytes(roll.digest()) % sides


def _scene(start: datetime, name: str, base: int, **rest: Any) -> Scene:
    values: dict[str, Any] = {
        "id": f"org_{name.lower().replace(' ', '_')}",
        "name": name,
        "api_key": secrets.token_urlsafe(24),
        "base": base,
        "started": (start - _HISTORY).date(),
        "limit": 100_000,
        "plan": "standard100k",
    }
    return Scene(**(values | rest))


def _month(start: datetime, now: datetime) -> list[Scene]:
    """Five organizations: calm, growing, suddenly popular, too big for its plan, out of sight."""
    popular = (now - (5 if 6 <= now.day < 17 else 16) * ONE_DAY).date()  # noqa: PLR2004  of the month
    viral = (((start - 174 * ONE_DAY).date(), 7.0), (popular, 26.0), (popular + ONE_DAY, 11.0))
    return [
        _scene(start, "Calm Blog", 1_450),
        _scene(start, "Growing Shop", 620, growth=1.0055),
        _scene(start, "Viral Magazine", 1_700, viral=viral),
        _scene(start, "Busy Game", 2_300, growth=1.0027),
        _scene(start, "Revoked Agency", 1_900, growth=1.0006, revoked_at=now - 3 * ONE_DAY),
    ]


def _lapse(start: datetime, now: datetime) -> list[Scene]:
    """A paid plan that lapsed yesterday, so that the free one's limit holds, beside a calm one."""
    lapsed = Terms(at=now - ONE_DAY, limit=FREE_LIMIT, plan="free", status="canceled")
    return [
        _scene(start, "Lapsed Studio", 1_900, changes=(lapsed,)),
        _scene(start, "Calm Blog", 1_450),
    ]


def _no_plan(start: datetime, _now: datetime) -> list[Scene]:
    """A free organization whose newest site collects nothing, beside a calm one."""
    free = {"limit": FREE_LIMIT, "plan": "free", "status": "free"}
    return [
        _scene(start, "Two Sites", 55, sites=2, unpaid=1, **free),
        _scene(start, "Calm Blog", 1_450),
    ]


def _moved(start: datetime, now: datetime) -> list[Scene]:
    """A site with a year of history that came from elsewhere yesterday, beside a calm one."""
    joined = ((now - ONE_DAY, 180),)
    plan = {"limit": 250_000, "plan": "standard250k"}
    return [
        _scene(start, "Grown Agency", 1_300, sites=3, joined=joined, **plan),
        _scene(start, "Calm Blog", 1_450),
    ]


CASTS: Mapping[str, Callable[[datetime, datetime], list[Scene]]] = {
    "month": _month,
    "lapse": _lapse,
    "no-plan": _no_plan,
    "moved": _moved,
}
"""The scenes of `demo --scene`: the organizations of each, with keys of their own.

The play goes from the first moment to the second; a year of traffic lies before it.
"""
