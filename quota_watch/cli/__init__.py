"""The command line: thin, one module per group of commands."""

import os
import signal
import sys
from typing import NoReturn


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit, as `quota_watch.cli.app.main` does.

    A daemon that is told to stop while Python still imports ends with 0, and does not mind being
    told to reload: there is nothing yet to end, or to reload. Any other command that is
    interrupted ends with 130, at whatever moment.
    """
    if "run" in (sys.argv[1:] if args is None else args):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    try:
        from quota_watch.cli.app import main as run

        run(args)
    except KeyboardInterrupt:  # also while Python imports, or while we end
        sys.exit(130)


__all__ = ["main"]
