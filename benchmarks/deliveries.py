"""How long 1,000 critical alerts take to go out: of one webhook channel, and of one mail channel.

`deliveries.py [ALERTS [URL]]` prints seconds of wall clock and of our own CPU, and how often the
receiver got anything twice. The receivers are a process of their own; that of the webhooks
answers after 5 ms. URL is an empty PostgreSQL database; else it is a SQLite file.
"""

import asyncio
import json
import re
import resource
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

ANSWERS_AFTER = 0.005
PATIENCE_SECONDS = 300

received = Counter[str]()
"""How often each message came, by its id."""


class _Webhooks(asyncio.Protocol):
    """Takes any POST; any GET answers what was received."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode()
            length = re.search(r"(?i)^content-length: (\d+)", head, re.MULTILINE)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < size:
                return
            self._buffer = self._buffer[size:]
            if head.startswith("GET"):
                self._answer(json.dumps(received).encode())
                continue
            note(re.search(r"(?i)^webhook-id: (\S+)", head, re.MULTILINE)[1])
            asyncio.get_running_loop().call_later(ANSWERS_AFTER, self._answer, b"")

    def _answer(self, content: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(content)
        self._transport.write(head + content)


class _Mails(asyncio.Protocol):
    """Takes any mail, in as many sessions as there are."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._buffer, self._in_data = transport, b"", False
        self._say("220 here")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n.\r\n" if self._in_data else b"\r\n")) >= 0:
            found, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
            if self._in_data:
                self._buffer, self._in_data = self._buffer[3:], False
                note(re.search(rb"(?i)^message-id: (\S+)", found, re.MULTILINE)[1].decode())
                self._say("250 taken")
            elif found[:4].upper() == b"DATA":
                self._in_data = True
                self._say("354 go on")
            else:
                self._say("250 ok")

    def _say(self, line: str) -> None:
        self._transport.write(line.encode() + b"\r\n")


def note(id_: str) -> None:
    """Keep that a message came."""
    received[id_] += 1


async def serve() -> None:
    """Print the two ports and answer for ever."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(kind, "127.0.0.1", 0) for kind in (_Webhooks, _Mails)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


def measure(channel: str, alerts: int, url: str, ports: list[str]) -> None:
    """Enqueue so many alerts on a channel and print how long they took to go out."""
    from quota_watch.channels.build import build_channels  # noqa: PLC0415
    from quota_watch.config import load  # noqa: PLC0415
    from quota_watch.lib.machine import Clock  # noqa: PLC0415
    from quota_watch.pipeline.deliver import Outbox  # noqa: PLC0415
    from quota_watch.storage.database import Database  # noqa: PLC0415

    with TemporaryDirectory() as folder, ExitStack() as resources:
        config = load(configure(Path(folder), url, ports))
        command = [
            sys.executable,
            "-m",
            "quota_watch",
            "-q",
            "-c",
            str(config.path),
            "db",
            "upgrade",
        ]
        subprocess.run(command, check=True, capture_output=True)
        database = Database(config.database_url())
        put(database, channel, alerts)
        channels = build_channels(config, resources)
        outbox = Outbox(database=database, channels=channels, clock=Clock())
        begun, cpu = time.monotonic(), _cpu()
        outbox.dispatch()
        outbox.wait_until_idle(PATIENCE_SECONDS)
        wall, cpu = time.monotonic() - begun, _cpu() - cpu
        database.close()
    came = json.load(urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/"))
    ours = [times for id_, times in came.items() if id_.startswith("<") == (channel == "mail")]
    print(
        f"{channel}\t{wall:.1f} s\t{cpu:.1f} s of CPU\t"
        f"{len(ours)} of {alerts} came, {sum(ours) - len(ours)} of them twice"
    )


def configure(folder: Path, url: str, ports: list[str]) -> Path:
    """Write a config with the two channels; return its path."""
    config = folder / "config.toml"
    config.write_text(
        '[rybbit]\nbase_url = "http://localhost:1"\napi_key = "k123456789"\n'
        f'[database]\nurl = "{url or "sqlite:///quota-watch.db"}"\n'
        '[[organizations]]\nid = "org_0"\nlimit = 1\n'
        f'[channels.hook]\ntype = "webhook"\nurl = "http://127.0.0.1:{ports[0]}/"\n'
        'secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"\n'
        '[channels.mail]\ntype = "email"\nto = ["ops@example.com"]\n'
        f'[smtp]\nhost = "127.0.0.1"\nport = {ports[1]}\nsecurity = "none"\n'
        'from = "quota-watch@example.com"\n'
    )
    config.chmod(0o600)
    return config


def put(database: "Database", channel: str, alerts: int) -> None:  # noqa: F821
    """Enqueue so many alerts, each of a story of its own."""
    from quota_watch.messages.facts import examples  # noqa: PLC0415
    from quota_watch.storage import deliveries  # noqa: PLC0415
    from quota_watch.storage.deliveries import Envelope, delivery_id  # noqa: PLC0415
    from quota_watch.storage.schema import alert  # noqa: PLC0415

    now = datetime.now(UTC)
    facts = examples()["fired_with_advice"].to_json()
    stories = [
        {
            "pk": n, "key": f"{channel} {n}", "id": f"al_{n}", "rule": "threshold",
            "severity": "critical", "period_start": now.date(), "occurrence": 1,
            "reason": "level_reached", "title": "", "summary": "", "started_at": now,
            "transitions": [],
        }
        for n in range(1, alerts + 1)
    ]  # fmt: skip
    recipient = "ops@example.com" if channel == "mail" else ""
    envelopes = [
        Envelope(
            id=delivery_id(f"tr_{n}", channel, recipient),
            transition_id=f"tr_{n}",
            alert_pk=n,
            channel=channel,
            recipient=recipient,
            type="alert.fired",
            severity="critical",
            facts=facts,
            batch=f"{n} now" if channel == "mail" else None,
        )
        for n in range(1, alerts + 1)
    ]
    with database.write() as connection:
        if database.is_sqlite or channel == "hook":
            connection.execute(alert.insert(), stories)
        deliveries.put(connection, envelopes, now=now)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(alerts: int = 1000, url: str = "") -> None:
    """Measure each channel in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.deliveries"]
    with subprocess.Popen([*command, "serve"], stdout=subprocess.PIPE, text=True) as receivers:
        try:
            ports = receivers.stdout.readline().split()
            for channel in ("hook", "mail"):
                subprocess.run([*command, channel, str(alerts), url, *ports], check=True)
        finally:
            receivers.kill()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve())
    elif sys.argv[1:2] in (["hook"], ["mail"]):
        measure(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:6])
    else:
        main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
