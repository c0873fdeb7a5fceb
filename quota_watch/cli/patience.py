"""Waiting for a key's rate budget where a person waits for the answer."""

import time
from collections.abc import Callable
from typing import TypeVar

from quota_watch.model.source import NotYet

_TRIES, _LONGEST_WAIT_SECONDS = 20, 2.0

Answer = TypeVar("Answer")


def patiently(request: Callable[[], Answer]) -> Answer:
    """Ask, waiting a little where the key's rate budget wants it; raises `NotYet` at last."""
    for _ in range(_TRIES):
        try:
            return request()
        except NotYet as not_yet:
            time.sleep(min(not_yet.seconds, _LONGEST_WAIT_SECONDS))
    return request()
