"""Claims: the one way work is taken, so that each piece is done by one worker at a time.

A claim is a random token and a time it holds until. It never moves `next_at`: the transaction
that records the outcome does, and only while the token is still its own.
"""

import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Column, ColumnElement, Connection, and_, false, or_, select, update

from quota_watch.domain.rules import Watch
from quota_watch.domain.source import Organization
from quota_watch.storage.database import insert_missing
from quota_watch.storage.schema import organization

LEASE = timedelta(seconds=60)
_CANDIDATES = 500


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to poll one organization, as long as nobody else takes it over."""

    pk: int
    token: str


def register(
    connection: Connection, watches: Iterable[Watch], *, now: datetime
) -> dict[Organization, int]:
    """Make a row for each organization that has none, due at once; return all their keys."""
    wanted = {watch.organization: watch for watch in watches}
    keys = keys_of(connection, wanted)
    missing = [
        {
            "server": watch.organization.server,
            "id": watch.organization.id,
            "name": watch.name,
            "plan": watch.plan,
            "next_at": now,
            "limit": watch.limit,
            "limit_source": watch.limit_source,
            "drops": watch.drops,
            "failed_polls": 0,
        }
        for identity, watch in wanted.items()
        if identity not in keys
    ]
    insert_missing(connection, organization, missing)
    return keys_of(connection, wanted) if missing else keys


def keys_of(connection: Connection, wanted: Collection[Organization]) -> dict[Organization, int]:
    """Return the keys of those wanted organizations that have a row, in the order wanted."""
    columns = organization.c
    rows = connection.execute(select(columns.pk, columns.server, columns.id))
    keys = {Organization(server, id_): pk for pk, server, id_ in rows}
    return {identity: keys[identity] for identity in wanted if identity in keys}


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
    query = (
        select(organization.c.pk)
        .where(_is_due(interval, now))
        .order_by(organization.c.next_at)
        .execution_options(yield_per=_CANDIDATES)
    )
    wanted = (pk for pk in connection.scalars(query) if pk in ours and pk not in busy)
    return list(islice(wanted, most))


def claim_due(
    connection: Connection, pks: Collection[int], *, interval: timedelta, now: datetime
) -> list[Claim]:
    """Claim those of the organizations that are still due and that nobody else has locked."""
    still = select(organization.c.pk).where(organization.c.pk.in_(pks), _is_due(interval, now))
    return _take(connection, list(connection.scalars(still.with_for_update(skip_locked=True))), now)


def claim_now(connection: Connection, pks: Collection[int], *, now: datetime) -> list[Claim]:
    """Claim the organizations whether due or not; a claim of another worker is taken over."""
    return _take(connection, list(pks), now)


def give_back(connection: Connection, claims: Iterable[Claim]) -> None:
    """Let go of claims that were not used; the organizations stay due."""
    for claim in claims:
        connection.execute(
            update(organization)
            .where(organization.c.pk == claim.pk, organization.c.claimed_by == claim.token)
            .values(claimed_by=None, claimed_until=None)
        )


def is_due(column: Column[datetime], now: datetime, *, horizon: timedelta) -> ColumnElement[bool]:
    """Say that the time has come, or lies further off than any that is written with this clock."""
    return or_(column <= now, column > now + horizon)


def is_free(column: Column[datetime], now: datetime) -> ColumnElement[bool]:
    """Say that no claim holds: none, one that ran out, or one from before the clock went back."""
    return or_(column.is_(None), column <= now, column > now + LEASE)


def _is_due(interval: timedelta, now: datetime) -> ColumnElement[bool]:
    # A time further off than two intervals was written before the clock went back.
    return and_(
        is_due(organization.c.next_at, now, horizon=2 * interval),
        is_free(organization.c.claimed_until, now),
    )


def _take(connection: Connection, pks: list[int], now: datetime) -> list[Claim]:
    token = new_token()
    connection.execute(
        update(organization)
        .where(organization.c.pk.in_(pks) if pks else false())
        .values(claimed_by=token, claimed_until=now + LEASE)
    )
    return [Claim(pk, token) for pk in pks]


def new_token() -> str:
    """Return a token that no other claim has."""
    return secrets.token_hex(8)
