"""How early the forecast warns, and how often in vain, for limits set about what really came."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from benchmarks.forecast.series import Question
from quota_watch.forecast.forecast import Forecast
from quota_watch.model.period import each_day

PASSED, NEVER_PASSED = (0.8, 0.95), (1.05, 1.25)
_IN_TIME, _EARLY = 3, 7

Asked = Sequence[tuple[Question, Forecast]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """Shares: of crossings warned of three and seven days ahead, and of false alarms."""

    in_time: float
    early: float
    in_vain: float

    @property
    def worth(self) -> float:
        """Points: what is warned of in time less what is in vain, and half of what is early."""
        return 100 * (self.in_time - self.in_vain + self.early / 2)


def alarms(month: Asked) -> Alarms:
    """Play the check days of one month against all limits."""
    actual = month[0][0].actual
    ahead = [_days_ahead(month, share * actual) for share in PASSED]
    return Alarms(
        in_time=sum(days >= _IN_TIME for days in ahead) / len(PASSED),
        early=sum(days >= _EARLY for days in ahead) / len(PASSED),
        in_vain=sum(_warned(month, share * actual) is not None for share in NEVER_PASSED)
        / len(NEVER_PASSED),
    )


def _warned(month: Asked, limit: float) -> date | None:
    return next((q.as_of for q, seen in month if max(seen.warn_at, seen.used) > limit), None)


def _days_ahead(month: Asked, limit: float) -> int:
    warned, total = _warned(month, limit), 0
    question = month[0][0]
    for day in each_day(question.period.start, question.period.last_day):
        total += question.history.get(day, 0)
        if total > limit:
            return (day - warned).days if warned else 0
    return 0
