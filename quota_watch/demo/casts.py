"""Who plays in which scene of the demo: organizations whose stories are under way right now."""

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from quota_watch.demo.scenes import Scene, Terms
from quota_watch.model.period import ONE_DAY

_HISTORY = timedelta(days=334)
_FREE = 3_000


def cast(name: str, *, start: datetime, now: datetime) -> list[Scene]:
    """Return the organizations of the scene `name`, one of `CASTS`, each with a key of its own.

    The play goes from `start` to `now`; a year of traffic lies before it.
    """
    return CASTS[name](start, now)


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
    lapsed = Terms(at=now - ONE_DAY, limit=_FREE, plan="free", status="canceled")
    return [
        _scene(start, "Lapsed Studio", 1_900, changes=(lapsed,)),
        _scene(start, "Calm Blog", 1_450),
    ]


def _no_plan(start: datetime, _now: datetime) -> list[Scene]:
    """A free organization whose newest site collects nothing, beside a calm one."""
    free = {"limit": _FREE, "plan": "free", "status": "free"}
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
"""The scenes of `demo --scene`."""
