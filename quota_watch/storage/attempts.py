"""Outcomes of attempts: recorded with each row, and what follows for others and for the channel."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from quota_watch.lib.text import iso
from quota_watch.storage.deliveries import (
    IS_PENDING,
    RESOLVED,
    ROW_IS_URGENT,
    TEST,
    WITHOUT_FACTS,
    ClaimedMessage,
    Delivery,
    DeliveryReason,
    DeliveryState,
    as_delivery,
    is_loose,
    is_urgent,
)
from quota_watch.storage.schema import delivery

_URGENT_PATIENCE = timedelta(minutes=10)
"""How long a critical delivery may fail before the fallback channels get it too."""

_PATIENCE = timedelta(hours=1)
"""How long anything else may fail before its channel counts as failing."""

_FAILURES = (DeliveryReason.REFUSED, DeliveryReason.GAVE_UP)
_NOTED_FOR = timedelta(minutes=10)
_LONGEST_AGO = timedelta(days=7)
_MOST_LOOKED_AT = 200
_NEVER = datetime.min.replace(tzinfo=UTC)

_UNNAMED = timedelta(hours=24)
_NAMED_AGAIN = timedelta(hours=1)
_SKEW = timedelta(seconds=60)
"""How far two clocks may be apart, or one may go back, without anything waiting for long."""

_LONGEST_LOG = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How an attempt went; `error` is one line without secrets, None where it was accepted."""

    at: datetime
    error: str | None = None
    status: int | None = None


def mark_done(connection: Connection, messages: Sequence[ClaimedMessage], *, now: datetime) -> bool:
    """Record that the receiver accepted them; False where a claim no longer held."""
    ended = finished(DeliveryState.DONE, DeliveryReason.DELIVERED, now)
    return _record(connection, messages, Attempt(at=now), "accepted", **ended)


def mark_retry(
    connection: Connection, message: ClaimedMessage, attempt: Attempt, *, at: datetime
) -> bool:
    """Record a failed attempt and when the next one is due."""
    return _record(connection, [message], attempt, "retry", next_at=at)


def mark_split(connection: Connection, message: ClaimedMessage, attempt: Attempt) -> bool:
    """Record that several were refused together, and make each due alone.

    So the fault of one of them does not fail the others.
    """
    alone = {"next_at": attempt.at, "batch": None, "message_id": delivery.c.id}
    return _record(connection, [message], attempt, "split", **alone)


def mark_failed(
    connection: Connection, message: ClaimedMessage, attempt: Attempt, *, reason: DeliveryReason
) -> bool:
    """Record that the rows failed for good, and drop what would only resolve them."""
    ended = finished(DeliveryState.FAILED, reason, attempt.at)
    is_ours = _record(connection, [message], attempt, reason, **ended)
    if is_ours:
        drop_pointless(connection, message.rows, now=attempt.at)
    return is_ours


def finished(state: DeliveryState, reason: DeliveryReason, now: datetime) -> dict[str, Any]:
    """Return the columns of a delivery that is over."""
    # Its `next_at` is when that was, so that the index finds the latest.
    return {"state": state, "reason": reason, "done_at": now, "next_at": now}


def _record(
    connection: Connection,
    messages: Sequence[ClaimedMessage],
    attempt: Attempt,
    outcome: str,
    **columns: Any,
) -> bool:
    """Log an attempt of each row and end its claim; False where a claim no longer held."""
    rows = [
        {
            "row": row.pk,
            "token": message.token,
            "attempt": row.attempts + 1,
            "attempts_so_far": log_with(row.log, attempt, outcome),
        }
        for message in messages
        for row in message.rows
    ]
    if not rows:
        return True
    own = and_(delivery.c.pk == bindparam("row"), delivery.c.claimed_by == bindparam("token"))
    statement = (
        update(delivery)
        .where(own)
        .values(
            attempts=bindparam("attempt"),
            log=bindparam("attempts_so_far"),
            claimed_by=None,
            claimed_until=None,
            last_error=attempt.error,
            last_status=attempt.status,
            **columns,
        )
    )
    return connection.execute(statement, rows).rowcount == len(rows)


def log_with(log: Sequence[Any], attempt: Attempt, outcome: str) -> list[Any]:
    """Return the log with one more attempt; of too many the first and the last ones."""
    at, status, error = iso(attempt.at), attempt.status, attempt.error
    log = [*log, {"at": at, "status": status, "error": error, "outcome": outcome}]
    return log if len(log) <= _LONGEST_LOG else [log[0], *log[1 - _LONGEST_LOG :]]


