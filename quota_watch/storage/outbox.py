"""The delivery table: what has to reach whom, how it is put there and how it is looked at.

A message is one row, or several of the same channel and recipient that go together: those put
with the same `batch`, as far as they are there when a sender claims the first of them
(`storage.messages`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, or_, select, update

from quota_watch.model.quiet_hours import QuietHours
from quota_watch.storage.database import insert_missing
from quota_watch.storage.deliveries import (
    FOR_SENDER,
    RESOLVED,
    Delivery,
    DeliveryState,
    as_delivery,
    is_heard,
    is_pending,
    quiet_kept,
)
from quota_watch.storage.schema import delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What one recipient of one channel is to hear of a transition, with the facts of the moment.

    Rows of one `batch` may go together; without one a row goes alone. Due at `next_at`, or at
    once, never before `not_before`; given up at `expires_at`. `quiet` hours hold it whenever they
    come. `fallback` are the channels to tell if this one fails, `fallback_for` the one that did.
    """

    id: str
    transition_id: str
    alert_pk: int | None
    channel: str
    recipient: str
    type: str
    severity: str
    facts: Mapping[str, Any]
    batch: str | None = None
    next_at: datetime | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    quiet: QuietHours | None = None
    fallback: tuple[str, ...] = ()
    fallback_for: str | None = None


def put(connection: Connection, envelopes: Iterable[Envelope], *, now: datetime) -> None:
    """Add deliveries; those already there stay as they are."""
    insert_missing(connection, delivery, [_row(envelope, now) for envelope in envelopes])


def _row(envelope: Envelope, now: datetime) -> dict[str, Any]:
    for_sender = {"quiet": quiet_kept(envelope.quiet), "fallback": list(envelope.fallback)}
    next_at = envelope.next_at or now
    return {
        "id": envelope.id,
        "transition_id": envelope.transition_id,
        "alert_pk": envelope.alert_pk,
        "channel": envelope.channel,
        "recipient": envelope.recipient,
        "type": envelope.type,
        "severity": envelope.severity,
        "facts": {**envelope.facts, FOR_SENDER: for_sender},
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "next_at": max(next_at, envelope.not_before or next_at),
        "created_at": now,
        "named_at": now,
        "batch": envelope.batch,
        "not_before": envelope.not_before,
        "expires_at": envelope.expires_at,
        "fallback_for": envelope.fallback_for,
    }


def hasten(connection: Connection, channels: Collection[str], *, now: datetime) -> None:
    """Let what only waits for company go now; quiet hours still hold what they hold."""
    connection.execute(
        update(delivery)
        .where(
            is_pending(),
            delivery.c.channel.in_(channels),
            delivery.c.attempts == 0,
            delivery.c.next_at > now,
            or_(delivery.c.not_before.is_(None), delivery.c.not_before <= now),
        )
        .values(next_at=now)
    )


def retry(connection: Connection, ids: Collection[str] | None, *, now: datetime) -> list[str]:
    """Make failed deliveries pending again: those with the ids, or all. Return their ids.

    They are as new: whoever asks for it wants them sent, quiet hours or not.
    """
    query = select(delivery.c.id).where(delivery.c.state == DeliveryState.FAILED)
    if ids is not None:
        query = query.where(delivery.c.id.in_(ids))
    found = list(connection.scalars(query.with_for_update()))
    anew = dict.fromkeys(("done_at", "reason", "message_id", "not_before", "expires_at"))
    connection.execute(
        update(delivery)
        .where(delivery.c.id.in_(found))
        .values(
            state=DeliveryState.PENDING,
            next_at=now,
            created_at=now,
            named_at=now,
            attempts=0,
            **anew,
        )
    )
    return found


def channels_told(
    connection: Connection, alert_pk: int, *, as_fallback: bool = False
) -> set[tuple[str, str]]:
    """Return the channels and recipients a story has reached or will yet reach.

    With `as_fallback` only those that heard of it because another channel failed.
    """
    query = select(delivery.c.channel, delivery.c.recipient).where(
        delivery.c.alert_pk == alert_pk, is_heard()
    )
    if as_fallback:
        query = query.where(delivery.c.fallback_for.is_not(None))
    return {(channel, recipient) for channel, recipient in connection.execute(query)}


def ends_of(connection: Connection, told: Delivery) -> list[Delivery]:
    """Return what its receiver was or is to hear of the end of the same story, if it has ended."""
    same = and_(
        delivery.c.alert_pk == told.alert_pk,
        delivery.c.channel == told.channel,
        delivery.c.recipient == told.recipient,
        delivery.c.type == RESOLVED,
    )
    return [as_delivery(row) for row in connection.execute(select(delivery).where(same))]


def count_pending(connection: Connection, channels: Collection[str] | None = None) -> int:
    """Return how many deliveries wait, of the channels or of all."""
    query = select(func.count()).select_from(delivery).where(is_pending())
    if channels is not None:
        query = query.where(delivery.c.channel.in_(channels))
    return connection.scalar(query) or 0


def rows(
    connection: Connection,
    *,
    only_failed: bool,
    state: DeliveryState | None = None,
    most: int | None = None,
) -> list[Row[Any]]:
    """Return deliveries for showing, newest first, without the facts they carry.

    `most` of them at most, and only those in `state` if one is given.
    """
    shown = [column for column in delivery.c if column is not delivery.c.facts]
    query: Select[Any] = select(*shown).order_by(delivery.c.pk.desc())
    wanted = DeliveryState.FAILED if only_failed else state
    if wanted is not None:
        query = query.where(delivery.c.state == wanted)
    return list(connection.execute(query.limit(most)))
