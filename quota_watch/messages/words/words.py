"""What every message is made of."""

from dataclasses import dataclass

from quota_watch.lib.text import join
from quota_watch.messages.situation import Situation


@dataclass(frozen=True, slots=True)
class Words:
    """A title for one line, a summary of a few sentences, and what to do next."""

    title: str
    summary: str
    next_step: str


def state(case: Situation) -> str:
    """Return what is used now, when that was measured, and when the count starts again."""
    return join([case.told_use(), case.told_measurement(), case.told_reset()])
