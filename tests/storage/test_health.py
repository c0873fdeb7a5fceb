"""A database that changed under a running daemon is noticed; a proof of writing writes."""

import pytest
from sqlalchemy import text

from quota_watch.storage import DatabaseLost, upkeep
from quota_watch.storage.database import Database, prove_write
from quota_watch.storage.schema import HEAD


def change(database: Database, statement: str, **values: str) -> None:
    with database.write() as connection:
        connection.execute(text(statement), values)


@pytest.fixture
def set_revision(database: Database):
    def set_to(revision: str) -> None:
        change(database, "UPDATE alembic_version SET version_num = :revision", revision=revision)

    yield set_to
    set_to(HEAD)


def test_an_unchanged_database_is_nothing_to_tell(database: Database) -> None:
    upkeep.require_unchanged(database)


@pytest.mark.parametrize(
    ("revision", "words"),
    [("9999", "newer than this quota-watch knows"), ("0001", "older schema 0001")],
)
def test_another_schema_is_a_lost_database(
    database: Database, set_revision, revision: str, words: str
) -> None:
    set_revision(revision)
    with pytest.raises(DatabaseLost, match=words):
        upkeep.require_unchanged(database)


def test_tables_that_are_gone_are_a_lost_database(database: Database) -> None:
    change(database, "ALTER TABLE alembic_version RENAME TO elsewhere")
    with pytest.raises(DatabaseLost, match="its tables are gone"):
        upkeep.require_unchanged(database)
    change(database, "ALTER TABLE elsewhere RENAME TO alembic_version")


def test_a_proof_of_writing_reaches_the_disk(sqlite_file: Database) -> None:
    log = sqlite_file.path.with_name(f"{sqlite_file.path.name}-wal")
    before = log.stat().st_mtime_ns, log.read_bytes()
    prove_write(sqlite_file)
    assert (log.stat().st_mtime_ns, log.read_bytes()) != before


@pytest.fixture
def sqlite_file(sqlite_template, tmp_path):
    (tmp_path / "q.db").write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{tmp_path / 'q.db'}")
    prove_write(database)
    yield database
    database.close()
