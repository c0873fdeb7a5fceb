"""What the database tells of how well the watch works, and whether it can be relied on."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, exists, func, or_, select, text

from quota_watch.model.rule import Severity
from quota_watch.storage import migrate
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.storage.errors import DatabaseLost, StorageError
from quota_watch.storage.schema import HEAD, alert, delivery, organization

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
