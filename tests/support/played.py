"""Organizations on a simulated Rybbit."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime
from typing import Any

import pytest

from quota_watch.demo.scenes import Scene
from quota_watch.demo.simulator import Simulator
from support.clock import FakeClock

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)
KEY = "personal-canary-key-77"
OWN_KEY = "rb_org_canary-key-88"

Play = Callable[..., Simulator]


def scene(name: str, /, **changes: Any) -> Scene:
    """Return an organization with a plan of 100,000 events a month, for the personal key."""
    values: dict[str, Any] = {
        "id": f"org_{name}",
        "name": name.title(),
        "api_key": KEY,
        "base": 1_000,
        "started": date(2025, 6, 10),
        "limit": 100_000,
        "plan": "standard100k",
    }
    return Scene(**(values | changes))


@pytest.fixture
def noon() -> FakeClock:
    """The clock of a month's middle."""
    return FakeClock(NOON)


@pytest.fixture
def play(noon: FakeClock) -> Iterator[Play]:
    """Serve scenes until the test ends: `play(*scenes, **settings)`."""
    with ExitStack() as running:
        yield lambda *scenes, **settings: running.enter_context(Simulator(noon, scenes, **settings))
