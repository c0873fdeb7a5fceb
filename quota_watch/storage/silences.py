"""The silence table: who wants to hear nothing, of what, until when, and why."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from quota_watch.model.watch import Rule
from quota_watch.rules.story import Silence
from quota_watch.storage.schema import organization, silence


def silences_of(
    connection: Connection, pks: Collection[int], *, now: datetime
) -> dict[int | None, list[Silence]]:
    """Return the silences that hold now, of each organization and, as None, of nothing else.

    Those for all organizations are among each one's.
    """
    query = select(silence).where(silence.c.starts_at <= now, silence.c.ends_at > now)
    rows = connection.execute(query).all()
    for_all = [_silence(row) for row in rows if row.organization_pk is None]
    found: dict[int | None, list[Silence]] = {pk: list(for_all) for pk in pks}
    found[None] = for_all
    for row in rows:
        if row.organization_pk in found and row.organization_pk is not None:
            found[row.organization_pk].append(_silence(row))
    return found


def begin(
    connection: Connection,
    *,
    organization_pk: int | None,
    rule: Rule | None,
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
    author: str,
) -> int:
    """Keep a new silence and return its number."""
    values = {
        "organization_pk": organization_pk,
        "rule": rule,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "reason": reason,
        "author": author,
    }
    added = connection.execute(insert(silence).values(**values).returning(silence.c.pk))
    pk: int = added.scalar_one()
    return pk


def hold_until(
    connection: Connection,
    ends_at: datetime,
    *,
    organization_pk: int,
    rule: Rule,
    reason: str,
    author: str,
    now: datetime,
) -> None:
    """Let one silence hold until then: the author's own for this reason, where one is in force."""
    own = update(silence).where(
        silence.c.organization_pk == organization_pk,
        silence.c.rule == rule,
        silence.c.reason == reason,
        silence.c.author == author,
        silence.c.ends_at > now,
    )
    if connection.execute(own.values(ends_at=ends_at)).rowcount or ends_at <= now:
        return
    begin(
        connection,
        organization_pk=organization_pk,
        rule=rule,
        starts_at=now,
        ends_at=ends_at,
        reason=reason,
        author=author,
    )


def end(connection: Connection, pk: int, *, now: datetime) -> bool:
    """End a silence now; tell whether there was one that still held or was yet to begin."""
    ended = connection.execute(
        update(silence).where(silence.c.pk == pk, silence.c.ends_at > now).values(ends_at=now)
    )
    return ended.rowcount == 1


def rows(connection: Connection, *, since: datetime | None = None) -> list[Row[Any]]:
    """Return silences with their organization's id, newest first, none that ended by `since`."""
    query = (
        select(silence, organization.c.id.label("organization_id"))
        .outerjoin_from(silence, organization)
        .order_by(silence.c.pk.desc())
    )
    if since is not None:
        query = query.where(silence.c.ends_at > since)
    return list(connection.execute(query))


def _silence(row: Row[Any]) -> Silence:
    rule = None if row.rule is None else Rule(row.rule)
    return Silence(rule=rule, starts_at=row.starts_at, ends_at=row.ends_at)
