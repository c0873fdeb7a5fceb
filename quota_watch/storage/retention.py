"""What time ends: snapshots thin out, old days go, deliveries are given up or told elsewhere."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    type_coerce,
    update,
)

from quota_watch.model.period import month_of
from quota_watch.storage import forecasts
from quota_watch.storage.attempts import drop_expired, drop_pointless, finished
from quota_watch.storage.database import Database
from quota_watch.storage.deliveries import (
    Delivery,
    DeliveryReason,
    DeliveryState,
    as_delivery,
    is_loose,
    is_pending,
    row_is_urgent,
)
from quota_watch.storage.schema import alert, day_usage, delivery, organization, snapshot

ALL_FOR = timedelta(days=7)
HOURLY_FOR = timedelta(days=60)

_FREE_PAGES = 200
_VOUCHING_DAYS = 3
_VOUCHING_ORGANIZATIONS = 10
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=10_000)  # any `keep` may be taken off
_TOLD_AT_A_TIME = 500
_MILLISECONDS = {"hour": 3_600_000, "day": 86_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long snapshots and days are kept."""

    snapshots: timedelta
    days: timedelta


def thin_out(
    database: Database,
    *,
    keep: Keep,
    now: datetime,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Thin out and end what is old, an organization at a time; return the rows deleted.

    Each organization has its turn once a day, whoever asks how often, in a short transaction of
    its own, so that no lock is held for long; where `stopped` says so the rest is left for the next
    time. What is old is judged by a time that several days' polls vouch for, since one wrong
    reading of the clock must not delete for good. On SQLite some free pages are then given back to
    the file system. Raises `StorageError`.
    """
    columns, today = organization.c, now.date()
    due = or_(columns.thinned_on.is_(None), columns.thinned_on != today)
    with database.read() as connection:
        pks = list(connection.scalars(select(columns.pk).where(due).order_by(columns.pk)))
        now = _vouched_for(connection, now)
    deleted = 0
    for pk in pks:
        if stopped():
            return deleted
        with database.write() as connection:
            deleted += thin_out_organization(connection, pk, keep=keep, now=now)
            done = update(organization).where(columns.pk == pk).values(thinned_on=today)
            connection.execute(done)
    if not pks:
        return 0
    with database.write() as connection:
        deleted += _end_old_stories(connection, before=now - keep.snapshots)
    if database.is_sqlite and deleted:
        with database.write() as connection:
            _give_back_pages(connection)
    return deleted


def _vouched_for(connection: Connection, now: datetime) -> datetime:
    """Return the latest time up to `now` that polls on several days vouch for.

    A clock that was ahead for a day or two has left polls of that many days only. What is asked
    are the organizations that were polled last; where none was polled often, it is long ago.
    """
    columns = organization.c
    polled_last = (
        select(columns.pk).where(columns.last_ok.is_not(None)).order_by(columns.last_ok.desc())
    )
    pks = connection.scalars(polled_last.limit(_VOUCHING_ORGANIZATIONS)).all()
    vouched = max((_last_days_begin(connection, pk, now) for pk in pks), default=_LONG_AGO)
    return min(now, vouched + timedelta(days=_VOUCHING_DAYS))


def _last_days_begin(connection: Connection, pk: int, now: datetime) -> datetime:
    """Return when the earliest of the last few days up to `now` with a snapshot began."""
    columns, begins = snapshot.c, now + timedelta(milliseconds=1)
    for _ in range(_VOUCHING_DAYS):
        earlier = select(func.max(columns.at)).where(
            columns.organization_pk == pk, columns.at < begins
        )
        newest = connection.scalar(earlier)
        if newest is None:
            return _LONG_AGO
        begins = datetime.combine(newest.date(), time.min, UTC)
    return begins


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
    return rows + forecasts.thin_out(connection, pk, period=period, oldest=oldest)


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


URGENT_PATIENCE = timedelta(minutes=10)
"""How long what is critical may fail before it is told elsewhere too."""


_UNNAMED = timedelta(hours=24)
_NAMED_AGAIN = timedelta(hours=1)
_SKEW = timedelta(seconds=60)
"""How far two clocks may be apart, or one may go back, without anything waiting for long."""


def settle(connection: Connection, channels: Collection[str], *, now: datetime) -> list[Delivery]:
    """Give up what has become pointless; return what the `channels` that we have fail to tell.

    That is what is critical and has failed for 10 minutes, and what no running config has had a
    channel for in 24 hours. Told elsewhere already or not: telling it twice does nothing.
    """
    _name(connection, channels, now)
    _catch_up(connection, now)
    drop_expired(connection, now=now)
    unnamed = _fail_unnamed(connection, channels, now)
    return unnamed + _overdue(connection, channels, now)


def _name(connection: Connection, channels: Collection[str], now: datetime) -> None:
    """Keep that a running config names these channels; hourly, for what waits for them."""
    at = delivery.c.named_at
    old = or_(at.is_(None), at <= now - _NAMED_AGAIN, at > now + _NAMED_AGAIN)
    named = update(delivery).where(is_loose(now), delivery.c.channel.in_(channels), old)
    connection.execute(named.values(named_at=now))


def _catch_up(connection: Connection, now: datetime) -> None:
    """Let go what waits for a time that was reckoned before clock jumped back."""
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
    chosen = delivery.c.pk.in_([row.pk for row in rows])
    connection.execute(update(delivery).where(chosen).values(over))
    gone = [as_delivery(row) for row in rows]
    drop_pointless(connection, gone, now=now)
    return gone


def _overdue(connection: Connection, channels: Collection[str], now: datetime) -> list[Delivery]:
    """Return what is critical and late, tried or not: one that stalls may not get to all in time.

    What was never tried counts only where something tried is as late: else nobody was there to.
    """
    query = select(delivery).where(
        is_pending(),
        row_is_urgent(),
        delivery.c.channel.in_(channels),
        delivery.c.fallback_for.is_(None),
    )
    waiting = [as_delivery(row) for row in connection.execute(query)]
    tried = [each for each in waiting if each.attempts > 0]
    failing = [each for each in tried if now - first_attempt(each.log, now) >= URGENT_PATIENCE]
    stuck = {each.channel for each in failing}
    behind = [
        each
        for each in waiting
        if each.attempts == 0 and each.channel in stuck and now - each.created_at >= URGENT_PATIENCE
    ]
    return failing + behind


def first_attempt(log: Sequence[Any], now: datetime) -> datetime:
    """Return when a delivery was first attempted: it can't have been later than `now`."""
    return min(datetime.fromisoformat(log[0]["at"]), now) if log else now
