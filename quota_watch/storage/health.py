"""What the database tells of how well the watch works, and whether it can be relied on."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, exists, func, or_, select, text

from quota_watch.model.watch import Severity
from quota_watch.storage import migrate
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import (
    TEST,
    DeliveryReason,
    DeliveryState,
    is_pending,
    is_urgent,
)
from quota_watch.storage.errors import DatabaseLost, StorageError
from quota_watch.storage.retention import URGENT_PATIENCE, first_attempt
from quota_watch.storage.schema import HEAD, alert, among, delivery, organization

_EXPIRED = timedelta(seconds=60)
"""What was claimed and whose claim ran out so long ago is not being done by anyone."""

_PROBES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A critical transition that reached nobody, and the channels it should have gone out on."""

    transition_id: str
    channels: tuple[str, ...]


def require_unchanged(database: Database) -> None:
    """Raise `DatabaseLost` where the database is no longer of the schema that `run` began with."""
    revision = migrate.current(database)
    if revision == HEAD:
        return
    if revision is None:
        raise DatabaseLost(f"database {database.label}: its tables are gone")
    try:
        migrate.require_current(database)
    except StorageError as error:
        raise DatabaseLost(str(error)) from None


def prove_write(database: Database) -> None:
    """Write something that nobody reads; raises `StorageError` where that can't be done.

    Nothing less than a change of a page shows that the disk is full, or may only be read.
    """
    with database.write() as connection:
        if database.is_sqlite:
            number = connection.scalar(text("PRAGMA user_version")) or 0
            connection.exec_driver_sql(f"PRAGMA user_version = {(number + 1) % _PROBES}")
        else:
            connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


def last_good_polls(connection: Connection, *, since: datetime) -> dict[int, datetime]:
    """Return when each organization that was polled well since then was so last, by key."""
    columns = organization.c
    query = select(columns.pk, columns.last_ok).where(columns.last_ok >= since)
    return {row.pk: row.last_ok for row in connection.execute(query)}


def last_poll(connection: Connection, pks: Collection[int]) -> datetime | None:
    """Return when one of the organizations was polled last, well or not."""
    columns = organization.c
    query = select(func.max(columns.last_poll)).where(among(columns.pk, pks))
    at: datetime | None = connection.scalar(query)
    return at


def untold(connection: Connection, channels: Collection[str], *, since: datetime) -> list[Untold]:
    """Return the critical transitions that were decided before `since` and have reached nobody.

    Only those meant for one of `channels`; one that failed for good counts while its story goes on.
    """
    told = delivery.alias("told")
    row = delivery.c
    query = (
        select(row.transition_id, row.channel)
        .join(alert, alert.c.pk == row.alert_pk)
        .where(
            row.severity == Severity.CRITICAL.label,
            row.created_at <= since,
            or_(
                row.state == DeliveryState.PENDING,
                and_(row.state == DeliveryState.FAILED, alert.c.ended_at.is_(None)),
            ),
            ~exists().where(
                told.c.transition_id == row.transition_id, told.c.state == DeliveryState.DONE
            ),
        )
        .order_by(row.pk)
    )
    found: dict[str, set[str]] = {}
    for transition_id, channel in connection.execute(query):
        found.setdefault(transition_id, set()).add(channel)
    return [
        Untold(transition_id=id_, channels=tuple(sorted(names)))
        for id_, names in found.items()
        if names & {*channels}
    ]


def stuck_polls(connection: Connection, pks: Collection[int], *, now: datetime) -> bool:
    """Tell whether a due poll was claimed and neither ended nor taken over since."""
    columns = organization.c
    query = select(columns.pk).where(
        columns.claimed_by.is_not(None),
        columns.claimed_until <= now - _EXPIRED,
        columns.next_at <= now - _EXPIRED,
    )
    return not {*pks}.isdisjoint(connection.scalars(query))


