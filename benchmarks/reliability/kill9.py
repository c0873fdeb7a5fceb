"""Kill the daemon at every statement and at random moments, and count what is lost or repeated.

    PYTHONPATH=.:tests python -m benchmarks.reliability.kill9 --rounds 1000 [--postgresql]

Each round one organization reaches one more level. A daemon that polls, records and delivers it is
killed with SIGKILL: at its n-th statement or commit, another one each round, or after a random
time. Then another one runs until a real webhook receiver and a real mail server have got the
message, and is killed too. Between the two the dead one's leases are made to run out, and what
waits for company in one mail has it at once, each of which otherwise takes a minute. Lost: a
message that does not come. Repeated: one that comes again, which it may only with the same id.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import text

from quota_watch.storage import upkeep
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import hasten
from support.http import HttpServer
from support.installation import Installation, Upstream
from support.postgres import running_postgres
from support.smtp import SmtpServer

LEVELS = 99
PATIENCE_SECONDS = 30
HURRY_SECONDS = 0.1
STATEMENTS = 60
AT_STATEMENTS = 0.8
CHANNELS = 2

Message = tuple[str, int]
"""An organization and a level."""


class Zygote:
    """Starts daemons in the folder of an installation."""

    def __init__(self, installation: Installation) -> None:
        self._log = (installation.folder / "log").open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reliability.zygote"],
            cwd=installation.folder,
            env=installation.environ({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def start(self, die_at: int = 0) -> int:
        self._process.stdin.write(f"{die_at}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()


class Receivers:
    """What the webhook receiver and the mail server got, by message."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._read = [0, 0]
        self.hooks: dict[Message, Counter[str]] = {}
        self.mails: dict[Message, Counter[str]] = {}

    def update(self) -> None:
        hooks, mails = self._installation.hook.requests, self._installation.smtp.mails
        for request in hooks[self._read[0] :]:
            body = request.json()
            message = body["organization"]["id"], body["alert"]["level"]
            self.hooks.setdefault(message, Counter())[request.headers["webhook-id"]] += 1
            self._read[0] += 1
        for mail in mails[self._read[1] :]:
            level = re.search(r"(\d+)(?:\.\d+)? %", mail.message["Subject"])
            message = mail.message["X-Quota-Watch-Organization"], int(level[1]) if level else 0
            self.mails.setdefault(message, Counter())[mail.message["Message-ID"]] += 1
            self._read[1] += 1

    def got(self, message: Message) -> bool:
        self.update()
        return message in self.hooks and message in self.mails


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > ends:
            return False
        time.sleep(0.005)
    return True


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), PATIENCE_SECONDS)


def let_leases_run_out(database: Database) -> None:
    with database.write() as connection:
        for table in ("organization", "delivery"):
            connection.execute(text(f"UPDATE {table} SET claimed_by = NULL, claimed_until = NULL"))


def without_company(database: Database, is_so: Callable[[], bool]) -> Callable[[], bool]:
    """Return `is_so`, and let what waits for company go while it is not so."""
    hurried_at = 0.0

    def hurry() -> bool:
        nonlocal hurried_at
        if is_so():
            return True
        if time.monotonic() - hurried_at > HURRY_SECONDS:
            hurried_at = time.monotonic()
            with database.write() as connection:
                hasten(connection, ("ops", "hook"), now=datetime.now(UTC))
        return False

    return hurry


@contextmanager
def installation(folder: Path) -> Iterator[Installation]:
    upstream = Upstream()
    servers = HttpServer(answers=upstream), HttpServer(), SmtpServer()
    for server in servers:
        server.start()
    try:
        yield Installation(folder, *servers, upstream)
    finally:
        for server in servers:
            server.stop()


def kill_one(zygote: Zygote, statement: int, dice: random.Random, out: Callable[[], bool]) -> bool:
    """Start a daemon that dies at a statement, or soon; return whether the message was out."""
    pid = zygote.start(statement)
    if statement:
        wait_until(lambda: out() or not is_alive(pid), PATIENCE_SECONDS)
    else:
        time.sleep(dice.uniform(0, 1.5))
    kill(pid)
    return out()


def generation(
    installed: Installation, database: Database, number: int, rounds: int, dice: random.Random
) -> tuple[int, Receivers, int]:
    """Play up to `LEVELS` rounds with one organization; return lost, received, killed on time."""
    id_ = f"org_{number}"
    installed.upstream.used[id_] = 0
    levels = ", ".join(str(level) for level in range(1, LEVELS + 1))
    installed.configure(
        {id_: 1000},
        more=f"[alerts]\nthresholds = [{levels}]\n"
        f'[database]\nurl = "{database._url.render_as_string(hide_password=False)}"\n',
    )
    zygote, received, lost, killed = Zygote(installed), Receivers(installed), 0, 0
    for level in range(1, min(rounds, LEVELS) + 1):
        installed.upstream.used[id_] = 10 * level
        out = without_company(database, partial(received.got, (id_, level)))
        statement = dice.randrange(1, STATEMENTS) if dice.random() < AT_STATEMENTS else 0
        killed += not kill_one(zygote, statement, dice, out)
        let_leases_run_out(database)
        pid = zygote.start()
        if not wait_until(out, PATIENCE_SECONDS):
            lost += 1
            print(f"lost: level {level}, killed at statement {statement}", flush=True)
        kill(pid)
        let_leases_run_out(database)
    received.update()
    zygote.close()
    return lost, received, killed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args()
    dice, begun = random.Random(options.seed), time.monotonic()
    lost = killed = repeated = other_ids = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        installed = stack.enter_context(installation(folder))
        url = f"sqlite:///{folder / 'quota-watch.db'}"
        if options.postgresql:
            server = stack.enter_context(running_postgres())
            url = stack.enter_context(server.fresh_database())
        database = Database(url)
        upkeep.upgrade(database)
        stack.callback(database.close)
        for number, first in enumerate(range(0, options.rounds, LEVELS)):
            missing, received, cut = generation(
                installed, database, number, options.rounds - first, dice
            )
            lost, killed = lost + missing, killed + cut
            for ids in [*received.hooks.values(), *received.mails.values()]:
                repeated += ids.total() - 1
                other_ids += len(ids) - 1
            print(f"{min(first + LEVELS, options.rounds)} rounds, {lost} lost", flush=True)
        unsound = upkeep.unsound(database)
    print(
        f"{options.rounds} messages on {CHANNELS} channels, {2 * options.rounds} kills, {killed} of"
        f" them before the message was out, in {time.monotonic() - begun:.0f} s: {lost} lost,"
        f" {repeated} repeated, {other_ids} of these with another id; database"
        f" {'unsound: ' + '; '.join(unsound) if unsound else 'sound'}"
    )
    return 1 if lost or other_ids or unsound else 0


if __name__ == "__main__":
    sys.exit(main())
