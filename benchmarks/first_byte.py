"""From the answer that shows a limit crossed to the first byte of its critical message.

`first_byte.py [ORGANIZATIONS [SECONDS]]` runs the daemon over organizations that cross their limits
at moments spread over so many seconds, each reported by a webhook, and prints the median, the 99th
percentile and the longest, in milliseconds.
"""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

from benchmarks.upstream import TYPES

LIMIT = 1_000
PATIENCE_SECONDS = 60


class _World(BaseHTTPRequestHandler):
    """Rybbit and the receiver of the messages."""

    protocol_version = "HTTP/1.1"
    crosses_at: dict[str, float] = {}  # noqa: RUF012 -- the server makes the handlers
    shown_at: dict[str, float] = {}  # noqa: RUF012
    reported_at: dict[str, float] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if not url.path.startswith("/api/org-event-count/"):
            self._answer(403, b'{"error":"Insufficient scope"}')
            return
        id_, asked = url.path.rpartition("/")[2], parse_qs(url.query)
        first, last = (date.fromisoformat(asked[name][0]) for name in ("start_date", "end_date"))
        has_crossed = time.monotonic() >= self.crosses_at[id_]
        rows = []
        for n in range((last - first).days + 1):
            day = first + timedelta(n)
            counts = dict.fromkeys((f"{name}_count" for name in TYPES), 0)
            if day == date.today() and has_crossed:  # noqa: DTZ011 -- in UTC, as all is here
                counts["pageview_count"] = LIMIT + 1
            total = {"event_count": sum(counts.values())}
            rows.append({"event_date": f"{day} 00:00:00", **counts, **total})
        self._answer(200, json.dumps({"data": rows}).encode())
        if has_crossed and last == date.today():  # noqa: DTZ011
            self.shown_at.setdefault(id_, time.monotonic())

    def do_POST(self) -> None:
        came_at = time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if body["alert"]["rule"] == "threshold" and body["alert"]["severity"] == "critical":
            self.reported_at.setdefault(body["organization"]["id"], came_at)
        self._answer(200, b"")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@contextmanager
def daemon(folder: Path, url: str, organizations: list[str]) -> Iterator[None]:
    """Run the daemon over the organizations, each polled every five seconds."""
    tables = "".join(f'[[organizations]]\nid = "{id_}"\nlimit = {LIMIT}\n' for id_ in organizations)
    config = folder / "config.toml"
    config.write_text(
        f'[rybbit]\nbase_url = "{url}"\napi_key = "k123456789"\n'
        '[poll]\nhistory = "1d"\ninterval = "5s"\n'
        f'[channels.hook]\ntype = "webhook"\nurl = "{url}/hook"\n{tables}'
    )
    config.chmod(0o600)
    command = [sys.executable, "-m", "quota_watch", "-q", "-c", str(config), "run"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def main(organizations: int = 500, seconds: int = 60) -> None:
    """Let all cross, wait until all are reported, and print how long that took."""
    ids = [f"org_{n}" for n in range(organizations)]
    begins = time.monotonic() + 15  # when all were polled before
    _World.crosses_at = {id_: begins + random.uniform(0, seconds) for id_ in ids}
    with _Server(("127.0.0.1", 0), _World) as server, TemporaryDirectory() as folder:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with daemon(Path(folder), f"http://127.0.0.1:{server.server_port}", ids):
            until = begins + seconds + PATIENCE_SECONDS
            while len(_World.reported_at) < organizations and time.monotonic() < until:
                time.sleep(0.5)
        server.shutdown()
    waits = [1000 * (at - _World.shown_at[id_]) for id_, at in _World.reported_at.items()]
    cuts = quantiles(waits, n=100)
    print(f"{len(waits)} of {organizations} reported")
    print(f"median {cuts[49]:.0f} ms\tp99 {cuts[98]:.0f} ms\tlongest {max(waits):.0f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
