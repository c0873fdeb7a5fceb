"""The delivery table: what has to reach whom, how it gets there and how it is read."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, exists, func, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from quota_watch.model.schedule import QuietHours
from quota_watch.model.watch import Severity
from quota_watch.storage.claims import EXPIRED, is_free
from quota_watch.storage.database import write_rows
from quota_watch.storage.schema import alert, delivery, organization

RESOLVED = "alert.resolved"
TEST = "test"

FOR_SENDER = "_"
"""The key in the facts of what only the sender has to know."""


class DeliveryState(StrEnum):
    """How far a delivery has come."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"


class DeliveryReason(StrEnum):
    """Why a delivery is where it is, once it is over."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    GAVE_UP = "gave_up"
    NO_CHANNEL = "no_channel"
    SUPERSEDED = "superseded"
    POINTLESS = "pointless"


def is_urgent(severity: str, type: str) -> bool:  # noqa: A002 - the column's name
    """Decide whether a delivery can't wait: it is critical, and not the end of something."""
    return severity == Severity.CRITICAL.label and type != RESOLVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What one recipient of one channel is to get of a transition, with the facts of the moment.

    Rows of one `batch` may go together; without one a row goes alone. Due at `next_at`, or at
    once, never before `not_before`; given up at `expires_at`. `quiet` hours hold it whenever they
    come. `fallback` are the channels that get it if this one fails, `fallback_for` the one that
    failed.
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

    @property
    def is_urgent(self) -> bool:
        """Whether it can't wait."""
        return is_urgent(self.severity, self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Envelope):
    """An envelope as it stands in the table; `facts` without what is for the sender alone."""

    pk: int
    attempts: int
    created_at: datetime
    message_id: str | None
    log: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedMessage:
    """What this process may attempt, as long as its token holds: rows, the most severe first.

    All of them are for one recipient of one channel.
    """

    id: str
    token: str
    rows: tuple[Delivery, ...]

    @property
    def attempts(self) -> int:
        """How often it was attempted before."""
        return max(row.attempts for row in self.rows)

    @property
    def created_at(self) -> datetime:
        """When the oldest of it was decided."""
        return min(row.created_at for row in self.rows)


def delivery_id(*parts: str) -> str:
    """Return an id that is always the same for the same parts.

    Those of a delivery are its transition, channel and recipient; those of a message the ids of the
    deliveries that go in it.
    """
    return f"msg_{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:16]}"


IS_PENDING = delivery.c.state == DeliveryState.PENDING
"""Says that a delivery is not over."""

IS_SENT_OR_PENDING = delivery.c.state.in_([DeliveryState.PENDING, DeliveryState.DONE])
"""Says that a delivery was accepted or may yet be."""

ROW_IS_URGENT = and_(delivery.c.severity == Severity.CRITICAL.label, delivery.c.type != RESOLVED)
"""Says in SQL what `is_urgent` says of a row."""

WITHOUT_FACTS = [column for column in delivery.c if column is not delivery.c.facts]
"""The columns of a delivery but for the facts that it carries, which are long."""


def is_loose(now: datetime) -> ColumnElement[bool]:
    """Say that a delivery is pending and that nobody is attempting it."""
    return and_(IS_PENDING, is_free(delivery.c.claimed_until, now))


def as_delivery(row: Row[Any]) -> Delivery:
    """Read a row of the table."""
    facts = dict(row.facts)
    for_sender = facts.pop(FOR_SENDER, {})
    quiet = for_sender.get("quiet")
    return Delivery(
        pk=row.pk,
        id=row.id,
        transition_id=row.transition_id,
        alert_pk=row.alert_pk,
        channel=row.channel,
        recipient=row.recipient,
        type=row.type,
        severity=row.severity,
        facts=facts,
        batch=row.batch,
        next_at=row.next_at,
        not_before=row.not_before,
        expires_at=row.expires_at,
        quiet=quiet
        and QuietHours(
            start=time.fromisoformat(quiet["from"]),
            end=time.fromisoformat(quiet["to"]),
            time_zone=quiet["time_zone"],
        ),
        fallback=tuple(for_sender.get("fallback", ())),
        fallback_for=row.fallback_for,
        attempts=row.attempts,
        created_at=row.created_at,
        message_id=row.message_id,
        log=tuple(row.log or ()),
    )


def put(connection: Connection, envelopes: Iterable[Envelope], *, now: datetime) -> None:
    """Add deliveries; those already there stay as they are."""
    write_rows(connection, delivery, [_row(envelope, now) for envelope in envelopes])


def _row(envelope: Envelope, now: datetime) -> dict[str, Any]:
    quiet, next_at = envelope.quiet, envelope.next_at or now
    for_sender = {
        "quiet": quiet
        and {
            "from": quiet.start.isoformat(),
            "to": quiet.end.isoformat(),
            "time_zone": quiet.time_zone,
        },
        "fallback": list(envelope.fallback),
    }
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
    """Make what only waits to be batched due; what quiet hours hold stays held."""
    connection.execute(
        update(delivery)
        .where(
            IS_PENDING,
            delivery.c.channel.in_(channels),
            delivery.c.attempts == 0,
            delivery.c.next_at > now,
            or_(delivery.c.not_before.is_(None), delivery.c.not_before <= now),
        )
        .values(next_at=now)
    )


