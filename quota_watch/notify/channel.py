"""What every channel is: somewhere a message can be sent to, with its own patience."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from quota_watch.domain.rules import Severity
from quota_watch.notify.retry import RetrySchedule

ATTEMPT_SECONDS = 30.0
"""How long one attempt may take in all, from name lookup to the receiver's answer."""


MAILTO = "mailto:"
"""How the name of a mail channel begins that is nothing but its one address."""

Facts = Mapping[str, Any]
"""What is told of one transition, as `notify.facts` makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing to send: what to tell (`facts`, as `notify.facts` makes them) and to whom.

    `facts` are one or, where the channel `batches`, several, the most severe first. `id` is the
    message's, stable across retries, without dots. `recipient` is empty where the channel itself
    is the receiver.
    """

    id: str
    recipient: str
    facts: tuple[Facts, ...]


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
