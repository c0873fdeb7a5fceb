"""What goes out together: messages are claimed whole, attempted, and what came of it is kept.

A channel has one message in flight, whoever sends it. Which rows go together is decided once, in
the claim that writes one `message_id` into all of them; a retry sends exactly those.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, case, exists, func, not_, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from quota_watch.lib.plain import iso
from quota_watch.model.quiet_hours import until_quiet_ends
from quota_watch.model.rule import Severity
from quota_watch.storage.claims import LEASE, is_due, is_free, new_token
from quota_watch.storage.deliveries import (
    RESOLVED,
    ClaimedMessage,
    Delivery,
    DeliveryReason,
    DeliveryState,
    as_delivery,
    is_heard,
    is_loose,
    is_pending,
    is_urgent,
    message_id,
    row_is_urgent,
)
from quota_watch.storage.schema import delivery

MOST_ROWS = 50
"""How many rows one message may hold."""

_RETRY_HORIZON = timedelta(hours=8)
"""No retry is ever put off for longer; a later time was written before the clock went back."""
_QUIET_HORIZON = timedelta(hours=26)
"""No quiet time is longer, not even when clocks go back."""


def due_channels(connection: Connection, channels: Collection[str], *, now: datetime) -> set[str]:
    """Return those of the channels that have a message to attempt now, and none in flight."""
    query = select(delivery.c.channel).where(_is_ready(now)).distinct()
    ready = {channel for channel in connection.scalars(query) if channel in channels}
    return ready - in_flight(connection, ready, now=now) if ready else ready


def in_flight(connection: Connection, channels: Collection[str], *, now: datetime) -> set[str]:
    """Return those of the channels that somebody is attempting a message on."""
    query = select(delivery.c.channel).where(
        is_pending(),
        delivery.c.channel.in_(channels),
        not_(is_free(delivery.c.claimed_until, now)),
    )
    return set(connection.scalars(query.distinct()))


def claim_next(connection: Connection, channel: str, *, now: datetime) -> ClaimedMessage | None:
    """Claim the channel's most urgent message that is due, or None.

    Critical ones come first, then the longest due. A row waits for the earlier ones of the same
    story, channel and recipient; a critical one only until those were tried once more, for which
    they don't wait until quiet hours end.
    """
    _take_turns(connection, channel)
    drop_expired(connection, now=now, channel=channel)
    if in_flight(connection, [channel], now=now):
        return None
    while (first := _first_ready(connection, channel, now)) is not None:
        if (before := _overtaken(connection, first)) is not None:
            return _claim(connection, _company(connection, before, now), now)
        company = _company(connection, first, now)
        if going := _not_quiet(connection, company, now):
            return _claim(connection, going, now)
    return None


def _take_turns(connection: Connection, channel: str) -> None:
    """Let other processes wait until this transaction is over, so that one of them claims."""
    if connection.dialect.name == "postgresql":
        lock = func.hashtextextended(f"quota-watch {channel}", 0)
        connection.execute(select(func.pg_advisory_xact_lock(lock)))


def _first_ready(connection: Connection, channel: str, now: datetime) -> Row[Any] | None:
    interrupted = case((delivery.c.claimed_by.is_(None), 0), else_=1)
    urgent = case((row_is_urgent(), 0), else_=1)
    query = (
        select(delivery)
        .where(_is_ready(now), delivery.c.channel == channel)
        .order_by(urgent, interrupted, delivery.c.next_at, delivery.c.pk)
        .limit(1)
        .with_for_update(skip_locked=True, of=delivery)
    )
    return connection.execute(query).one_or_none()


def _overtaken(connection: Connection, first: Row[Any]) -> Row[Any] | None:
    """Return what is to be tried before a critical row: earlier in its story, not tried since.

    What can go with it in one message need not be.
    """
    can_join = first.batch is not None and first.message_id is None
    for place, row in enumerate(_earlier_rows(connection, [first])):
        if row.type == RESOLVED and place:  # an end overtakes nothing itself; it is left behind
            continue
        apart = row.message_id != first.message_id if row.message_id else not can_join
        tried_at = datetime.fromisoformat(row.log[-1]["at"]) if row.log else None
        if apart and (tried_at is None or tried_at < first.next_at):
            return row
    return None


def _company(connection: Connection, first: Row[Any], now: datetime) -> list[Row[Any]]:
    """Return the rows that go in one message with `first`, itself included."""
    same = and_(delivery.c.channel == first.channel, delivery.c.recipient == first.recipient)
    if first.message_id is not None:
        together = and_(same, is_pending(), delivery.c.message_id == first.message_id)
        query = select(delivery).where(together).order_by(delivery.c.pk).with_for_update()
        return list(connection.execute(query))
    if first.batch is None:
        return [first]
    urgent = case((row_is_urgent(), 0), else_=1)
    joining = and_(same, delivery.c.batch == first.batch, delivery.c.message_id.is_(None))
    query = (
        select(delivery)
        .where(joining, is_loose(now), _may_go(now))
        .order_by(urgent, delivery.c.pk)
        .limit(MOST_ROWS)
        .with_for_update(skip_locked=True)
    )
    rows = list(connection.execute(query))
    return _in_order(rows, _earlier_rows(connection, rows))[:MOST_ROWS]


def _in_order(rows: Sequence[Row[Any]], earlier: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Return the rows that overtake nothing, with what critical ones take along.

    `earlier` are pending rows that come before some of them in a story.
    """
    chosen = {row.pk: row for row in rows}
    before = [row for row in earlier if row.pk not in chosen]
    for row in rows:
        if not is_urgent(row.severity, row.type):
            if any(each.alert_pk == row.alert_pk and each.pk < row.pk for each in before):
                del chosen[row.pk]
            continue
        for each in before:
            if each.alert_pk == row.alert_pk and each.pk < row.pk and each.message_id is None:
                chosen[each.pk] = each
    return list(chosen.values())


