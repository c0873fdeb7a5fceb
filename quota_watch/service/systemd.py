"""What a service tells systemd about itself: ready, what it does, stopping (sd_notify)."""

import os
import socket
import time
from collections.abc import Mapping

from quota_watch.lib.logs import get_logger

log = get_logger(__name__)

_PATIENCE = 1.0
"""Seconds to wait for room in systemd's queue; telling it must never hold up the watch."""


class Notifier:
    """Speaks to `$NOTIFY_SOCKET`; without one, as outside systemd, it does nothing.

    Nothing is raised: what can't be told is logged once.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._alive_every = _watchdog_seconds(environ) / 2
        self._alive_at = float("-inf")
        self._failed = False

    def ready(self) -> None:
        """Tell that the start, or a reload, is done."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Tell in one line what goes on; `systemctl status` shows it."""
        self._send(f"STATUS={' '.join(text.split())}")

    def reloading(self) -> None:
        """Tell that a reload begins; `ready()` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def starting(self, text: str, *, seconds: float) -> None:
        """Tell that the start goes on, and may take so long from now, however long it took."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")
        self.status(text)

    def alive(self) -> None:
        """Feed the watchdog, if systemd keeps one, as often as it needs."""
        now = time.monotonic()
        if self._alive_every and now - self._alive_at >= self._alive_every:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell that the service shuts down."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE)
                sock.sendto(message.encode(errors="replace"), address)
        except OSError as error:
            if not self._failed:
                log.warning("systemd can't be told", socket=self._address, error=error)
            self._failed = True


def _watchdog_seconds(environ: Mapping[str, str]) -> float:
    """Return after how long without a sign of life systemd ends this process; 0: never."""
    ours = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if ours and text.isascii() and text.isdigit() else 0.0
