"""The delivery table: what has to reach whom, and how far that has come."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, case, exists, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from quota_watch.domain.rules import Severity
from quota_watch.storage.claims import LEASE, is_due, is_free, new_token
from quota_watch.storage.database import insert_missing
from quota_watch.storage.schema import delivery

_HORIZON = timedelta(hours=8)
"""No retry is ever put off for longer; a later time was written before the clock went back."""

_RESOLVED = "alert.resolved"


class DeliveryState(StrEnum):
    """How far a delivery has come."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message for one recipient of one channel, with the facts it will always render from."""

    id: str
    transition_id: str
    alert_pk: int | None
    channel: str
    recipient: str
    type: str
    severity: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery this process may attempt, as long as its token holds."""

    pk: int
    token: str
    id: str
    alert_pk: int | None
    channel: str
    recipient: str
    type: str
    facts: Mapping[str, Any]
    attempts: int
    created_at: datetime


def put(connection: Connection, envelopes: Iterable[Envelope], *, now: datetime) -> None:
    """Add deliveries, due at once; those already there stay as they are."""
    rows = [
        {
            "id": envelope.id,
            "transition_id": envelope.transition_id,
            "alert_pk": envelope.alert_pk,
            "channel": envelope.channel,
            "recipient": envelope.recipient,
            "type": envelope.type,
            "severity": envelope.severity,
            "facts": dict(envelope.facts),
            "state": DeliveryState.PENDING,
            "attempts": 0,
            "next_at": now,
            "created_at": now,
        }
        for envelope in envelopes
    ]
    insert_missing(connection, delivery, rows)


def due_channels(connection: Connection, channels: Collection[str], *, now: datetime) -> set[str]:
    """Return those of the channels that have a delivery to attempt now."""
    query = select(delivery.c.channel).where(_is_ready(now), ~_earlier_is_pending()).distinct()
    return {channel for channel in connection.scalars(query) if channel in channels}


def claim_next(connection: Connection, channel: str, *, now: datetime) -> ClaimedDelivery | None:
    """Claim the channel's earliest delivery that is due, or None.

    A delivery waits for the earlier ones of the same story, channel and recipient.
    """
    query = (
        select(delivery)
        .where(_is_ready(now), delivery.c.channel == channel, ~_earlier_is_pending())
        .order_by(_critical_first(), delivery.c.next_at, delivery.c.pk)
        .limit(1)
        .with_for_update(skip_locked=True, of=delivery)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    token = new_token()
    connection.execute(
        update(delivery)
        .where(delivery.c.pk == row.pk)
        .values(claimed_by=token, claimed_until=now + LEASE)
    )
    return ClaimedDelivery(
        pk=row.pk,
        token=token,
        id=row.id,
        alert_pk=row.alert_pk,
        channel=row.channel,
        recipient=row.recipient,
        type=row.type,
        facts=row.facts,
        attempts=row.attempts,
        created_at=row.created_at,
    )


def mark_done(connection: Connection, claimed: ClaimedDelivery, *, now: datetime) -> bool:
    """Record that the receiver accepted; tell whether the claim still held."""
    return _finish(connection, claimed, state=DeliveryState.DONE, done_at=now, last_error=None)


def mark_retry(
    connection: Connection,
    claimed: ClaimedDelivery,
    *,
    at: datetime,
    error: str,
    status: int | None,
) -> bool:
    """Record a failed attempt and when the next one is due."""
    return _finish(connection, claimed, next_at=at, last_error=error, last_status=status)


def mark_failed(
    connection: Connection,
    claimed: ClaimedDelivery,
    *,
    now: datetime,
    error: str,
    status: int | None,
) -> bool:
    """Record that the delivery failed for good; what would only resolve it fails with it."""
    held = _finish(
        connection,
        claimed,
        state=DeliveryState.FAILED,
        done_at=now,
        last_error=error,
        last_status=status,
    )
    if held and claimed.alert_pk is not None:
        _drop_pointless_resolve(connection, claimed, now)
    return held


def _drop_pointless_resolve(
    connection: Connection, claimed: ClaimedDelivery, now: datetime
) -> None:
    same = and_(
        delivery.c.alert_pk == claimed.alert_pk,
        delivery.c.channel == claimed.channel,
        delivery.c.recipient == claimed.recipient,
    )
    reached = select(delivery.c.pk).where(
        same, delivery.c.state != DeliveryState.FAILED, delivery.c.type != _RESOLVED
    )
    if connection.scalar(reached.limit(1)) is None:
        connection.execute(
            update(delivery)
            .where(same, _is_pending(), delivery.c.type == _RESOLVED)
            .values(
                state=DeliveryState.FAILED,
                done_at=now,
                last_error="the alert that this resolves was never delivered here",
            )
        )


def make_due(connection: Connection, channel: str, *, now: datetime) -> None:
    """Let the channel's waiting deliveries be attempted now: it has just taken one."""
    connection.execute(
        update(delivery)
        .where(_is_pending(), delivery.c.channel == channel, delivery.c.next_at > now)
        .values(next_at=now)
    )


def retry(connection: Connection, ids: Collection[str] | None, *, now: datetime) -> list[str]:
    """Make failed deliveries pending again: those with the ids, or all. Return their ids."""
    query = select(delivery.c.id).where(delivery.c.state == DeliveryState.FAILED)
    if ids is not None:
        query = query.where(delivery.c.id.in_(ids))
    found = list(connection.scalars(query.with_for_update()))
    connection.execute(
        update(delivery)
        .where(delivery.c.id.in_(found))
        .values(state=DeliveryState.PENDING, next_at=now, created_at=now, attempts=0, done_at=None)
    )
    return found


def channels_told(connection: Connection, alert_pk: int) -> set[tuple[str, str]]:
    """Return the channels and recipients a story has reached or will yet reach."""
    query = select(delivery.c.channel, delivery.c.recipient).where(
        delivery.c.alert_pk == alert_pk, delivery.c.state != DeliveryState.FAILED
    )
    return {(channel, recipient) for channel, recipient in connection.execute(query)}


def count_pending(connection: Connection, channels: Collection[str] | None = None) -> int:
    """Return how many deliveries wait, of the channels or of all."""
    query = select(func.count()).select_from(delivery).where(_is_pending())
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


def _finish(connection: Connection, claimed: ClaimedDelivery, **values: Any) -> bool:
    result = connection.execute(
        update(delivery)
        .where(delivery.c.pk == claimed.pk, delivery.c.claimed_by == claimed.token)
        .values(attempts=claimed.attempts + 1, claimed_by=None, claimed_until=None, **values)
    )
    return result.rowcount == 1


def _critical_first() -> ColumnElement[int]:
    return case((delivery.c.severity == Severity.CRITICAL.label, 0), else_=1)


def _is_pending() -> ColumnElement[bool]:
    return delivery.c.state == DeliveryState.PENDING


def _is_ready(now: datetime) -> ColumnElement[bool]:
    due = is_due(delivery.c.next_at, now, horizon=_HORIZON)
    return and_(_is_pending(), due, is_free(delivery.c.claimed_until, now))


def _earlier_is_pending() -> ColumnElement[bool]:
    earlier = delivery.alias("earlier")
    return exists().where(
        earlier.c.state == DeliveryState.PENDING,
        earlier.c.alert_pk == delivery.c.alert_pk,
        earlier.c.channel == delivery.c.channel,
        earlier.c.recipient == delivery.c.recipient,
        earlier.c.pk < delivery.c.pk,
    )
