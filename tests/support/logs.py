"""Logging put back as it was: it belongs to the whole process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LEVELLED = (None, "quota_watch", "apscheduler")


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Undo in the end what the block did to handlers and levels."""
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in _LEVELLED]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
