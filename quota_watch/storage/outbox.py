"""What goes out together: messages are claimed whole, the most urgent first.

One sender has a channel's messages under way, whoever it is. Which rows go together is decided
once, in the claim that writes one `message_id` into all of them; a retry sends exactly those.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    and_,
    bindparam,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from quota_watch.model.schedule import until_quiet_ends
from quota_watch.model.watch import Severity
from quota_watch.storage.attempts import Attempt, drop_expired, log_with
from quota_watch.storage.claims import LEASE, is_due, is_free
from quota_watch.storage.deliveries import (
    IS_PENDING,
    RESOLVED,
    ROW_IS_URGENT,
    WITHOUT_FACTS,
    ClaimedMessage,
    Delivery,
    DeliveryState,
    as_delivery,
    delivery_id,
    is_loose,
    is_urgent,
)
from quota_watch.storage.schema import delivery

MOST_ROWS = 50
"""How many rows one message may hold."""

_RETRY_HORIZON = timedelta(hours=8)
"""No retry is ever put off for longer; a later time was written before clock jumped back."""
_QUIET_HORIZON = timedelta(hours=26)
"""No quiet time is longer, not even when clocks go back."""


def due_channels(connection: Connection, channels: Collection[str], *, now: datetime) -> set[str]:
    """Return those of the channels that have a message to attempt now, and none in flight."""
    query = select(delivery.c.channel).where(_is_ready(now)).distinct()
    ready = {channel for channel in connection.scalars(query) if channel in channels}
    return ready - in_flight(connection, ready, now=now) if ready else ready


def in_flight(
    connection: Connection, channels: Collection[str], *, now: datetime, but: str = ""
) -> set[str]:
    """Return those of the channels that somebody is sending on, but for who has that token."""
    query = select(delivery.c.channel).where(
        IS_PENDING,
        delivery.c.channel.in_(channels),
        delivery.c.claimed_by != but,
        not_(is_free(delivery.c.claimed_until, now)),
    )
    return set(connection.scalars(query.distinct()))


def claim(
    connection: Connection, channel: str, *, token: str, most: int = 1, now: datetime
) -> list[ClaimedMessage]:
    """Claim up to `most` of the channel's messages that are due, the most urgent first.

    None while another sender, known by its `token`, has any under way. Of a story a receiver gets
    one at a time. Critical ones come first, then the longest due. A row waits for the earlier ones
    of the same story, channel and recipient; a critical one only until those were tried once more,
    for which they don't wait until quiet hours end.
    """
    _take_turns(connection, channel)
    drop_expired(connection, now=now, channel=channel)
    if in_flight(connection, [channel], now=now, but=token):
        return []
    while due := _first_ready(connection, channel, most, now):
        queue = _Queue(_related(connection, channel, due, now))
        whole = list(_locked(connection, list(queue.messages(due)), now))
        going = [rows for each in whole if (rows := _not_quiet(connection, each, queue, now))]
        if going or not whole:
            return _claim_all(connection, going, token, now)
    return []


def _take_turns(connection: Connection, channel: str) -> None:
    """Let other processes wait until this transaction is over, so that one of them claims."""
    if connection.dialect.name == "postgresql":
        lock = func.hashtextextended(f"quota-watch {channel}", 0)
        connection.execute(select(func.pg_advisory_xact_lock(lock)))


def _first_ready(
    connection: Connection, channel: str, most: int, now: datetime
) -> Sequence[Row[Any]]:
    interrupted = case((delivery.c.claimed_by.is_(None), 0), else_=1)
    urgent = case((ROW_IS_URGENT, 0), else_=1)
    query = (
        _rows_of(channel, now)
        .where(_is_ready(now))
        .order_by(urgent, interrupted, delivery.c.next_at, delivery.c.pk)
        .limit(most)
    )
    return connection.execute(query).all()


def _related(
    connection: Connection, channel: str, due: Sequence[Row[Any]], now: datetime
) -> Sequence[Row[Any]]:
    """Return the pending rows that may go with those that are due, or have to go before them.

    What goes before may be of a message that was decided: that one goes whole, so its rows and
    what is under way of their stories belong here too.
    """
    rows = {row.pk: row for row in due}

    def add(which: ColumnElement[bool]) -> None:
        query = _rows_of(channel, now).where(IS_PENDING, which)
        rows.update((row.pk, row) for row in connection.execute(query))

    def decided() -> set[str]:
        return {row.message_id for row in rows.values() if row.message_id is not None}

    def of_their_stories() -> ColumnElement[bool]:
        stories = {row.alert_pk for row in rows.values() if row.alert_pk is not None}
        return delivery.c.alert_pk.in_(stories)

    whole = decided()
    batches = {row.batch for row in due if row.batch is not None and row.message_id is None}
    if whole or batches:
        joining = and_(delivery.c.batch.in_(batches), delivery.c.message_id.is_(None))
        add(or_(delivery.c.message_id.in_(whole), joining))
    add(of_their_stories())
    if parts := decided() - whole:
        add(delivery.c.message_id.in_(parts))
        add(of_their_stories())
    return sorted(rows.values(), key=lambda row: row.pk)


def _rows_of(channel: str, now: datetime) -> Any:
    """Select a channel's rows without their facts, and what they may do now."""
    may_join = and_(is_loose(now), _may_go(now)).label("may_join")
    is_busy = not_(is_free(delivery.c.claimed_until, now))
    return select(*WITHOUT_FACTS, may_join, is_busy.label("is_busy")).where(
        delivery.c.channel == channel
    )


