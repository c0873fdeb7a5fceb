"""What every message is made of."""

from dataclasses import dataclass

from quota_watch.notify.situation import Situation
from quota_watch.text import join

__all__ = ("Words", "join", "state")


@dataclass(frozen=True, slots=True)
class Words:
    """A title for one line, a summary of a few sentences, and what to do next."""

    title: str
    summary: str
    next_step: str


def state(case: Situation) -> str:
    """Return what is used now, when that was measured, and when the count starts again."""
    return join([case.told_use(), case.told_measurement(), case.told_reset()])