def _earlier_rows(connection: Connection, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Return the pending rows that come before any of these in a story, oldest first."""
    stories = {row.alert_pk for row in rows if row.alert_pk is not None}
    if not stories:
        return []
    query = select(delivery).where(
        is_pending(),
        delivery.c.alert_pk.in_(stories),
        delivery.c.channel == rows[0].channel,
        delivery.c.recipient == rows[0].recipient,
        delivery.c.pk < max(row.pk for row in rows),
    )
    return list(connection.execute(query.order_by(delivery.c.pk)))


def _not_quiet(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> list[Row[Any]]:
    """Return the rows that may disturb now; let the others wait until their quiet hours end.

    With something that may disturb, what was decided to go with it goes too.
    """
    until = {row.pk: _quiet_until(row, now) for row in rows}
    disturbing = [row for row in rows if until[row.pk] is None]
    decided = rows[0].message_id is not None or any(
        is_urgent(row.severity, row.type) for row in rows
    )
    if disturbing and decided:
        return list(rows)
    for row in rows:
        if (end := until[row.pk]) is not None:
            values = {"not_before": end, "next_at": end}
            connection.execute(update(delivery).where(delivery.c.pk == row.pk).values(values))
    return disturbing


def _quiet_until(row: Row[Any], now: datetime) -> datetime | None:
    if is_urgent(row.severity, row.type):
        return None
    return until_quiet_ends(as_delivery(row).quiet, now)


def _claim(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> ClaimedMessage:
    ids = sorted(row.id for row in rows)
    id_ = rows[0].message_id or (ids[0] if len(ids) == 1 else message_id(ids))
    token = new_token()
    claimed = [
        _interrupted(connection, row) if row.claimed_by else as_delivery(row) for row in rows
    ]
    connection.execute(
        update(delivery)
        .where(delivery.c.pk.in_([row.pk for row in rows]))
        .values(claimed_by=token, claimed_until=now + LEASE, message_id=id_)
    )
    return ClaimedMessage(
        id=id_,
        token=token,
        channel=rows[0].channel,
        recipient=rows[0].recipient,
        rows=tuple(sorted(claimed, key=_rank)),
    )


def _interrupted(connection: Connection, row: Row[Any]) -> Delivery:
    """Keep that whoever had claimed the row never said what came of it."""
    log = log_with(row.log or (), at=row.claimed_until - LEASE, outcome="interrupted")
    connection.execute(update(delivery).where(delivery.c.pk == row.pk).values(log=log))
    return replace(as_delivery(row), log=tuple(log))


def _rank(row: Delivery) -> tuple[bool, int, int]:
    return row.type == RESOLVED, -Severity.of(row.severity), row.pk


def _may_go(now: datetime) -> ColumnElement[bool]:
    """Say that no quiet hours hold it, and that its period is not over."""
    return and_(
        or_(
            delivery.c.not_before.is_(None),
            is_due(delivery.c.not_before, now, horizon=_QUIET_HORIZON),
        ),
        or_(delivery.c.expires_at.is_(None), delivery.c.expires_at > now),
    )


def _is_ready(now: datetime) -> ColumnElement[bool]:
    due = is_due(delivery.c.next_at, now, horizon=_RETRY_HORIZON)
    return and_(is_loose(now), due, _may_go(now), or_(row_is_urgent(), ~_earlier_is_pending()))


def _earlier_is_pending() -> ColumnElement[bool]:
    earlier = delivery.alias("earlier")
    return exists().where(
        earlier.c.state == DeliveryState.PENDING,
        earlier.c.alert_pk == delivery.c.alert_pk,
        earlier.c.channel == delivery.c.channel,
        earlier.c.recipient == delivery.c.recipient,
        earlier.c.pk < delivery.c.pk,
    )


_MOST_ATTEMPTS_KEPT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How an attempt went that was not accepted; `error` is one line without secrets."""

    at: datetime
    error: str
    status: int | None


def mark_done(connection: Connection, message: ClaimedMessage, *, now: datetime) -> bool:
    """Record that the receiver accepted; tell whether the claim still held."""
    entry = {"at": now, "outcome": "accepted"}
    ended = finished(DeliveryState.DONE, DeliveryReason.DELIVERED, now)
    return _finish(connection, message, entry, last_error=None, last_status=None, **ended)


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
    return _finish(connection, message, entry | {"outcome": outcome}, **seen, **values)


def _finish(
    connection: Connection, message: ClaimedMessage, entry: dict[str, Any], **values: Any
) -> bool:
    held = 0
    for row in message.rows:
        result = connection.execute(
            update(delivery)
            .where(delivery.c.pk == row.pk, delivery.c.claimed_by == message.token)
            .values(
                attempts=row.attempts + 1,
                claimed_by=None,
                claimed_until=None,
                log=log_with(row.log, **entry),
                **values,
            )
        )
        held += result.rowcount
    return held == len(message.rows)


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
