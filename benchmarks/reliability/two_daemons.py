"""Two daemons on one PostgreSQL: every crossing reported once; one killed, the other takes over.

    PYTHONPATH=.:tests python -m benchmarks.reliability.two_daemons --organizations 1000

All organizations cross a level at the same moment while both daemons poll. Then all cross the
next one, and one daemon is killed with SIGKILL in the middle: the other one has to finish within a
lease.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.reliability.kill9 import installation, wait_until
from quota_watch.channels.webhook import AT_ONCE
from quota_watch.pipeline.deliver import UNRECORDED
from support.installation import Installation
from support.postgres import running_postgres

TAKEN_OVER_SECONDS = 75
AGAIN = AT_ONCE + UNRECORDED
"""How many messages the dead one may have sent whose outcome it had not recorded."""
PATIENCE_SECONDS = 180


def received(installed: Installation, level: int) -> Counter[str]:
    """Count the messages that the hook got of a level, by their ids."""
    bodies = ((each.headers["webhook-id"], each.json()) for each in list(installed.hook.requests))
    return Counter(id_ for id_, body in bodies if body["alert"]["level"] == level)


def reach(installed: Installation, used: int) -> None:
    for id_ in installed.upstream.used:
        installed.upstream.used[id_] = used


def one_dies(
    installed: Installation, daemons: list[subprocess.Popen[str]], level: int
) -> tuple[float, Counter[str]]:
    """Kill a daemon in the middle of a level; return how long the other took, and what came."""
    many = len(installed.upstream.used)
    assert wait_until(lambda: received(installed, level).total() >= many // 4, PATIENCE_SECONDS)
    daemons[0].send_signal(signal.SIGKILL)
    begun = time.monotonic()
    wait_until(lambda: len(received(installed, level)) == many, PATIENCE_SECONDS)
    return time.monotonic() - begun, received(installed, level)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--organizations", type=int, default=1000)
    many = parser.parse_args().organizations
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        installed = stack.enter_context(installation(folder))
        server = stack.enter_context(running_postgres())
        url = stack.enter_context(server.fresh_database())
        installed.upstream.used = {f"org_{number:04}": 0 for number in range(many)}
        installed.configure(
            dict.fromkeys(installed.upstream.used, 1000),
            more='[alerts]\nnotify = ["hook"]\n' + f'[database]\nurl = "{url}"\n',
        )
        daemons = [installed.start("run") for _ in range(2)]
        for daemon in daemons:
            stack.callback(daemon.wait)
            stack.callback(daemon.kill)
        polled = wait_until(lambda: len(installed.server.requests) >= many, PATIENCE_SECONDS)
        assert polled, installed.log
        begun = time.monotonic()
        reach(installed, 800)
        wait_until(lambda: len(received(installed, 75)) == many, PATIENCE_SECONDS)
        time.sleep(3)  # for what might come twice
        first, seconds = received(installed, 75), time.monotonic() - begun - 3
        reach(installed, 950)
        taken, second = one_dies(installed, daemons, 90)
        time.sleep(3)
    print(
        f"{many} organizations, two daemons: level 75 came {first.total()} times with {len(first)}"
        f" ids within {seconds:.0f} s; level 90, one killed in the middle: {second.total()} times"
        f" with {len(second)} ids, {taken:.0f} s after the kill"
    )
    good = len(first) == first.total() == len(second) == many
    return 0 if good and second.total() <= many + AGAIN and taken <= TAKEN_OVER_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
