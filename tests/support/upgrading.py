"""Databases of released schemas with rows in every table, and processes that upgrade at once."""

import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import JSON, Boolean, Column, Date, DateTime, MetaData, Text, insert, select

from quota_watch.lib.machine import resource_dir
from quota_watch.storage.database import Database

Rows = dict[str, list[tuple[Any, ...]]]

_UPGRADE = """
import sys
from alembic import command
from quota_watch.storage import upkeep
from quota_watch.storage.database import Database
print("ready", flush=True)
sys.stdin.readline()
print(*upkeep.upgrade(Database(sys.argv[1])))
"""


def upgrade_at_once(url: str, processes: int) -> list[str]:
    """Let so many processes upgrade the database at the same moment; return what each said."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _UPGRADE, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    answers = [child.communicate(timeout=30) for child in children]
    assert [child.returncode for child in children] == [0] * processes, answers
    return [said.strip() for said, _ in answers]


def make_at(database: Database, revision: str) -> MetaData:
    """Make the tables as they were at `revision`, a row in each; return them as they are there."""
    config = Config()
    config.set_main_option("script_location", str(resource_dir("migrations")))
    tables = MetaData()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if table.name != "alembic_version":
                row = {column.name: _value(column) for column in table.columns}
                connection.execute(insert(table), [row])
    return tables


def rows_of(database: Database, tables: MetaData) -> Rows:
    """Return the rows, in the columns that the tables had."""
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in tables.sorted_tables
            if table.name != "alembic_version"
        }


def _value(column: Column[Any]) -> Any:
    """Return what may stand in a column of this type; every number is the key of the one row."""
    values: dict[type, Any] = {
        JSON: {"pageview": 7},
        Boolean: True,
        Date: date(2026, 2, 1),
        DateTime: datetime(2026, 2, 1, tzinfo=UTC),
        Text: column.name,
    }
    return next((value for kind, value in values.items() if isinstance(column.type, kind)), 1)
