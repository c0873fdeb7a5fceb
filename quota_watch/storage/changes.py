"""What a batch of polls changes, written table by table: one statement for many rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, bindparam, update

from quota_watch.storage.database import insert_into, insert_missing
from quota_watch.storage.days import write_rows
from quota_watch.storage.schema import forecast, organization, snapshot

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
        if self.days:
            write_rows(connection, self.days)
        insert_missing(connection, snapshot, self.snapshots)
        self.days.clear()
        self.snapshots.clear()

    def write(self, connection: Connection) -> None:
        """Write all of it, and hold nothing any more."""
        self.write_counts(connection)
        if self.forecasts:
            _replace(connection, forecast, self.forecasts)
        alike: dict[frozenset[str], _Rows] = {}
        for pk, columns in sorted(self.organizations.items()):
            row = {**columns, "claimed_by": None, "claimed_until": None, "its_pk": pk}
            alike.setdefault(frozenset(columns), []).append(row)
        of_key = update(organization).where(organization.c.pk == bindparam("its_pk"))
        for rows in alike.values():
            connection.execute(of_key, rows)
        self.forecasts.clear()
        self.organizations.clear()


def _replace(connection: Connection, table: Table, rows: _Rows) -> None:
    """Write rows in place of those with the same key."""
    insert = insert_into(connection, table)
    keys = list(table.primary_key.columns)
    names = rows[0].keys() - {key.name for key in keys}
    changed = {name: insert.excluded[name] for name in names}
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=changed), rows)
