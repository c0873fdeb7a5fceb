"""An outbox to fill, to send from and to look at."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from quota_watch.channels.channel import DeliveryError
from quota_watch.messages.facts import Message
from quota_watch.pipeline.deliver import Outbox
from quota_watch.storage import deliveries
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import Envelope
from quota_watch.storage.schema import delivery
from support.clock import FakeClock
from support.watching import RecordingChannel

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Post:
    """An outbox over a database, and short ways to fill it and to look at it."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.database = database
        self.clock = clock
        self.channels: dict[str, RecordingChannel] = {}
        self.outbox = self.process(database)

    def process(self, database: Database) -> Outbox:
        return Outbox(
            database=database, channels=self.channels, clock=self.clock, jitter=lambda: 0.0
        )

    def channel(self, name: str = "hook", **how: Any) -> RecordingChannel:
        self.channels[name] = RecordingChannel(name, **how)
        return self.channels[name]

    def put(self, *ids: str, channel: str = "hook", recipient: str = "", **how: Any) -> None:
        plain = {"severity": "info", "facts": {"used": 91}, "alert_pk": None, "type": "alert.fired"}
        how = plain | how
        envelopes = [
            Envelope(
                id=id_,
                transition_id=f"tr_{id_}",
                channel=channel,
                recipient=recipient,
                **how,
            )
            for id_ in ids
        ]
        with self.database.write() as connection:
            deliveries.put(connection, envelopes, now=self.clock.now())

    def send(self) -> None:
        self.outbox.dispatch()
        assert self.outbox.wait_until_idle(10)

    def rows(self) -> dict[str, tuple[Any, ...]]:
        columns = (delivery.c.id, delivery.c.state, delivery.c.attempts, delivery.c.next_at)
        with self.database.read() as connection:
            return {row[0]: tuple(row[1:]) for row in connection.execute(select(*columns))}

    def states(self) -> dict[str, str]:
        return {id_: row[0] for id_, row in self.rows().items()}

    def column(self, name: str) -> dict[str, Any]:
        with self.database.read() as connection:
            rows = connection.execute(select(delivery.c.id, delivery.c[name]))
            return {row[0]: row[1] for row in rows}


def ids(channel: RecordingChannel) -> list[str]:
    return [message.id for message in channel.sent]


def fail_for(*refused: str, **how: Any) -> Callable[[Message], None]:
    def script(message: Message) -> None:
        if message.id in refused:
            raise DeliveryError("the receiver refused", **how)

    return script


def told(channel: RecordingChannel) -> list[list[Any]]:
    """Return what each message that was accepted told, by the facts' `n`."""
    return [[facts["n"] for facts in message.bodies] for message in channel.sent]