def retry(connection: Connection, ids: Collection[str] | None, *, now: datetime) -> list[str]:
    """Make failed deliveries pending again: those with the ids, or all. Return their ids.

    They are as new, and due whether it is quiet hours or not.
    """
    query = select(delivery.c.id).where(delivery.c.state == DeliveryState.FAILED)
    if ids is not None:
        query = query.where(delivery.c.id.in_(ids))
    ids = list(connection.scalars(query.with_for_update()))
    anew = dict.fromkeys(("done_at", "reason", "message_id", "not_before", "expires_at"))
    connection.execute(
        update(delivery)
        .where(delivery.c.id.in_(ids))
        .values(
            state=DeliveryState.PENDING,
            next_at=now,
            created_at=now,
            named_at=now,
            attempts=0,
            **anew,
        )
    )
    return ids


def receivers_of(
    connection: Connection, alert_pk: int, *, as_fallback: bool = False
) -> set[tuple[str, str]]:
    """Return the channels and recipients that a story has reached or may yet reach.

    With `as_fallback` only those that got it because another channel failed.
    """
    query = select(delivery.c.channel, delivery.c.recipient).where(
        delivery.c.alert_pk == alert_pk, IS_SENT_OR_PENDING
    )
    if as_fallback:
        query = query.where(delivery.c.fallback_for.is_not(None))
    return {(channel, recipient) for channel, recipient in connection.execute(query)}


def ends_of(connection: Connection, fired: Delivery) -> list[Delivery]:
    """Return the deliveries of the end of the same story to the same receiver, if it has ended."""
    same = and_(
        delivery.c.alert_pk == fired.alert_pk,
        delivery.c.channel == fired.channel,
        delivery.c.recipient == fired.recipient,
        delivery.c.type == RESOLVED,
    )
    return [as_delivery(row) for row in connection.execute(select(delivery).where(same))]


def count_pending(connection: Connection, channels: Collection[str] | None = None) -> int:
    """Count the deliveries that are not over, of the channels or of all."""
    query = select(func.count()).select_from(delivery).where(IS_PENDING)
    if channels is not None:
        query = query.where(delivery.c.channel.in_(channels))
    return connection.scalar(query) or 0


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """Count deliveries by channel and state."""
    columns = delivery.c.channel, delivery.c.state
    query = select(*columns, func.count()).group_by(*columns)
    return {(channel, state): n for channel, state, n in connection.execute(query)}


def receivers_of_report(connection: Connection, report: str) -> set[tuple[str, str]]:
    """Return the channels and recipients that a report was sent to or is queued for."""
    query = select(delivery.c.channel, delivery.c.recipient).where(
        delivery.c.transition_id == report
    )
    return {(channel, recipient) for channel, recipient in connection.execute(query)}


def rows(
    connection: Connection, *, state: DeliveryState | None = None, most: int | None = None
) -> list[Row[Any]]:
    """Return deliveries for showing, newest first, without the facts they carry.

    Each with what it is about: the alert's id and steps, and its organization's id. `most` of them
    at most, and only those in `state` if one is given.
    """
    about = (
        alert.c.id.label("alert_id"),
        alert.c.transitions,
        organization.c.id.label("organization_id"),
    )
    query: Select[Any] = (
        select(*WITHOUT_FACTS, *about)
        .outerjoin_from(delivery, alert)
        .outerjoin(organization)
        .order_by(delivery.c.pk.desc())
    )
    if state is not None:
        query = query.where(delivery.c.state == state)
    return list(connection.execute(query.limit(most)))


def untold_on(connection: Connection, channels: Collection[str], *, since: datetime) -> set[str]:
    """Return where critical transitions that were decided before `since` have reached nobody.

    Only of those meant for one of `channels` too; one that failed for good counts while its story
    is open.
    """
    other = delivery.alias("other")
    query = (
        select(delivery.c.transition_id, delivery.c.channel)
        .join(alert)
        .where(
            delivery.c.severity == Severity.CRITICAL.label,
            delivery.c.created_at <= since,
            or_(
                IS_PENDING,
                and_(delivery.c.state == DeliveryState.FAILED, alert.c.ended_at.is_(None)),
            ),
            ~exists().where(
                other.c.transition_id == delivery.c.transition_id,
                other.c.state == DeliveryState.DONE,
            ),
        )
    )
    channels_of = defaultdict[str, set[str]](set)
    for transition_id, channel in connection.execute(query):
        channels_of[transition_id].add(channel)
    return {
        name for names in channels_of.values() if not names.isdisjoint(channels) for name in names
    }


def stuck_channels(connection: Connection, channels: Collection[str], *, now: datetime) -> set[str]:
    """Return those of the channels where an attempt never ended and no other is under way."""
    under_way = delivery.alias("under_way")
    query = (
        select(delivery.c.channel)
        .where(
            IS_PENDING,
            delivery.c.claimed_by.is_not(None),
            delivery.c.claimed_until <= now - EXPIRED,
            ~exists().where(
                under_way.c.state == DeliveryState.PENDING,
                under_way.c.channel == delivery.c.channel,
                under_way.c.claimed_until > now,
            ),
        )
        .distinct()
    )
    return {*channels} & {*connection.scalars(query)}