def give_back(connection: Connection, messages: Iterable[ClaimedMessage]) -> None:
    """Release what was claimed and not attempted."""
    for message in messages:
        pks = [row.pk for row in message.rows]
        ours = and_(delivery.c.pk.in_(pks), delivery.c.claimed_by == message.token)
        connection.execute(update(delivery).where(ours).values(claimed_by=None, claimed_until=None))


def make_due(
    connection: Connection, channel: str, *, now: datetime, but: Collection[str] = ()
) -> None:
    """Make what waits for its next attempt on the channel due: it has just taken a message.

    All but the messages of these ids. What quiet hours hold stays held.
    """
    waiting = and_(IS_PENDING, delivery.c.channel == channel, delivery.c.attempts > 0)
    id_ = func.coalesce(delivery.c.message_id, delivery.c.id)
    connection.execute(
        update(delivery)
        .where(waiting, delivery.c.next_at > now, id_.not_in(but))
        .values(next_at=now)
    )


def drop_expired(connection: Connection, *, now: datetime, channel: str | None = None) -> int:
    """Drop deliveries of a period that is over, of the channel or of all; return how many."""
    own = [] if channel is None else [delivery.c.channel == channel]
    ended = finished(DeliveryState.DROPPED, DeliveryReason.SUPERSEDED, now)
    expired = update(delivery).where(is_loose(now), delivery.c.expires_at <= now, *own)
    return connection.execute(expired.values(ended)).rowcount


def drop_pointless(
    connection: Connection, undelivered: Iterable[Delivery], *, now: datetime
) -> None:
    """Drop the ends of these stories where their receiver got nothing else of them."""
    receivers = dict.fromkeys((row.alert_pk, row.channel, row.recipient) for row in undelivered)
    ended = finished(DeliveryState.DROPPED, DeliveryReason.POINTLESS, now)
    other = delivery.alias("other")
    for alert_pk, channel, recipient in receivers:
        got_other = exists().where(
            other.c.alert_pk == alert_pk,
            other.c.channel == channel,
            other.c.recipient == recipient,
            other.c.type != RESOLVED,
            other.c.state.in_([DeliveryState.PENDING, DeliveryState.DONE]),
        )
        pointless = update(delivery).where(
            delivery.c.alert_pk == alert_pk,
            delivery.c.alert_pk.is_not(None),
            delivery.c.channel == channel,
            delivery.c.recipient == recipient,
            delivery.c.type == RESOLVED,
            IS_PENDING,
            ~got_other,
        )
        connection.execute(pointless.values(ended))


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingChannel:
    """A channel that keeps failing: since when, in how many attempts, and the last error."""

    name: str
    since: datetime
    attempts: int
    last_error: str


def failing_channels(
    connection: Connection, channels: Collection[str], *, now: datetime
) -> list[FailingChannel]:
    """Find the channels that keep failing, in the order of their names; tests don't count.

    A channel keeps failing where a critical delivery has failed for 10 minutes or another one for
    an hour, or where one has failed for good and nothing has reached that recipient since. A
    failure for good counts for 10 minutes at least.
    """
    by_name = defaultdict[str, list[Row[Any]]](list)
    for row in (*_retried(connection, channels, now), *_failed(connection, channels, now)):
        by_name[row.channel].append(row)
    return [_failing(name, by_name[name], now) for name in sorted(by_name)]


def _retried(
    connection: Connection, channels: Collection[str], now: datetime
) -> Iterable[Row[Any]]:
    query = _shown(channels).where(IS_PENDING, delivery.c.attempts > 0)
    for row in connection.execute(query):
        patience = _URGENT_PATIENCE if is_urgent(row.severity, row.type) else _PATIENCE
        if now - first_attempt(row.log or (), now) >= patience:
            yield row


def _failed(connection: Connection, channels: Collection[str], now: datetime) -> list[Row[Any]]:
    query = _shown(channels).where(
        delivery.c.state == DeliveryState.FAILED,
        delivery.c.next_at > now - _LONGEST_AGO,
        delivery.c.reason.in_(_FAILURES),
    )
    latest = query.order_by(delivery.c.next_at.desc()).limit(_MOST_LOOKED_AT)
    rows = connection.execute(latest).all()
    receivers = {(row.channel, row.recipient) for row in rows}
    reached = {receiver: _last_reached(connection, *receiver) for receiver in receivers}
    return [
        row
        for row in rows
        if row.next_at > min(reached[row.channel, row.recipient], now - _NOTED_FOR)
    ]


