"""What came of attempts: kept with each row, and what follows from it for others."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, select, update

from quota_watch.lib.text import iso
from quota_watch.storage.deliveries import (
    RESOLVED,
    ClaimedMessage,
    Delivery,
    DeliveryReason,
    DeliveryState,
    is_heard,
    is_loose,
    is_pending,
)
from quota_watch.storage.schema import delivery

_MOST_ATTEMPTS_KEPT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How an attempt went that was not accepted; `error` is one line without secrets."""

    at: datetime
    error: str
    status: int | None


def mark_done(connection: Connection, messages: Sequence[ClaimedMessage], *, now: datetime) -> bool:
    """Record that the receiver accepted; tell whether the claims still held."""
    entry = {"at": now, "outcome": "accepted"}
    ended = finished(DeliveryState.DONE, DeliveryReason.DELIVERED, now)
    return _finish(connection, messages, entry, last_error=None, last_status=None, **ended)


def mark_retry(
    connection: Connection, message: ClaimedMessage, attempt: Attempt, *, at: datetime
) -> bool:
    """Record a failed attempt and when the next one is due."""
    return _keep(connection, message, attempt, "retry", next_at=at)


def mark_split(connection: Connection, message: ClaimedMessage, attempt: Attempt) -> bool:
    """Record that several were refused together, and let each be tried alone at once.

    So what one of them is refused for does not fail the others.
    """
    alone = {"next_at": attempt.at, "batch": None, "message_id": delivery.c.id}
    return _keep(connection, message, attempt, "split", **alone)


def mark_failed(
    connection: Connection, message: ClaimedMessage, attempt: Attempt, *, reason: DeliveryReason
) -> bool:
    """Record that the rows failed for good; what would only resolve them is dropped."""
    ended = finished(DeliveryState.FAILED, reason, attempt.at)
    held = _keep(connection, message, attempt, reason, **ended)
    if held:
        drop_pointless(connection, message.rows, now=attempt.at)
    return held


def give_back(connection: Connection, messages: Iterable[ClaimedMessage]) -> None:
    """Let go of what was claimed and not attempted."""
    for message in messages:
        pks = [row.pk for row in message.rows]
        ours = and_(delivery.c.pk.in_(pks), delivery.c.claimed_by == message.token)
        connection.execute(update(delivery).where(ours).values(claimed_by=None, claimed_until=None))


def make_due(
    connection: Connection, channel: str, *, now: datetime, but: Collection[str] = ()
) -> None:
    """Let what waits for its next attempt on the channel go now: it has just taken a message.

    But not the messages of these ids. Quiet hours hold what they hold.
    """
    waiting = and_(is_pending(), delivery.c.channel == channel, delivery.c.attempts > 0)
    id_ = func.coalesce(delivery.c.message_id, delivery.c.id)
    connection.execute(
        update(delivery)
        .where(waiting, delivery.c.next_at > now, id_.not_in(but))
        .values(next_at=now)
    )


def drop_expired(connection: Connection, *, now: datetime, channel: str | None = None) -> int:
    """Drop what a later period has overtaken, of the channel or of all; return how many."""
    own = [] if channel is None else [delivery.c.channel == channel]
    ended = finished(DeliveryState.DROPPED, DeliveryReason.SUPERSEDED, now)
    expired = update(delivery).where(is_loose(now), delivery.c.expires_at <= now, *own)
    return connection.execute(expired.values(ended)).rowcount


def drop_pointless(connection: Connection, gone: Iterable[Delivery], *, now: datetime) -> None:
    """Drop the ends of stories that these failed to tell of, where nothing else was told."""
    for row in {(row.alert_pk, row.channel, row.recipient): row for row in gone}.values():
        same = and_(
            delivery.c.alert_pk == row.alert_pk,
            delivery.c.channel == row.channel,
            delivery.c.recipient == row.recipient,
        )
        heard = select(delivery.c.pk).where(same, is_heard(), delivery.c.type != RESOLVED)
        if row.alert_pk is None or connection.scalar(heard.limit(1)) is not None:
            continue
        ended = finished(DeliveryState.DROPPED, DeliveryReason.POINTLESS, now)
        pointless = update(delivery).where(same, is_pending(), delivery.c.type == RESOLVED)
        connection.execute(pointless.values(ended))


def finished(state: DeliveryState, reason: DeliveryReason, now: datetime) -> dict[str, Any]:
    """Return what a row becomes that is over."""
    # `next_at` of what is over tells when, so that the index finds the latest.
    return {"state": state, "reason": reason, "done_at": now, "next_at": now}


def _keep(
    connection: Connection, message: ClaimedMessage, attempt: Attempt, outcome: str, **values: Any
) -> bool:
    entry = {"at": attempt.at, "status": attempt.status, "error": attempt.error}
    seen = {"last_error": attempt.error, "last_status": attempt.status}
    return _finish(connection, [message], entry | {"outcome": outcome}, **seen, **values)


def _finish(
    connection: Connection,
    messages: Sequence[ClaimedMessage],
    entry: dict[str, Any],
    **values: Any,
) -> bool:
    rows = [
        {
            "row": row.pk,
            "token": message.token,
            "attempt": row.attempts + 1,
            "attempts_so_far": log_with(row.log, **entry),
        }
        for message in messages
        for row in message.rows
    ]
    if not rows:
        return True
    own = and_(delivery.c.pk == bindparam("row"), delivery.c.claimed_by == bindparam("token"))
    bound: dict[str, Any] = {"attempts": bindparam("attempt"), "log": bindparam("attempts_so_far")}
    bound |= {"claimed_by": None, "claimed_until": None}
    statement = update(delivery).where(own).values(**bound, **values)
    return connection.execute(statement, rows).rowcount == len(rows)


def log_with(
    log: Sequence[Any],
    *,
    at: datetime,
    outcome: str,
    status: int | None = None,
    error: str | None = None,
) -> list[Any]:
    """Return the attempts with one more; of too many the first and the last are kept."""
    kept = [*log, {"at": iso(at), "status": status, "error": error, "outcome": outcome}]
    return kept if len(kept) <= _MOST_ATTEMPTS_KEPT else [kept[0], *kept[1 - _MOST_ATTEMPTS_KEPT :]]
