"""What is printed on a terminal, for code that asks whether it has one."""

import os
import pty
import threading
from collections.abc import Callable
from contextlib import redirect_stdout


def printed_on_terminal(show: Callable[[], object]) -> list[str]:
    """Return the lines that `show` prints where stdout is a terminal."""
    ours, theirs = pty.openpty()
    found: list[bytes] = []

    def read() -> None:
        while True:
            try:
                found.append(os.read(ours, 65_536))
            except OSError:  # the other end is closed, and all was read
                return

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as terminal, redirect_stdout(terminal):
        show()
    reader.join()
    os.close(ours)
    return b"".join(found).decode().replace("\r", "").splitlines()