def stuck_channels(connection: Connection, channels: Collection[str], *, now: datetime) -> set[str]:
    """Return those of the channels where an attempt began, never ended, and no other goes on."""
    under_way = delivery.alias("under_way")
    query = (
        select(delivery.c.channel)
        .where(
            delivery.c.state == DeliveryState.PENDING,
            delivery.c.claimed_by.is_not(None),
            delivery.c.claimed_until <= now - _EXPIRED,
            ~exists().where(
                under_way.c.state == DeliveryState.PENDING,
                under_way.c.channel == delivery.c.channel,
                under_way.c.claimed_until > now,
            ),
        )
        .distinct()
    )
    return {*channels} & {*connection.scalars(query)}


def clock_of(connection: Connection) -> datetime | None:
    """Return the time that the database's server has; None where there is no server."""
    if connection.dialect.name == "sqlite":
        return None
    return connection.scalar(select(func.clock_timestamp()))


PATIENCE = timedelta(hours=1)
"""How long anything else may fail before its channel counts as failing."""


_NOTED_FOR = timedelta(minutes=10)


_LONGEST_AGO = timedelta(days=7)


_MOST_LOOKED_AT = 200


_FAILURES = (DeliveryReason.REFUSED, DeliveryReason.GAVE_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingChannel:
    """A channel that keeps failing: since when, in how many attempts, and its last words."""

    name: str
    since: datetime
    attempts: int
    last_error: str


def _last_attempt(row: Row[Any], now: datetime) -> datetime:
    return datetime.fromisoformat(row.log[-1]["at"]) if row.log else now


def failing_channels(
    connection: Connection, channels: Collection[str], *, now: datetime
) -> list[FailingChannel]:
    """Return those of the channels that keep failing, by name; a test's failure does not count.

    One fails where a critical delivery has failed for 10 minutes or another one for an hour, or
    where one has failed for good and nothing has reached that recipient since. A failure for good
    counts for 10 minutes at least.
    """
    found: dict[str, list[Row[Any]]] = {}
    for row in (*_retried(connection, channels, now), *_failed(connection, channels, now)):
        found.setdefault(row.channel, []).append(row)
    return [_failing(name, found[name], now) for name in sorted(found)]


def _retried(
    connection: Connection, channels: Collection[str], now: datetime
) -> Iterable[Row[Any]]:
    query = _shown(channels).where(is_pending(), delivery.c.attempts > 0)
    for row in connection.execute(query):
        patience = URGENT_PATIENCE if is_urgent(row.severity, row.type) else PATIENCE
        if now - first_attempt(row.log or (), now) >= patience:
            yield row


def _failed(connection: Connection, channels: Collection[str], now: datetime) -> Iterable[Row[Any]]:
    query = _shown(channels).where(
        delivery.c.state == DeliveryState.FAILED,
        delivery.c.next_at > now - _LONGEST_AGO,
        delivery.c.reason.in_(_FAILURES),
    )
    latest = query.order_by(delivery.c.next_at.desc()).limit(_MOST_LOOKED_AT)
    reached: dict[tuple[str, str], datetime | None] = {}
    for row in connection.execute(latest).all():
        receiver = (row.channel, row.recipient)
        if receiver not in reached:
            reached[receiver] = _last_reached(connection, *receiver)
        at = reached[receiver]
        if at is None or row.next_at > min(at, now - _NOTED_FOR):
            yield row


def _last_reached(connection: Connection, channel: str, recipient: str) -> datetime | None:
    """Return when something last reached the recipient, if ever."""
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
    reached: datetime | None = connection.scalar(query)
    return reached


def _shown(channels: Collection[str]) -> Select[Any]:
    shown = [column for column in delivery.c if column is not delivery.c.facts]
    return select(*shown).where(delivery.c.channel.in_(channels), delivery.c.type != TEST)


def _failing(name: str, rows: Sequence[Row[Any]], now: datetime) -> FailingChannel:
    latest = max(rows, key=lambda row: _last_attempt(row, now))
    return FailingChannel(
        name=name,
        since=min(first_attempt(row.log or (), now) for row in rows),
        attempts=sum(row.attempts for row in rows),
        last_error=latest.last_error or "it never answered",
    )
