"""Claims: the one way work is taken, so that each piece is done by one worker at a time.

A claim is a random token and a time it holds until. Taking it never moves `next_at`: the
transaction that ends it does, with what was found, and only while the token is still its own.
"""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    func,
    or_,
    select,
    update,
)

from quota_watch.model.source import Organization
from quota_watch.model.watch import Watch
from quota_watch.storage.database import write_rows
from quota_watch.storage.schema import (
    among,
    day_usage,
    forecast,
    organization,
    snapshot,
)

EXPIRED = timedelta(seconds=60)
"""What was claimed and whose claim ran out so long ago is not being done by anyone."""

LEASE = timedelta(seconds=55)
"""How long a claim holds: what a dead worker had is taken up and done within a minute."""

_ROWS_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to poll one organization until `until`, if nobody else takes it over.

    `row` is what was known of the organization when it was claimed.
    """

    pk: int
    token: str
    until: datetime = field(compare=False)
    row: Row[Any] = field(compare=False, repr=False)


def register(
    connection: Connection, watches: Iterable[Watch], *, now: datetime
) -> dict[Organization, int]:
    """Make a row for each organization that has none, due at once; return all their keys."""
    by_organization = {watch.organization: watch for watch in watches}
    keys = keys_of(connection, by_organization)
    # In one order everywhere, so that two processes that start at once can't block each other.
    missing = sorted(by_organization.keys() - keys.keys())
    rows = [_new_row(by_organization[each], now) for each in missing]
    write_rows(connection, organization, rows)
    return keys_of(connection, by_organization) if missing else keys


def _new_row(watch: Watch, now: datetime) -> dict[str, Any]:
    return {
        "server": watch.organization.server,
        "id": watch.organization.id,
        "name": watch.name,
        "plan": watch.plan,
        "next_at": now,
        "limit": watch.limit,
        "limit_source": watch.limit_source,
        "drops": watch.drops,
        "failed_polls": 0,
        "thinned_on": now.date(),
    }


def keys_of(
    connection: Connection, organizations: Collection[Organization]
) -> dict[Organization, int]:
    """Return the keys of those wanted organizations that have a row, in the order wanted."""
    query = select(organization.c.pk, organization.c.server, organization.c.id)
    if len(organizations) == 1:  # asked for one after another, each would read all
        (only,) = organizations
        query = query.where(organization.c.server == only.server, organization.c.id == only.id)
    rows = connection.execute(query)
    keys = {Organization(server, id_): pk for pk, server, id_ in rows}
    return {identity: keys[identity] for identity in organizations if identity in keys}


def find_due(
    connection: Connection,
    *,
    ours: Collection[int],
    busy: Collection[int],
    most: int,
    interval: timedelta,
    now: datetime,
) -> list[int]:
    """Return up to `most` due organizations among `ours` that are not `busy` in this process."""
    query = select(organization.c.pk).where(_is_due(interval, now)).order_by(organization.c.next_at)
    pks: list[int] = []
    for offset in count(step=_ROWS_AT_A_TIME):
        due = connection.scalars(query.limit(_ROWS_AT_A_TIME).offset(offset)).all()
        pks += [pk for pk in due if pk in ours and pk not in busy]
        if len(pks) >= most or len(due) < _ROWS_AT_A_TIME:
            break
    return pks[:most]


def claim_due(
    connection: Connection, pks: Collection[int], *, interval: timedelta, now: datetime
) -> list[Claim]:
    """Claim those of the organizations that are still due and that nobody else has locked."""
    still = select(organization).where(organization.c.pk.in_(pks), _is_due(interval, now))
    return _take(connection, connection.execute(still.with_for_update(skip_locked=True)).all(), now)


def claim_now(connection: Connection, pks: Collection[int], *, now: datetime) -> list[Claim]:
    """Claim the organizations whether due or not; a claim of another worker is taken over."""
    query = select(organization).where(organization.c.pk.in_(pks))
    # In key order, as the record locks them, so that neither waits for the other.
    query = query.order_by(organization.c.pk).with_for_update()
    return _take(connection, connection.execute(query).all(), now)


def give_back(
    connection: Connection,
    claims: Iterable[Claim],
    *,
    next_at: Mapping[Claim, datetime] | None = None,
) -> None:
    """Let go of claims that were not used; the organizations stay due, or are at `next_at`."""
    for claim in sorted(claims, key=lambda claim: claim.pk):
        due = {} if next_at is None else {"next_at": next_at[claim]}
        connection.execute(
            update(organization)
            .where(organization.c.pk == claim.pk, organization.c.claimed_by == claim.token)
            .values(claimed_by=None, claimed_until=None, **due)
        )


def is_due(column: Column[datetime], now: datetime, *, horizon: timedelta) -> ColumnElement[bool]:
    """Say that the time has come, or lies further off than any that is written with this clock."""
    return or_(column <= now, column > now + horizon)


def is_free(column: Column[datetime], now: datetime) -> ColumnElement[bool]:
    """Say that no claim holds: none, one that ran out, or one from before clock jumped back.

    The second lease is for a worker whose clock is ahead, or read a moment later than `now` was.
    """
    return or_(column.is_(None), column <= now, column > now + 2 * LEASE)


def _is_due(interval: timedelta, now: datetime) -> ColumnElement[bool]:
    # A time further off than two intervals was written before clock jumped back, or for a
    # longer interval; but not where upstream refused lately and asked to wait.
    asked_to_wait = and_(
        organization.c.next_at > now,
        organization.c.failing_since.is_not(None),
        organization.c.last_poll <= now,
    )
    return and_(
        is_due(organization.c.next_at, now, horizon=2 * interval),
        ~asked_to_wait,
        is_free(organization.c.claimed_until, now),
    )


def _take(connection: Connection, rows: Sequence[Row[Any]], now: datetime) -> list[Claim]:
    if not rows:
        return []
    token, until = new_token(), now + LEASE
    connection.execute(
        update(organization)
        .where(organization.c.pk.in_([row.pk for row in rows]))
        .values(claimed_by=token, claimed_until=until)
    )
    return [Claim(row.pk, token, until, row) for row in rows]


def new_token() -> str:
    """Return a token that no other claim has."""
    return secrets.token_hex(8)


def lock_claimed(connection: Connection, claims: Iterable[Claim]) -> dict[int, Row[Any]]:
    """Lock the organizations whose claims still hold, in key order; return their rows by key."""
    tokens = {claim.pk: claim.token for claim in claims}
    query = (
        select(organization)
        .where(organization.c.pk.in_(tokens))
        .order_by(organization.c.pk)
        .with_for_update()
    )
    rows = connection.execute(query)
    return {row.pk: row for row in rows if row.claimed_by == tokens[row.pk]}


_Rows = list[dict[str, Any]]


@dataclass(slots=True)
class Changes:
    """Rows to write, by table; `organizations` are columns by key, which end the claim too."""

    days: _Rows = field(default_factory=list)
    snapshots: _Rows = field(default_factory=list)
    forecasts: _Rows = field(default_factory=list)
    organizations: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def write_counts(self, connection: Connection) -> None:
        """Write days and snapshots, for what has to be read again right away."""
        write_rows(connection, day_usage, self.days, replace=True)
        write_rows(connection, snapshot, self.snapshots)
        self.days.clear()
        self.snapshots.clear()

    def write(self, connection: Connection) -> None:
        """Write all of it."""
        self.write_counts(connection)
        write_rows(connection, forecast, self.forecasts, replace=True)
        alike = defaultdict[frozenset[str], _Rows](list)
        for pk, columns in sorted(self.organizations.items()):
            row = {**columns, "claimed_by": None, "claimed_until": None, "its_pk": pk}
            alike[frozenset(columns)].append(row)
        of_key = update(organization).where(organization.c.pk == bindparam("its_pk"))
        for rows in alike.values():
            connection.execute(of_key, rows)


def last_good_polls(connection: Connection, *, since: datetime) -> dict[int, datetime]:
    """Return when each organization that was polled well since then was so last, by key."""
    query = select(organization.c.pk, organization.c.last_ok).where(organization.c.last_ok >= since)
    return {row.pk: row.last_ok for row in connection.execute(query)}


def last_poll(connection: Connection, pks: Collection[int]) -> datetime | None:
    """Return when one of the organizations was polled last, well or not."""
    query = select(func.max(organization.c.last_poll)).where(among(organization.c.pk, pks))
    at: datetime | None = connection.scalar(query)
    return at


def stuck_polls(connection: Connection, pks: Collection[int], *, now: datetime) -> bool:
    """Check whether a due poll was claimed and neither ended nor taken over since."""
    query = select(organization.c.pk).where(
        organization.c.claimed_by.is_not(None),
        organization.c.claimed_until <= now - EXPIRED,
        organization.c.next_at <= now - EXPIRED,
    )
    return not {*pks}.isdisjoint(connection.scalars(query))
