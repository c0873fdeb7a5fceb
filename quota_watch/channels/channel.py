"""What all channels share: how to send, how sending fails, and when to try again."""

import ssl
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Protocol

from quota_watch.lib import QuotaWatchError
from quota_watch.lib.network import ConnectError, HttpError, TimedOut, in_words
from quota_watch.lib.text import one_line
from quota_watch.messages.facts import Message
from quota_watch.model.watch import Severity

ATTEMPT_SECONDS = 30.0
"""How long one attempt may take in all, from name lookup to the receiver's answer."""

_JITTER = 0.2
_LONGEST_RETRY_AFTER = timedelta(hours=6)
_REBUILDS = 2


class DeliveryError(QuotaWatchError):
    """An attempt that the receiver did not accept.

    The text is a sentence without secrets. `permanent`: trying again is of no use. `status` is
    the receiver's code (HTTP or SMTP). `retry_after`: seconds it asked to wait. `start_late`:
    the receiver answered as if it were being redeployed, so the quick first retries are left out.
    `by_us`: quota-watch itself failed, before or after the receiver was asked. `remedy`: what to
    do, where the failure shows that.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
        start_late: bool = False,
        by_us: bool = False,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.status = status
        self.retry_after = retry_after
        self.start_late = start_late
        self.by_us = by_us
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A few plain words, for when what makes messages is itself what failed."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The waits after the first failures, then one wait again and again, until it is too old.

    `late_from` is the step at which a refusal that asks to `start_late` begins.
    """

    delays: tuple[timedelta, ...]
    late_from: int = 0
    then: timedelta = timedelta(hours=1)
    until: timedelta = timedelta(hours=72)


WEBHOOK_RETRIES = RetrySchedule(
    delays=(
        timedelta(seconds=5),
        timedelta(seconds=30),
        timedelta(minutes=5),
        timedelta(minutes=30),
    ),
    late_from=2,
)
EMAIL_RETRIES = RetrySchedule(
    delays=(
        timedelta(seconds=30),
        timedelta(minutes=2),
        timedelta(minutes=10),
        timedelta(minutes=30),
    ),
)


class Channel(Protocol):
    """A configured destination."""

    name: str
    """What the config calls it."""

    recipients: tuple[str, ...] = ("",)
    """Who gets a delivery each; one empty name where the channel itself is the receiver."""

    min_severity: Severity
    """The least severity that is sent here."""

    retries: RetrySchedule = WEBHOOK_RETRIES
    """When to try again."""

    takes_period_ends: bool = False
    """Whether it gets the resolves that a new period or a config change causes."""

    keeps_incidents: bool = False
    """Whether an incident stays open there until it is resolved, so that ends are always sent."""

    batches: bool = True
    """Whether several facts go into one message; else each message has one."""

    at_once: int = 1
    """How many messages may be under way at a time."""

    def send(self, message: Message, *, now: datetime) -> None:
        """Hand the message over; returning means the receiver accepted it.

        Takes at most `ATTEMPT_SECONDS`. Raises `DeliveryError`.
        """

    def notify(self, notice: Notice, *, now: datetime) -> None:
        """Hand over a few plain words to every recipient, made without facts or templates.

        Raises `DeliveryError`.
        """

    def check(self) -> str:
        """Connect without sending anything and return what was reached, as a sentence.

        Raises `DeliveryError`.
        """

    def rest(self) -> None:
        """Close what was held open from one message to the next: nothing more is due now."""
        return


def why_unreached(error: HttpError | OSError, *, place: str, seconds: float) -> str:
    """Say why nothing got through to `place`, showing nothing else of where that is."""
    if isinstance(error, TimedOut):
        return f"{place} did not answer within {seconds:g} seconds"
    if isinstance(error, HttpError) and not isinstance(error, ConnectError):
        return f"the exchange with {place} was interrupted ({type(error).__name__})"
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {place} was rejected: {one_line(cause.verify_message)}"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS with {place}: {one_line(cause.reason or 'the connection ended')}"
    return f"no connection to {place}: {one_line(in_words(cause))}"


def next_attempt(
    *,
    schedule: RetrySchedule,
    attempts: int,
    error: DeliveryError,
    created_at: datetime,
    now: datetime,
    jitter: float,
) -> datetime | None:
    """Say when to try again after `attempts` failed ones; None if it failed for good.

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
    """Decide whether a joined message that failed for the `attempts`-th time is sent in parts.

    It is where one part may be at fault: after a final refusal, a failure of our own, or the third
    answer as if the receiver were being redeployed.
    """
    return error.permanent or error.by_us or (error.start_late and attempts > _REBUILDS)


def _step(schedule: RetrySchedule, attempts: int, error: DeliveryError, age: timedelta) -> int:
    """Say which wait comes next.

    Quick failures before one that starts late do not use up the late steps: those end only when
    their time has passed.
    """
    if not error.start_late:
        return attempts - 1
    late_steps = range(schedule.late_from, schedule.late_from + attempts - 1)
    ends = list(accumulate(_wait(schedule, step) * (1 - _JITTER) for step in late_steps))
    return schedule.late_from + bisect_right(ends, age)


def _wait(schedule: RetrySchedule, step: int) -> timedelta:
    return schedule.delays[step] if step < len(schedule.delays) else schedule.then
