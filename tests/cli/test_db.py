import sqlite3
from contextlib import closing

import psycopg
import pytest

from quota_watch.storage.schema import HEAD
from support.installation import Installation


def test_the_schema_is_shown_before_and_after_it_is_made(acme: Installation) -> None:
    assert "has no schema yet" in acme.run("db", "current").stdout
    assert acme.run("db", "upgrade").returncode == 0
    assert acme.json("db", "current")["schemas"][0]["revision"] == HEAD


def test_a_newer_schema_is_refused_with_a_sentence(acme: Installation) -> None:
    acme.run("db", "upgrade")
    with closing(sqlite3.connect(acme.folder / "quota-watch.db")) as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
        file.commit()
    for command in ("status", "poll", "run"):
        result = acme.run(command)
        assert result.returncode == 1
        assert "newer than this quota-watch knows" in result.stderr


def test_a_backup_holds_what_the_database_holds(acme: Installation) -> None:
    acme.run("poll")
    assert acme.run("db", "backup", "copy.db").returncode == 0
    acme.configure({"org_acme": 1000}, more='[database]\nurl = "sqlite:///copy.db"\n')
    assert acme.json("status")["organizations"][0]["used"] == 100


def test_a_backup_never_overwrites(acme: Installation) -> None:
    acme.run("poll")
    (acme.folder / "copy.db").write_text("precious")
    assert acme.run("db", "backup", "copy.db").returncode == 1
    assert (acme.folder / "copy.db").read_text() == "precious"


def test_a_backup_into_a_missing_folder_names_the_folder(acme: Installation) -> None:
    acme.run("poll")
    result = acme.run("db", "backup", "/nonexistent/copy.db")
    assert (result.returncode, "no folder /nonexistent" in result.stderr) == (1, True)


def test_everything_moves_to_another_database(acme: Installation, postgres_url: str) -> None:
    acme.upstream.used["org_acme"] = 912
    acme.run("poll")
    assert acme.run("db", "copy", postgres_url).returncode == 0
    acme.configure({"org_acme": 1000}, more=f'[database]\nurl = "{postgres_url}"\n')
    assert acme.json("poll")["organizations"][0]["transitions"] == []
    assert acme.json("alerts") == acme.json("alerts")
    assert len(acme.json("alerts")["alerts"]) == 1


@pytest.mark.parametrize(
    "password", ["p@ssw0rd", "p@ss/w0rd", "pa?ss@w0rd", "p#a@ssw0rd", "a:b@w0rd"]
)
def test_a_password_is_never_shown_however_the_url_is_broken(acme: Installation, password) -> None:
    acme.run("poll")
    result = acme.run("db", "copy", f"postgresql://user:{password}@127.0.0.1:1/db")
    assert result.returncode != 0
    assert "w0rd" not in result.stdout + result.stderr


def test_where_to_copy_to_may_be_a_reference(acme: Installation, postgres_url: str) -> None:
    acme.run("poll")
    copied = acme.run("db", "copy", "env:TARGET", environ={"TARGET": postgres_url})
    assert (copied.returncode, "rows copied to" in copied.stdout) == (0, True)
    missing = acme.run("db", "copy", "env:TARGET")
    assert missing.returncode == 2
    assert "TARGET is not set" in missing.stderr


def test_of_postgresql_the_command_is_told_that_keeps_a_way_back(
    acme: Installation, postgres_url: str
) -> None:
    url = postgres_url.replace("postgres@", "postgres:canary@")
    acme.configure({"org_acme": 1000}, more=f'[database]\nurl = "{url}"\n')
    acme.run("poll")
    told = acme.run("db", "backup", "before.dump").stderr
    assert "pg_dump -Fc -f before.dump postgresql://postgres@" in told
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    told += acme.run("status").stderr
    assert "has the older schema 0001: run `quota-watch db upgrade`, after `pg_dump" in told
    assert "canary" not in told
