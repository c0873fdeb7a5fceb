"""A fast stand-in for Rybbit's event count, in a process of its own, over HTTP or TLS.

`upstream.py CERTIFICATE|- FAULTS LATENCY` prints its port. Counts follow from organization and day
alone; each answer comes LATENCY seconds after its request.
Of so many requests per thousand (FAULTS) some get 500, 429, a broken body or a closed connection.
`GET /connections` answers how many connections there were since it was asked last, `GET /requests`
how many requests each key made for events, and how often more than one for an organization.
"""

import asyncio
import json
import random
import ssl
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

TYPES = (
    "pageview", "custom_event", "performance", "outbound", "error", "button_click", "copy",
    "form_submit", "input_change",
)  # fmt: skip

requests, asked_for = Counter[bytes](), Counter[str]()
"""How many there were for events, by key and by what was asked."""


@lru_cache(maxsize=20_000)
def body(organization: str, start: str, end: str) -> bytes:
    """Return the counts of the days from `start` to `end`."""
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    days = (first + timedelta(n) for n in range((last - first).days + 1))
    return json.dumps({"data": [_row(organization, day) for day in days]}).encode()


def _row(organization: str, day: date) -> dict[str, str | int]:
    seed = zlib.crc32(f"{organization}|{day}".encode())
    counts = {f"{name}_count": (seed >> n) % 400 for n, name in enumerate(TYPES)}
    return {"event_date": f"{day} 00:00:00", **counts, "event_count": sum(counts.values())}


class _Server(asyncio.Protocol):
    connections = 0
    faults = 0
    latency = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _Server.connections += 1
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            if target.startswith("/api/org-event-count/"):
                requests[head.lower().partition(b"bearer ")[2].split(b"\r", 1)[0]] += 1
                asked_for[target] += 1
            if _Server.latency:
                asyncio.get_running_loop().call_later(_Server.latency, self._answer, target)
            else:
                self._answer(target)

    def _answer(self, target: str) -> None:
        url = urlsplit(target)
        if url.path == "/connections":
            self._send(b"%d" % _Server.connections)
            _Server.connections = 0
        elif url.path == "/requests":
            keys = {key.decode(): n for key, n in requests.items()}
            twice = sum(n - 1 for n in asked_for.values())
            self._send(json.dumps({"keys": keys, "twice": twice}).encode())
            requests.clear()
            asked_for.clear()
        elif random.randrange(1000) < _Server.faults:
            self._fail(random.randrange(4))
        elif url.path.startswith("/api/org-event-count/"):
            asked = parse_qs(url.query)
            organization = url.path.rpartition("/")[2]
            self._send(body(organization, asked["start_date"][0], asked["end_date"][0]))
        else:
            self._send(b'{"error":"Insufficient scope"}', b"403 Forbidden")

    def _fail(self, kind: int) -> None:
        if kind == 0:
            self._send(b'{"error":"Failed"}', b"500 Internal Server Error")
        elif kind == 1:
            self._send(b'{"error":"Rate limit exceeded"}', b"429 Too Many Requests")
        elif kind == 2:  # noqa: PLR2004
            self._send(b'{"data":[{"event_da')
        else:
            self._transport.close()

    def _send(self, content: bytes, status: bytes = b"200 OK") -> None:
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % (status, len(content)) + content)  # type: ignore[attr-defined]


@contextmanager
def serving(
    certificate: Path | None = None, *, faults: int = 0, latency: float = 0.0
) -> Iterator[str]:
    """Run the server; yields its address."""
    command = [sys.executable, __file__, str(certificate or "-"), str(faults), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        try:
            yield f"{'https' if certificate else 'http'}://localhost:{port}"
        finally:
            process.kill()


async def _serve(certificate: str, faults: int, latency: float) -> None:
    _Server.faults, _Server.latency = faults, latency
    context = None
    if certificate != "-":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = await asyncio.get_running_loop().create_server(
        _Server, "localhost", 0, ssl=context, backlog=256
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
