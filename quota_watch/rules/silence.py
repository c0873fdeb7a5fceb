"""Silences: an agreed time in which something is tracked but not told."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from quota_watch.model.rule import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Nothing is told from `starts_at` up to `ends_at`; `rule` None: of any rule."""

    rule: Rule | None
    starts_at: datetime
    ends_at: datetime

    def holds(self, rule: Rule, now: datetime) -> bool:
        """Tell whether it holds back what `rule` has to say now."""
        return self.rule in {None, rule} and self.starts_at <= now < self.ends_at


def is_silenced(silences: Iterable[Silence], rule: Rule, now: datetime) -> bool:
    """Tell whether any of the silences holds `rule` back."""
    return any(silence.holds(rule, now) for silence in silences)
