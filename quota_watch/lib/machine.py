"""The machine's clocks and files; a file is written whole or not at all."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from quota_watch.lib import QuotaWatchError

_PACKAGE = Path(__file__).parent.parent


class Clock:
    """The machine's own clocks; waits of sockets and threads use `time.monotonic`."""

    def now(self) -> datetime:
        """Return the wall clock in UTC, cut to the millisecond that both databases store.

        It may jump either way.
        """
        now = datetime.now(UTC)
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Return seconds that only ever grow, for waiting and deadlines."""
        return time.monotonic()


class FileError(QuotaWatchError):
    """A file can't be written."""


def resource_dir(name: str) -> Path:
    """Find a folder of templates or migrations: in the installed package, or in a checkout."""
    packaged = _PACKAGE / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """Open a file that replaces `path` when the block ends; nothing is left if it raises.

    A pipe or a device at `path` is written to directly. Raises a `FileError` that names the path.
    """
    try:
        target = path.resolve()
        is_special = target.exists() and not target.is_file()
        with (
            target.open("w", encoding="utf-8", newline="") if is_special else _replacing(target)
        ) as file:
            yield file
    except BrokenPipeError:  # the reader has seen enough, which is no fault of the path
        raise
    except OSError as error:
        raise FileError(f"{path} can't be written: {error.strerror or error}") from error


@contextmanager
def _replacing(target: Path) -> Iterator[TextIO]:
    unfinished = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        unfinished.replace(target)
    except BaseException:  # also where the user interrupts
        unfinished.unlink(missing_ok=True)
        raise
