"""What the demo plays: its organizations, its clock and its config."""

import secrets
import socket
import time
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from quota_watch.demo.scenes import Scene

START = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
"""When the played month begins; a year of traffic lies before it."""

END = datetime(2026, 3, 31, 22, tzinfo=UTC)

_STEP_SECONDS = 0.2
_LIMIT = 100_000
_STARTED = date(2025, 4, 1)
_REVOKED_AT = datetime(2026, 3, 16, 9, tzinfo=UTC)
_VIRAL = ((date(2025, 9, 9), 7.0), (date(2026, 3, 12), 26.0), (date(2026, 3, 13), 11.0))
_NEARBY_PORTS = 10

_CONFIG = """\
[rybbit]
base_url = "{upstream}"

[poll]
interval = "4h"

[alerts]
blind = "6h"

[plans.demo]
limit = {limit}
drops = true
{organizations}
[channels.ops]
type = "email"
to = ["ops@example.com"]

[channels.hook]
type = "webhook"
url = "{hook}"
secret = "{secret}"

[smtp]
host = "127.0.0.1"
port = {smtp_port}
security = "none"
from = "Quota Watch <quota-watch@example.com>"
"""
_ORGANIZATION = """
[[organizations]]
id = "{id}"
name = "{name}"
plan = "demo"
api_key = "{key}"
"""
_WEB = """
[web]
listen = "127.0.0.1:{port}"
"""


class DemoClock:
    """A clock that goes like the machine's, faster once it is hurried, and after `seconds` no more.

    In a hurry it goes in steps: what is done within one takes no time there, so that claims hold.
    """

    def __init__(self, speed: float, seconds: float) -> None:
        self._speed = speed
        self._seconds = seconds
        self._began = time.monotonic()
        self._hurried: float | None = None

    def hurry(self) -> None:
        """Go faster from now on."""
        self._hurried = time.monotonic()

    def now(self) -> datetime:
        """Return the demo's time, to the millisecond."""
        if self._hurried is None:
            return START + timedelta(milliseconds=int((time.monotonic() - self._began) * 1000))
        passed = time.monotonic() - self._hurried
        gone = min(passed - passed % _STEP_SECONDS, self._seconds) * self._speed
        gone += self._hurried - self._began
        return min(START + timedelta(milliseconds=int(gone * 1000)), END)

    def monotonic(self) -> float:
        """Return the machine's own monotonic clock: waiting is real."""
        return time.monotonic()


def scenes() -> list[Scene]:
    """Return the organizations, each with a key of its own."""

    def scene(name: str, base: int, **rest: Any) -> Scene:
        id_ = f"org_{name.lower().replace(' ', '_')}"
        key = secrets.token_urlsafe(24)
        return Scene(
            id=id_, name=name, api_key=key, base=base, started=_STARTED, limit=_LIMIT, **rest
        )

    return [
        scene("Calm Blog", 1_450),
        scene("Growing Shop", 620, growth=1.0055),
        scene("Viral Magazine", 1_700, viral=_VIRAL),
        scene("Busy Game", 2_300, growth=1.0027),
        scene("Revoked Agency", 1_900, growth=1.0006, revoked_at=_REVOKED_AT),
    ]


def write_config(
    folder: Path,
    played: Sequence[Scene],
    *,
    upstream: str,
    hook: str,
    smtp_port: int,
    page_port: int | None,
) -> Path:
    """Write the demo's config to a file, as a user would; without a port there is no page."""
    organizations = "".join(
        _ORGANIZATION.format(id=scene.id, name=scene.name, key=scene.api_key) for scene in played
    )
    text = _CONFIG.format(
        upstream=upstream,
        limit=_LIMIT,
        organizations=organizations,
        hook=hook,
        secret="whsec_" + b64encode(secrets.token_bytes(24)).decode(),
        smtp_port=smtp_port,
    )
    file = folder / "config.toml"
    file.touch(mode=0o600)
    file.write_text(text + (_WEB.format(port=page_port) if page_port else ""), encoding="utf-8")
    return file


def free_port(wanted: int) -> int:
    """Return the port, else one of the next that nothing listens on, else any."""
    for port in (*range(wanted, min(wanted + _NEARBY_PORTS, 65_536)), 0):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(tried.getsockname()[1])
    return 0
