"""A steady cycle over HTTP or TLS, compared with bare loops that fetch the same answers.

`cycle.py [ROW [ORGANIZATIONS [CYCLES]]]` prints one figure, with `-v` all of them:

- `http`, `https`: CPU over that of a loop with one httpx client and as many threads;
- `script`: CPU over that of a script as the public docs show it, `requests.get` one after another;
- `statements`: SQL statements per organization and cycle;
- `connections`: new connections per cycle, over TLS;
- `first`, `steady`: CPU milliseconds per organization of the first cycle, with 70 days of history,
  and of a steady one.
"""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import requests
import trustme
from sqlalchemy import Engine, event

from benchmarks.polling import THREADS, arguments, polling, show
from benchmarks.upstream import serving


def _path(n: int) -> str:
    now = datetime.now(UTC)
    days = f"start_date={now:%Y-%m-01}&end_date={now:%Y-%m-%d}&time_zone=UTC"
    return f"/api/org-event-count/org_{n}?{days}"


def _add_up(body: bytes) -> int:
    return sum(day["event_count"] - day["error_count"] for day in json.loads(body)["data"])


def script(url: str, organizations: int) -> float:
    """Fetch and add up every organization once, with a connection each; return the CPU seconds."""
    began = time.process_time()
    for n in range(organizations):
        _add_up(requests.get(f"{url}{_path(n)}", timeout=15).content)
    return time.process_time() - began


def bare(url: str, trusted: ssl.SSLContext, organizations: int) -> float:
    """Fetch and add up every organization once with one client; return the CPU seconds."""
    left, lock = iter(range(organizations)), threading.Lock()

    def work(client: httpx.Client) -> None:
        while True:
            with lock:
                n = next(left, None)
            if n is None:
                return
            _add_up(client.get(f"{url}{_path(n)}").content)

    with httpx.Client(verify=trusted) as client:
        began = time.process_time()
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.process_time() - began


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements that are executed meanwhile."""
    executed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        executed.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def measure(
    folder: Path, url: str, organizations: int, cycles: int, ca_file: Path | None, row: str
) -> None:
    """Poll and fetch in turn, and print the figures."""
    trusted = ssl.create_default_context(cafile=ca_file)
    running, watched, _ = polling(
        folder, url, organizations=organizations, history="70d", ca_file=ca_file
    )
    began = time.process_time()
    running.poll_named(watched)
    first = time.process_time() - began
    running.poll_named(watched)  # yesterday's forecasts are kept by now
    httpx.get(f"{url}/connections", verify=trusted)
    ours = floor = scripted = 0.0
    per_cycle, connections = 0.0, 0
    for _ in range(cycles):
        began = time.process_time()
        with statements() as executed:
            running.poll_named(watched)
        ours += time.process_time() - began
        per_cycle += len(executed) / cycles
        connections += int(httpx.get(f"{url}/connections", verify=trusted).text) - 1
        floor += bare(url, trusted, organizations)
        scripted += 0.0 if ca_file else script(url, organizations)
        httpx.get(f"{url}/connections", verify=trusted)
    running.close(5)
    figures = {
        "http": f"{ours / floor:.2f}",
        "statements": f"{per_cycle / organizations:.3f}",
        "connections": f"{connections / cycles:.1f}",
        "first": f"{1000 * first / organizations:.2f}",
        "steady": f"{1000 * ours / organizations / cycles:.2f}",
    }
    if ca_file:
        figures["https"] = figures.pop("http")
    else:
        figures["script"] = f"{ours / scripted:.2f}"
    show(figures, row)


def main(row: str = "http", organizations: int = 1000, cycles: int = 3) -> None:
    """Serve the answers, over TLS where the row is about that, and print the figures."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        if row not in {"https", "connections"}:
            with serving() as url:
                measure(folder, url, organizations, cycles, None, row)
            return
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            folder / "server.pem"
        )
        with serving(folder / "server.pem") as url:
            measure(folder, url, organizations, cycles, folder / "ca.pem", row)


if __name__ == "__main__":
    words, numbers = arguments()
    main(*(words or ["http"]), *numbers)
