import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from quota_watch.lib.http import Client
from quota_watch.model.source import Organization
from quota_watch.rybbit.client import RybbitClient

KEY = "rb_org_canary0123456789canary0123456789"

Script = Callable[["Connection"], None]


class Connection:
    """One request that a scripted server got, and the way to answer it."""

    def __init__(
        self, sock: socket.socket, head: str, body: bytes, stopped: threading.Event
    ) -> None:
        self.sock, self.head, self.body, self._stopped = sock, head, body, stopped

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def answer_json(self, value: Any, *headers: str, status: str = "200 OK") -> None:
        self.answer(json.dumps(value).encode(), *headers, status=status)

    def drip(self, data: bytes) -> None:
        """Send a byte every 50 ms until the server stops or the client hangs up."""
        for byte in data:
            if self._stopped.wait(0.05):
                return
            self.send(bytes([byte]))

    def hold(self) -> None:
        """Keep the connection open and silent until the server stops."""
        self._stopped.wait(30)

    def reset(self) -> None:
        """Hang up with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise ConnectionResetError


class Upstream:
    """A raw TCP server that answers every request by a script, for lies of every kind."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script, self._tls = script, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.heads: list[str] = []
        self.connections = 0
        self._threads[0].start()

    def stop(self) -> None:
        self._stopped.set()
        for sock in (self._listener, *self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            sock = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
        except OSError:
            plain.close()
            return
        with sock, sock.makefile("rb") as reader:
            try:
                while head := _read_head(reader):
                    self.heads.append(head)
                    body = reader.read(_length(head))
                    self._script(Connection(sock, head, body, self._stopped))
            except OSError:
                return


def _read_head(reader: Any) -> str:
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line.decode("latin-1"))
    return "".join(lines)


def _length(head: str) -> int:
    found = re.search(r"(?im)^content-length: (\d+)", head)
    return int(found[1]) if found else 0


@pytest.fixture
def serve() -> Iterator[Callable[..., Upstream]]:
    """Start scripted servers: `serve(script, tls=None)`."""
    servers: list[Upstream] = []

    def start(script: Script, tls: ssl.SSLContext | None = None) -> Upstream:
        servers.append(Upstream(script, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")  # reading the trusted certificates takes longer than most tests
def http() -> Iterator[Client]:
    with Client(connections=4) as client:
        yield client


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def ask(http: Client) -> Callable[..., Any]:
    """Ask a server for days: `ask(url, start, end, key=…, timeout=…, name=…)`."""

    def ask(
        url: str,
        start: date = date(2026, 10, 1),
        end: date = date(2026, 10, 3),
        *,
        key: str = KEY,
        timeout: float = 5.0,
        name: str = "org_abc",
    ) -> Any:
        organization = Organization(url, name)
        client = RybbitClient(http, keys={organization: key}, timeout=timeout)
        return client.days(organization, start, end)

    return ask


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """Build a row: `row("2026-10-01", 10, error=2)` has 10 events, 8 of them page views."""

    def build(day: date | str, total: int = 10, **types: int) -> dict[str, Any]:
        counts = {"pageview": total - sum(types.values()), **types}
        fields = {f"{kind}_count": n for kind, n in counts.items()}
        return {"event_date": f"{day} 00:00:00", **fields, "event_count": total}

    return build


@pytest.fixture
def october(row: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    """The honest rows of the first three days of October."""
    return [row(date(2026, 10, 1) + timedelta(n), 10 + n) for n in range(3)]


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Every recorded answer by file name."""
    return answers_in("golden")


@pytest.fixture(scope="session")
def rybbit_now() -> dict[str, Any]:
    """Answers in the shape that newer servers give, with made-up values, by file name."""
    return answers_in("rybbit-now")


def answers_in(name: str) -> dict[str, Any]:
    folder = Path(__file__).parent.parent / "data" / name
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
