"""A steady cycle over TLS: its CPU over that of a bare httpx loop, and its connections.

Prints `CPU ratio` (both loops fetch and check the same answers; a poll also records and judges) and
`connections per thread and cycle`.
"""

import json
import ssl
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import trustme

from benchmarks.polling import THREADS, polling
from benchmarks.upstream import serving


def bare(url: str, trusted: ssl.SSLContext, organizations: int) -> float:
    """Fetch and add up every organization once with one client; return the CPU seconds."""
    now = datetime.now(UTC)
    asked = f"start_date={now:%Y-%m-01}&end_date={now:%Y-%m-%d}&time_zone=UTC"
    left, lock = iter(range(organizations)), threading.Lock()

    def work(client: httpx.Client) -> None:
        while True:
            with lock:
                n = next(left, None)
            if n is None:
                return
            answer = client.get(f"{url}/api/org-event-count/org_{n}?{asked}")
            sum(each["event_count"] for each in json.loads(answer.content)["data"])

    with httpx.Client(verify=trusted) as client:
        began = time.process_time()
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.process_time() - began


def main(organizations: int = 1000, cycles: int = 3) -> None:
    """Print the ratios."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            folder / "server.pem"
        )
        with serving(folder / "server.pem") as url:
            trusted = ssl.create_default_context(cafile=folder / "ca.pem")
            settings = {"organizations": organizations, "ca_file": folder / "ca.pem"}
            running, watched, _ = polling(folder, url, **settings)
            running.poll_named(watched)  # the first one fetches more
            httpx.get(f"{url}/connections", verify=trusted)
            ours = floor = 0.0
            for _ in range(cycles):
                began = time.process_time()
                running.poll_named(watched)
                ours += time.process_time() - began
            connections = int(httpx.get(f"{url}/connections", verify=trusted).text) - 1
            for _ in range(cycles):
                floor += bare(url, trusted, organizations)
            running.close(5)
    print(f"CPU ratio\t{ours / floor:.2f}")
    print(f"connections per thread and cycle\t{connections / cycles / THREADS:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
