"""The command line: thin, one module per group of commands."""

import os
import signal
import sys
from typing import NoReturn


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit, as `quota_watch.cli.app.main` does.

    A daemon that is told to stop while Python still imports ends with 0, and does not mind being
    told to reload: there is nothing yet to end, or to reload.
    """
    if "run" in (sys.argv[1:] if args is None else args):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    from quota_watch.cli.app import main as run

    run(args)


__all__ = ["main"]
