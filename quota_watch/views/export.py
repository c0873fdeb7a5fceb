"""All kept days, one after another: as many as there are, in constant memory."""

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from quota_watch.model.organization import Organization
from quota_watch.model.plan import NOT_COUNTED
from quota_watch.model.usage import DayCounts
from quota_watch.storage.among import among
from quota_watch.storage.schema import day_usage, organization

_ROWS_AT_A_TIME = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which days: from `first` to `last`, without end where None.

    `pks` None: of every organization that is kept, whether the config names it or not.
    """

    pks: Collection[int] | None = None
    first: date | None = None
    last: date | None = None


def how_many(connection: Connection, wanted: Wanted) -> int:
    """Return how many days there are."""
    query = select(func.count()).select_from(day_usage).where(*_conditions(wanted))
    return connection.scalar(query) or 0


def types_of(connection: Connection, wanted: Wanted) -> set[str]:
    """Return the event types that the days have; reads them all."""
    found: set[str] = set()
    for counts in connection.scalars(_streamed(select(day_usage.c.counts), wanted)):
        found.update(counts)
    return found


def days(
    connection: Connection,
    wanted: Wanted,
    *,
    not_counted: Mapping[Organization, Collection[str]],
) -> Generator[dict[str, Any], None, None]:
    """Yield the days as JSON shapes, each organization's oldest first.

    `not_counted` holds the types outside the bill, by organization; Rybbit's for those not in it.
    """
    owner, columns = organization.c, day_usage.c
    query = (
        select(owner.server, owner.id, owner.name, columns.date, columns.counts, columns.capped)
        .join_from(day_usage, organization)
        .order_by(columns.organization_pk, columns.date)
    )
    # Closed also where the reader stops early: PostgreSQL keeps a cursor for it.
    with closing(connection.execute(_streamed(query, wanted))) as rows:
        for row in rows:
            outside = not_counted.get(Organization(row.server, row.id), NOT_COUNTED)
            yield _day(row, outside)


def _day(row: Row[Any], outside: Collection[str]) -> dict[str, Any]:
    return {
        "organization": row.id,
        "name": row.name,
        "server": row.server,
        "date": row.date.isoformat(),
        "used": DayCounts(row.date, row.counts).counted(outside),
        "by_type": {type_: n for type_, n in row.counts.items() if type_ not in outside},
        "not_counted": {type_: n for type_, n in row.counts.items() if type_ in outside},
        "capped": row.capped,
    }


def _streamed(query: Select[Any], wanted: Wanted) -> Select[Any]:
    return query.where(*_conditions(wanted)).execution_options(yield_per=_ROWS_AT_A_TIME)


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.pks is not None:
        yield among(day_usage.c.organization_pk, wanted.pks)
    if wanted.first is not None:
        yield day_usage.c.date >= wanted.first
    if wanted.last is not None:
        yield day_usage.c.date <= wanted.last
