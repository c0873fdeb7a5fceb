"""What every channel is: somewhere a message can be sent to, with its own patience."""

from datetime import datetime
from typing import Protocol

from quota_watch.channels.retry import RetrySchedule
from quota_watch.messages.message import Message
from quota_watch.model.rule import Severity

ATTEMPT_SECONDS = 30.0
"""How long one attempt may take in all, from name lookup to the receiver's answer."""


class Channel(Protocol):
    """A configured destination."""

    @property
    def name(self) -> str:
        """What the config calls it."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """Who gets a delivery each; one empty name where the channel itself is the receiver."""

    @property
    def min_severity(self) -> Severity:
        """The least severity that is sent here."""

    @property
    def retries(self) -> RetrySchedule:
        """When to try again."""

    @property
    def takes_period_ends(self) -> bool:
        """Whether ends that a new period or the config brings are sent here."""

    @property
    def keeps_incidents(self) -> bool:
        """Whether something stays open there until it is told of the end, wanted or not."""

    @property
    def batches(self) -> bool:
        """Whether several facts go into one message; else each message has one."""

    def send(self, message: Message, *, now: datetime) -> None:
        """Hand the message over; returning means the receiver accepted it.

        Takes at most `ATTEMPT_SECONDS`. Raises `DeliveryError`.
        """

    def check(self) -> str:
        """Connect without sending anything and return what was reached, as a sentence.

        Raises `DeliveryError`.
        """
