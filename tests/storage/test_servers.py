"""PostgreSQL as others set it up: encodings, standbys, poolers, URLs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import psycopg
import pytest
from sqlalchemy import func, select, text

from quota_watch.storage import (
    DatabaseUnreachable,
    DatabaseUrlError,
    StorageError,
    claims,
    upkeep,
)
from quota_watch.storage.database import Database
from quota_watch.storage.schema import organization
from support.clock import START
from support.databases import migrated
from support.pooler import pooled
from support.postgres import Address, Postgres, running_postgres
from support.watching import watches

COUNT = select(func.count()).select_from(organization)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_an_encoding_that_can_not_hold_every_text_is_refused_by_name(
    postgres_server: Postgres, encoding: str
) -> None:
    options = f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    with (
        postgres_server.fresh_database(options) as url,
        closing(Database(url)) as database,
        pytest.raises(StorageError, match=f"{encoding}.*create it with ENCODING 'UTF8'"),
    ):
        upkeep.current(database)


def test_the_encoding_of_the_environment_is_none_of_ours(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with closing(Database(postgres_url)) as database, database.read() as connection:
        assert connection.scalar(text("SELECT 'Žluť 🐎'")) == "Žluť 🐎"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("sslmod=require", "sslmod"),
        ("sslmode=require&Timeout=5&zz=1", "Timeout, zz"),
        ("prepare_threshold=never", "prepare_threshold"),
    ],
)
def test_a_parameter_that_is_none_is_named(parameters: str, said: str) -> None:
    with pytest.raises(DatabaseUrlError, match=said):
        Database(f"postgresql://u@127.0.0.1/qw?{parameters}")


@pytest.mark.parametrize("parameters", ["sslmode=requir", "target_session_attrs=any-one"])
def test_a_value_that_is_none_is_no_reason_to_wait(parameters: str) -> None:
    database = Database(f"postgresql://u@127.0.0.1/qw?{parameters}")
    with pytest.raises(StorageError, match="invalid") as raised:
        upkeep.current(database)
    assert not isinstance(raised.value, DatabaseUnreachable)


def test_statements_are_prepared_where_the_url_asks_for_it(postgres_url: str) -> None:
    prepared = text("SELECT count(*) FROM pg_prepared_statements")
    for url, least in ((postgres_url, 0), (f"{postgres_url}&prepare_threshold=0", 1)):
        with closing(Database(url)) as database, database.write() as connection:
            connection.execute(text("SELECT 1"))
            assert (connection.scalar(prepared) or 0) >= least
            assert least or connection.scalar(prepared) == 0


@contextmanager
def standby_of(postgres: Postgres) -> Iterator[tuple[Address, Postgres]]:
    with running_postgres(postgres) as standby, closing(Address(standby)) as address:
        yield address, standby


def test_after_a_failover_no_connection_to_the_standby_is_left(
    postgres_server: Postgres, postgres_url: str
) -> None:
    migrated(postgres_url).close()
    name = postgres_url.split("?", maxsplit=1)[0].rpartition("/")[2]
    with (
        standby_of(postgres_server) as (address, standby),
        closing(Database(address.url(name))) as database,
    ):
        with database.read() as first, database.read() as second:
            assert (first.scalar(COUNT), second.scalar(COUNT)) == (0, 0)
        with pytest.raises(DatabaseUnreachable, match="at the primary"):
            write(database)
        address.leads_to = postgres_server
        for _ in range(3):
            write(database)
        with database.read() as connection:
            assert connection.scalar(COUNT) == 3
            assert not connection.scalar(text("SELECT pg_is_in_recovery()"))
        dsn = f"host={standby.sockets} user=postgres dbname=postgres"
        with psycopg.connect(dsn) as asked:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            assert asked.execute(query, [name]).fetchone() == (0,)


@pytest.mark.needs("pgbouncer")
@pytest.mark.needs("pgbouncer")
def test_behind_a_transaction_pooler_everything_works(
    postgres_server: Postgres, postgres_url: str
) -> None:
    with (
        pooled(postgres_server, name_of(postgres_url)) as url,
        closing(migrated(url)) as database,
        ThreadPoolExecutor(6) as threads,
    ):
        for _ in threads.map(lambda _: write(database), range(60)):
            pass
        with database.read() as connection:
            assert connection.scalar(COUNT) == 60
            (waits,) = connection.execute(text("SHOW lock_timeout")).one()
        assert waits == "15s"


def name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def write(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("LOCK TABLE organization"))
        n = connection.scalar(COUNT) or 0
        claims.register(connection, watches(n + 1), now=START)
