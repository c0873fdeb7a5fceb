"""Years of data in little space: snapshots thin out with age, old days end."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    select,
    tuple_,
    type_coerce,
)

from quota_watch.model.period import month_of
from quota_watch.storage import forecasts as foresight
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import DeliveryState
from quota_watch.storage.schema import alert, day_usage, delivery, organization, snapshot

ALL_FOR = timedelta(days=7)
HOURLY_FOR = timedelta(days=60)

_FREE_PAGES = 200
_TOLD_AT_A_TIME = 500
_MILLISECONDS = {"hour": 3_600_000, "day": 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long snapshots and days are kept."""

    snapshots: timedelta
    days: timedelta


def thin_out(database: Database, *, keep: Keep, now: datetime) -> int:
    """Thin out and end what is old, an organization at a time; return the rows deleted.

    Each organization is a short transaction of its own, so that no lock is held for long. On
    SQLite some free pages are then given back to the file system. Raises `StorageError`.
    """
    with database.read() as connection:
        pks = list(connection.scalars(select(organization.c.pk)))
    deleted = 0
    for pk in pks:
        with database.write() as connection:
            deleted += thin_out_organization(connection, pk, keep=keep, now=now)
    with database.write() as connection:
        deleted += _end_old_stories(connection, before=now - keep.snapshots)
    if database.is_sqlite and deleted:
        with database.write() as connection:
            _give_back_pages(connection)
    return deleted


def _give_back_pages(connection: Connection) -> None:
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    for _ in range(min(free, _FREE_PAGES)):
        # The driver steps such a statement once, whatever number of pages it asks for.
        connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")


def thin_out_organization(connection: Connection, pk: int, *, keep: Keep, now: datetime) -> int:
    """Keep one organization's snapshots all for 7 days, hourly for 60, then daily, to the end.

    Of each hour and day the last snapshot stays. Returns the rows deleted.
    """
    own = snapshot.c.organization_pk == pk
    ended = delete(snapshot).where(own, snapshot.c.at < now - keep.snapshots)
    rows = connection.execute(ended).rowcount
    rows += _thin(connection, own, "hour", newest=now - ALL_FOR, oldest=now - HOURLY_FOR)
    rows += _thin(connection, own, "day", newest=now - HOURLY_FOR, oldest=now - keep.snapshots)
    old_days = delete(day_usage).where(
        day_usage.c.organization_pk == pk, day_usage.c.date < (now - keep.days).date()
    )
    rows += connection.execute(old_days).rowcount
    period = month_of(now.date())
    oldest = (now - keep.days).date()
    return rows + foresight.thin_out(connection, pk, period=period, oldest=oldest)


def _end_old_stories(connection: Connection, *, before: datetime) -> int:
    """Delete what was told long ago: some deliveries that are over, and stories that have none."""
    over = delivery.c.state != DeliveryState.PENDING
    old = select(delivery.c.pk).where(over, delivery.c.done_at < before).limit(_TOLD_AT_A_TIME)
    rows = connection.execute(delete(delivery).where(delivery.c.pk.in_(old))).rowcount
    told = exists().where(delivery.c.alert_pk == alert.c.pk)
    ended = and_(alert.c.ended_at < before, alert.c.period_start < before.date(), ~told)
    forgotten = select(alert.c.pk).where(ended).limit(_TOLD_AT_A_TIME)
    return rows + connection.execute(delete(alert).where(alert.c.pk.in_(forgotten))).rowcount


def _thin(
    connection: Connection,
    own: ColumnElement[bool],
    unit: str,
    *,
    newest: datetime,
    oldest: datetime,
) -> int:
    """Delete all but the last snapshot of each whole hour or day between the two moments."""
    bucket = _bucket(connection, unit)
    place = func.row_number().over(partition_by=bucket, order_by=snapshot.c.at.desc())
    ranked = (
        select(snapshot.c.organization_pk, snapshot.c.at, place.label("place"))
        .where(own, snapshot.c.at < newest, snapshot.c.at >= oldest)
        .subquery()
    )
    spare = select(ranked.c.organization_pk, ranked.c.at).where(ranked.c.place > 1)
    key = tuple_(snapshot.c.organization_pk, snapshot.c.at)
    return connection.execute(delete(snapshot).where(key.in_(spare))).rowcount


def _bucket(connection: Connection, unit: str) -> ColumnElement[int]:
    if connection.dialect.name == "postgresql":
        return func.date_trunc(unit, snapshot.c.at, "UTC")
    return type_coerce(snapshot.c.at, BigInteger) // _MILLISECONDS[unit]
