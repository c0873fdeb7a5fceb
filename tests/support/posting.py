"""Short ways to fill an outbox and to look at it."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from quota_watch.storage import attempts, deliveries, outbox
from quota_watch.storage.attempts import Attempt
from quota_watch.storage.claims import new_token
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import ClaimedMessage, DeliveryReason, Envelope
from quota_watch.storage.schema import alert, delivery
from support.clock import START

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
FIRED, ESCALATED, RESOLVED = "alert.fired", "alert.escalated", "alert.resolved"


def story(database: Database, number: int = 1) -> int:
    row = {
        "key": f"story {number}", "id": f"al_{number}", "rule": "threshold", "severity": "info",
        "period_start": START.date(), "occurrence": 1, "reason": "level_reached", "title": "",
        "summary": "", "started_at": START, "transitions": [],
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(alert.insert().values(row))
        pk: int = connection.scalar(select(alert.c.pk).where(alert.c.key == row["key"]))
        return pk


def envelope(of: int | None, type_: str = FIRED, **changes: Any) -> Envelope:
    channel, recipient = changes.get("channel", "hook"), changes.get("recipient", "")
    values = {
        "id": f"msg_{of}_{type_}_{channel}_{recipient}",
        "transition_id": f"tr_{of}_{type_}",
        "alert_pk": of,
        "channel": channel,
        "recipient": recipient,
        "type": type_,
        "severity": "info",
        "facts": {"used": 10**17, "odd": "\x00 \ud800 ü"},
    }
    return Envelope(**(values | changes))


def put(database: Database, *envelopes: Envelope, now: datetime = START) -> None:
    with database.write() as connection:
        deliveries.put(connection, envelopes, now=now)


def claim(
    database: Database, channel: str = "hook", *, now: datetime = START
) -> ClaimedMessage | None:
    return next(iter(claim_many(database, 1, channel, now=now)), None)


def claim_many(
    database: Database,
    most: int,
    channel: str = "hook",
    *,
    token: str | None = None,
    now: datetime = START,
) -> list[ClaimedMessage]:
    with database.write() as connection:
        return outbox.claim(connection, channel, token=token or new_token(), most=most, now=now)


def take(database: Database, channel: str = "hook", *, now: datetime = START) -> ClaimedMessage:
    claimed = claim(database, channel, now=now)
    assert claimed is not None
    return claimed


def done(database: Database, claimed: ClaimedMessage, *, now: datetime = START) -> bool:
    with database.write() as connection:
        return attempts.mark_done(connection, [claimed], now=now)


def later(
    database: Database,
    claimed: ClaimedMessage,
    *,
    now: datetime = START,
    at: datetime | None = None,
    status: int | None = 503,
) -> bool:
    attempt = Attempt(at=now, error="refused", status=status)
    with database.write() as connection:
        return attempts.mark_retry(connection, claimed, attempt, at=at or now + MINUTE)


def failed(database: Database, claimed: ClaimedMessage, *, now: datetime = START) -> bool:
    attempt = Attempt(at=now, error="gone", status=410)
    with database.write() as connection:
        return attempts.mark_failed(connection, claimed, attempt, reason=DeliveryReason.REFUSED)


def split(database: Database, claimed: ClaimedMessage) -> bool:
    with database.write() as connection:
        attempt = Attempt(at=START, error="no", status=550)
        return attempts.mark_split(connection, claimed, attempt)


def states(database: Database) -> list[tuple[str, str]]:
    with database.read() as connection:
        query = select(delivery.c.type, delivery.c.state).order_by(delivery.c.pk)
        return [tuple(row) for row in connection.execute(query)]


def reasons(database: Database) -> list[str | None]:
    with database.read() as connection:
        return list(connection.scalars(select(delivery.c.reason).order_by(delivery.c.pk)))


def due(database: Database, *channels: str, now: datetime = START) -> set[str]:
    with database.read() as connection:
        return outbox.due_channels(connection, channels, now=now)


def stories_of(message: ClaimedMessage) -> list[int | None]:
    return [row.alert_pk for row in message.rows]
