"""The command line: thin, one module per group of commands."""

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

_LONG = {"run", "poll", "demo"}
_OBJECTS, _OBJECTS_OF_A_SHORT_COMMAND = 50_000, 1_000_000
"""New objects before a garbage collection: neither imports nor a short command make garbage."""


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit, as `quota_watch.cli.app.main` does.

    A daemon that is still importing ends with 0 on SIGTERM and SIGINT and ignores SIGHUP: there is
    nothing to finish or reload yet. Any other command that is interrupted ends with 130, at any
    moment. Without `args`, as a process of its own, it leaves at once: tearing down all that was
    imported is a fifth of a short command's time.
    """
    words = sys.argv[1:] if args is None else args
    gc.set_threshold(_OBJECTS_OF_A_SHORT_COMMAND if _LONG.isdisjoint(words) else _OBJECTS)
    if "run" in words:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    try:
        from quota_watch.cli.app import main as run

        run(args)
    except KeyboardInterrupt:  # also while Python imports, or while we end
        sys.exit(130)
    except SystemExit as end:
        if args is None:
            _leave(end.code or 0)
        raise


def _leave(code: object) -> None:
    """End the process, unless a thread is still at work or something can't be written."""
    import threading

    if threading.active_count() > 1 or not isinstance(code, int):
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