def _last_reached(connection: Connection, channel: str, recipient: str) -> datetime:
    """Return when something last reached the recipient; long ago if nothing ever did."""
    query = (
        select(delivery.c.next_at)
        .where(
            delivery.c.state == DeliveryState.DONE,
            delivery.c.channel == channel,
            delivery.c.recipient == recipient,
        )
        .order_by(delivery.c.next_at.desc())
        .limit(1)
    )
    return connection.scalar(query) or _NEVER


def _shown(channels: Collection[str]) -> Select[Any]:
    return select(*WITHOUT_FACTS).where(delivery.c.channel.in_(channels), delivery.c.type != TEST)


def _failing(name: str, rows: Sequence[Row[Any]], now: datetime) -> FailingChannel:
    last = [datetime.fromisoformat(row.log[-1]["at"]) if row.log else now for row in rows]
    latest = rows[last.index(max(last))]
    return FailingChannel(
        name=name,
        since=min(first_attempt(row.log or (), now) for row in rows),
        attempts=sum(row.attempts for row in rows),
        last_error=latest.last_error or "it never answered",
    )


def settle(connection: Connection, channels: Collection[str], *, now: datetime) -> list[Delivery]:
    """Give up what has become pointless; return what fallback channels are to get.

    That is what is critical and has failed for 10 minutes on one of our `channels`, and what no
    running config has had a channel for in 24 hours. It is returned whether they got it already
    or not: enqueued again it stays one.
    """
    _name(connection, channels, now)
    _catch_up(connection, now)
    drop_expired(connection, now=now)
    return _fail_unnamed(connection, channels, now) + _overdue(connection, channels, now)


def _name(connection: Connection, channels: Collection[str], now: datetime) -> None:
    """Record, once an hour, that a running config names the channels of what waits."""
    at = delivery.c.named_at
    old = or_(at.is_(None), at <= now - _NAMED_AGAIN, at > now + _NAMED_AGAIN)
    statement = update(delivery).where(is_loose(now), delivery.c.channel.in_(channels), old)
    connection.execute(statement.values(named_at=now))


def _catch_up(connection: Connection, now: datetime) -> None:
    """Make due what waits for a time that was computed before the clock jumped back."""
    query = select(delivery.c.pk, delivery.c.created_at, delivery.c.log).where(
        is_loose(now), delivery.c.next_at > now + _SKEW
    )
    for row in connection.execute(query).all():
        last = datetime.fromisoformat(row.log[-1]["at"]) if row.log else row.created_at
        if last > now + _SKEW:
            anew = {"next_at": now, "not_before": None}  # quiet hours are looked up at its turn
            connection.execute(update(delivery).where(delivery.c.pk == row.pk).values(anew))


def _fail_unnamed(
    connection: Connection, channels: Collection[str], now: datetime
) -> list[Delivery]:
    last = func.coalesce(delivery.c.named_at, delivery.c.created_at)
    query = select(delivery).where(
        is_loose(now), delivery.c.channel.not_in(channels), last <= now - _UNNAMED
    )
    rows = connection.execute(query.with_for_update(skip_locked=True)).all()
    if not rows:
        return []
    over = finished(DeliveryState.FAILED, DeliveryReason.NO_CHANNEL, now)
    these = delivery.c.pk.in_([row.pk for row in rows])
    connection.execute(update(delivery).where(these).values(over))
    undelivered = [as_delivery(row) for row in rows]
    drop_pointless(connection, undelivered, now=now)
    return undelivered


def _overdue(connection: Connection, channels: Collection[str], now: datetime) -> list[Delivery]:
    """Return what is critical and late, tried or not: a slow channel may not get to all in time.

    What was never tried counts only where something tried is as late: else no process was running.
    """
    query = select(delivery).where(
        IS_PENDING,
        ROW_IS_URGENT,
        delivery.c.channel.in_(channels),
        delivery.c.fallback_for.is_(None),
    )
    waiting = [as_delivery(row) for row in connection.execute(query)]
    late = [
        each
        for each in waiting
        if now - (first_attempt(each.log, now) if each.attempts else each.created_at)
        >= _URGENT_PATIENCE
    ]
    stuck = {each.channel for each in late if each.attempts}
    return [each for each in late if each.channel in stuck]


def first_attempt(log: Sequence[Any], now: datetime) -> datetime:
    """Return when a delivery was first attempted, `now` at the latest."""
    return min(datetime.fromisoformat(log[0]["at"]), now) if log else now
