"""Logging put back as it was: it belongs to the whole process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Undo in the end what the block did to handlers and levels."""
    root, ours = logging.getLogger(), logging.getLogger("quota_watch")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        ours.setLevel(our_level)
