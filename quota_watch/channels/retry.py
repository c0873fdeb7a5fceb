"""When to try again: schedules over days, pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from quota_watch.channels.errors import DeliveryError

_JITTER = 0.2
_LONGEST_RETRY_AFTER = timedelta(hours=6)
_REBUILDS = 2


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The waits after the first failures, then one wait for ever, until the message is too old.

    `late_from` is the step at which a refusal that asks to `start_late` begins.
    """

    delays: tuple[timedelta, ...]
    then: timedelta
    until: timedelta
    late_from: int = 0


WEBHOOK_RETRIES = RetrySchedule(
    delays=(
        timedelta(seconds=5),
        timedelta(seconds=30),
        timedelta(minutes=5),
        timedelta(minutes=30),
    ),
    then=timedelta(hours=1),
    until=timedelta(hours=72),
    late_from=2,
)
EMAIL_RETRIES = RetrySchedule(
    delays=(
        timedelta(seconds=30),
        timedelta(minutes=2),
        timedelta(minutes=10),
        timedelta(minutes=30),
    ),
    then=timedelta(hours=1),
    until=timedelta(hours=72),
)


def next_attempt(
    *,
    schedule: RetrySchedule,
    attempts: int,
    error: DeliveryError,
    created_at: datetime,
    now: datetime,
    jitter: float,
) -> datetime | None:
    """Return when to try again after `attempts` failed ones, or None if it failed for good.

    `jitter` in [-1, 1] moves the wait by up to 20 %. A receiver's `retry_after` is honoured to
    six hours: the attempt is never sooner than it asks.
    """
    if error.permanent:
        return None
    age = max(now - created_at, timedelta(0))  # the clock may have gone back
    wait = _wait(schedule, _step(schedule, attempts, error, age)) * (1 + _JITTER * jitter)
    if error.retry_after is not None:
        wait = max(wait, min(timedelta(seconds=error.retry_after), _LONGEST_RETRY_AFTER))
    return None if age + wait > schedule.until else now + wait


def should_split(error: DeliveryError, *, attempts: int) -> bool:
    """Tell whether what was sent together and failed for the `attempts`-th time goes on singly.

    So it is where the fault may be in one part: after a refusal for good, a failure of our own,
    or a receiver that answers for the third time as if it were being rebuilt.
    """
    return error.permanent or error.by_us or (error.start_late and attempts > _REBUILDS)


def _step(schedule: RetrySchedule, attempts: int, error: DeliveryError, age: timedelta) -> int:
    """Return which wait comes next.

    Quick failures before one that starts late have not used up the late steps: those are over
    only when their time is.
    """
    if not error.start_late:
        return attempts - 1
    step, over = schedule.late_from, timedelta(0)
    while step < schedule.late_from + attempts - 1:
        over += _wait(schedule, step) * (1 - _JITTER)
        if age < over:
            break
        step += 1
    return step


def _wait(schedule: RetrySchedule, step: int) -> timedelta:
    return schedule.delays[step] if step < len(schedule.delays) else schedule.then
