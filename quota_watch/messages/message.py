"""What is sent: the facts of one transition or of several, to one recipient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