_Story = tuple[int | None, str]


class _Queue:
    """Pending rows of one channel, oldest first: which of them go now, and together."""

    def __init__(self, rows: Iterable[Row[Any]]) -> None:
        self._stories = defaultdict[_Story, list[Row[Any]]](list)
        self._decided = defaultdict[str, list[Row[Any]]](list)
        self._batches = defaultdict[tuple[str, str], list[Row[Any]]](list)
        self._busy = set[_Story]()
        self.pressing = set[int]()
        """The keys of the rows that something critical waits for."""
        for row in rows:
            self._stories[_story(row)].append(row)
            if row.is_busy:
                self._busy.add(_story(row))
            if row.message_id is not None:
                self._decided[row.message_id].append(row)
            elif row.batch is not None and row.may_join:
                self._batches[row.batch, row.recipient].append(row)

    def messages(self, due: Iterable[Row[Any]]) -> Iterator[list[Row[Any]]]:
        """Yield the rows of each message; those of which a story is under way are left out."""
        for row in due:
            overtaken = self._overtaken(row)
            message = self._company(overtaken or row)
            stories = set(map(_story, message))
            if stories & self._busy:
                continue
            self._busy |= stories
            if overtaken is not None:
                self.pressing |= {each.pk for each in message}
            yield message

    def _overtaken(self, first: Row[Any]) -> Row[Any] | None:
        """Return what is to be tried before a critical row: earlier in its story, not since.

        What can go with it in one message need not be.
        """
        can_join = first.batch is not None and first.message_id is None
        for place, row in enumerate(self._earlier(first)):
            if row.type == RESOLVED and place:  # an end overtakes nothing itself
                continue
            apart = row.message_id != first.message_id if row.message_id else not can_join
            tried_at = datetime.fromisoformat(row.log[-1]["at"]) if row.log else None
            if apart and (tried_at is None or tried_at < first.next_at):
                return row
        return None

    def _company(self, first: Row[Any]) -> list[Row[Any]]:
        """Return the rows that go in one message with `first`, itself included."""
        if first.message_id is not None:
            return self._decided[first.message_id]
        if first.batch is None:
            return [first]
        joining = self._batches[first.batch, first.recipient]
        rows = sorted(joining, key=lambda row: not is_urgent(row.severity, row.type))[:MOST_ROWS]
        return self._in_order(rows)[:MOST_ROWS] or [first]

    def _in_order(self, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
        """Return the rows that overtake nothing, with what critical ones take along."""
        by_pk = {row.pk: row for row in rows}
        joining = frozenset(by_pk)
        for row in rows:
            before = [each for each in self._earlier(row) if each.pk not in joining]
            if is_urgent(row.severity, row.type):
                by_pk |= {each.pk: each for each in before if each.message_id is None}
            elif before:
                del by_pk[row.pk]
        return list(by_pk.values())

    def _earlier(self, row: Row[Any]) -> list[Row[Any]]:
        return [each for each in self._stories[_story(row)] if each.pk < row.pk]


def _story(row: Row[Any]) -> _Story:
    """Return what is sent to a recipient in order: a story, or a row that belongs to none."""
    return (None, row.id) if row.alert_pk is None else (row.alert_pk, row.recipient)


def _locked(
    connection: Connection, messages: Sequence[Sequence[Row[Any]]], now: datetime
) -> Iterator[list[Delivery]]:
    """Yield the messages with their whole rows, if nobody else has claimed any of them."""
    pks = [row.pk for message in messages for row in message]
    query = select(delivery).where(delivery.c.pk.in_(pks), is_loose(now)).order_by(delivery.c.pk)
    rows = connection.execute(query.with_for_update(skip_locked=True))
    locked = {row.pk: _taken_up(row) for row in rows}
    for message in messages:
        if all(row.pk in locked for row in message):
            yield [locked[row.pk] for row in message]


def _taken_up(row: Row[Any]) -> Delivery:
    """Read a row to claim it; a claim that ran out is logged as an interrupted attempt."""
    taken_up = as_delivery(row)
    if not row.claimed_by:
        return taken_up
    log = log_with(taken_up.log, Attempt(at=row.claimed_until - LEASE), "interrupted")
    return replace(taken_up, log=tuple(log))


def _not_quiet(
    connection: Connection, rows: list[Delivery], queue: _Queue, now: datetime
) -> list[Delivery]:
    """Return the rows that may disturb now; let the others wait until their quiet hours end.

    With something that may disturb, what was decided to go with it goes too.
    """
    if rows[0].pk in queue.pressing:
        return rows
    until = {row.pk: None if row.is_urgent else until_quiet_ends(row.quiet, now) for row in rows}
    disturbing = [row for row in rows if until[row.pk] is None]
    is_decided = rows[0].message_id is not None or any(row.is_urgent for row in rows)
    if disturbing and is_decided:
        return rows
    for pk, end in until.items():
        if end is not None:
            values = {"not_before": end, "next_at": end}
            connection.execute(update(delivery).where(delivery.c.pk == pk).values(values))
    return disturbing


def _claim_all(
    connection: Connection, messages: Iterable[Sequence[Delivery]], token: str, now: datetime
) -> list[ClaimedMessage]:
    claimed = []
    for message in messages:
        ids = sorted(row.id for row in message)
        id_ = message[0].message_id or (ids[0] if len(ids) == 1 else delivery_id(*ids))
        rows = tuple(sorted(message, key=_rank))
        claimed.append(ClaimedMessage(id=id_, token=token, rows=rows))
    values = [
        {"row": row.pk, "message": message.id, "attempts_so_far": list(row.log)}
        for message in claimed
        for row in message.rows
    ]
    statement = (
        update(delivery)
        .where(delivery.c.pk == bindparam("row"))
        .values(
            claimed_by=token,
            claimed_until=now + LEASE,
            message_id=bindparam("message"),
            log=bindparam("attempts_so_far"),
        )
    )
    if values:
        connection.execute(statement, values)
    return claimed


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
    return and_(is_loose(now), due, _may_go(now), ~_waits_for_its_story(now))


def _waits_for_its_story(now: datetime) -> ColumnElement[bool]:
    """Say that something earlier goes first, or that something else of the story is under way."""
    other = delivery.alias("other")
    goes_first = and_(other.c.pk < delivery.c.pk, not_(ROW_IS_URGENT))
    return exists().where(
        other.c.state == DeliveryState.PENDING,
        other.c.alert_pk == delivery.c.alert_pk,
        other.c.channel == delivery.c.channel,
        other.c.recipient == delivery.c.recipient,
        other.c.pk != delivery.c.pk,
        or_(goes_first, not_(is_free(other.c.claimed_until, now))),
    )
