"""Starts `quota-watch run` again and again without importing it each time, to be killed.

Reads a number per line: the statement or commit at which the new process kills itself, 0 for
never. Answers with its process id. The program is the real one; only the start is a fork.
"""

import os
import signal
import sys

import alembic.command
import apscheduler.schedulers.background
import psycopg
import sqlalchemy.dialects.postgresql.psycopg
import sqlalchemy.dialects.sqlite.pysqlite
from sqlalchemy import event
from sqlalchemy.engine import Engine

import quota_watch.service.service
from quota_watch.cli.app import main

PRELOADED = (
    alembic.command,
    apscheduler.schedulers.background,
    psycopg,
    sqlalchemy.dialects.postgresql.psycopg,
    sqlalchemy.dialects.sqlite.pysqlite,
    quota_watch.service.service,
)


def die_at(statement: int) -> None:
    """Let this process kill itself when it is about to execute or commit for so many times."""
    done = 0

    def step(*_: object) -> None:
        nonlocal done
        done += 1
        if done == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)


def serve() -> None:
    """Fork a daemon for each line read."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_at(int(line))
            main(["run"])
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
