"""`backfill`, `history` and `export`: days on their way in and out."""

import csv
import io
import json
import stat
from datetime import date, timedelta

import click
import pytest

from quota_watch.cli.store import export, history
from quota_watch.cli.upstream import backfill
from quota_watch.model.period import DayCounts, each_day
from quota_watch.model.source import Organization
from quota_watch.rybbit.answers import KNOWN_TYPES
from quota_watch.storage import StorageError
from support.databases import sqlite_template
from support.folder import SERVER, Folder, folder
from support.http import HttpServer
from support.played import NOON, Play, noon, play, scene

__all__ = ["folder", "noon", "play", "sqlite_template"]

SHOP = scene("shop", limit=20_000, base=1_000)


@pytest.fixture
def shop(folder: Folder, play: Play) -> Folder:
    folder.configure(play(SHOP).url)
    return folder


@pytest.fixture
def kept(folder: Folder) -> Folder:
    """Two organizations that are kept, one of them not in the config; a type nobody knows."""
    first = [
        DayCounts(date(2026, 3, n), {"pageview": 10 * n, "error": n, "teleport": n % 2})
        for n in range(1, 15)
    ]
    folder.keep(first, name="Shop")
    folder.keep(first[:2], organization=Organization(SERVER, "org_gone"), name="=1+1")
    return folder


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_backfill_fetches_whole_months_that_are_true(shop: Folder) -> None:
    said = shop(backfill, "org_shop", "--from", "2026-01-20")
    assert said.code == 0
    assert said.out.startswith("org_shop: 2 months fetched")
    days = shop(history, "org_shop", "--from", "2026-01-01", "--json").json["history"]
    truth = {
        f"{day}": SHOP.counts(day, NOON).total() - SHOP.counts(day, NOON)["error"]
        for day in each_day(date(2026, 1, 1), date(2026, 2, 28))
    }
    assert {day["date"]: day["used"] for day in days} == truth


def test_a_second_backfill_asks_for_nothing(shop: Folder) -> None:
    shop(backfill, "org_shop", "--from", "2026-01-20")
    said = shop(backfill, "Shop", "--from", "2026-01-20")
    assert said.out == "org_shop: 0 months fetched, 2 stored already\n"


def test_capped_days_are_marked_and_shown(folder: Folder, play: Play) -> None:
    server = play(scene("shop", limit=20_000, base=1_400)).url
    folder.configure(server)
    folder.keep([], server=server, limit=20_000, drops=True)
    said = folder(backfill, "org_shop", "--from", "2026-02-01")
    assert "marked as capped" in said.out
    shown = folder(history, "org_shop", "--from", "2026-02-01", "--to", "2026-02-28").out
    assert shown.splitlines()[-1].endswith("capped")
    months = folder(history, "org_shop", "--from", "2026-02-01", "--by", "month", "--json").json
    assert months["history"][0]["capped"] is True


def test_a_key_that_is_refused_ends_with_1_and_what_is_left(folder: Folder, play: Play) -> None:
    folder.configure(play(scene("other")).url)
    said = folder(backfill, "org_shop", "--from", "2025-12-01")
    assert said.code == 1
    assert "API key rejected (403)" in said.err
    assert "3 months of org_shop (2025-12 to 2026-02) are left" in said.err
    assert "Traceback" not in said.err


def test_where_the_days_budget_is_spent_the_rest_is_left(
    folder: Folder, http_server: HttpServer
) -> None:
    spent = {"error": "Rate limit exceeded", "scope": "daily", "limit": 5000, "retryAfter": 7200}
    http_server.answers = [(429, {"retry-after": "7200"}, json.dumps(spent).encode())]
    folder.configure(http_server.url)
    said = folder(backfill, "org_shop", "--from", "2025-12-01")
    assert said.code == 1
    assert "the rate limit leaves no request for the next 2 h" in said.err
    assert (
        "are left; what was fetched is kept, and the same command continues from there" in said.err
    )
    assert len(http_server.requests) == 1


def test_older_than_is_kept_is_bad_usage(shop: Folder) -> None:
    with pytest.raises(click.UsageError, match=r"database.keep_days is 1830 d"):
        shop(backfill, "org_shop", "--from", "2010-01-01")


def test_a_backfill_makes_no_database(shop: Folder) -> None:
    (shop.path / "quota-watch.db").unlink()
    with pytest.raises(StorageError, match="no database at"):
        shop(backfill, "org_shop", "--from", "2026-01-01")


def test_an_export_holds_every_day_of_every_organization(kept: Folder) -> None:
    rows = read_csv(kept(export).out)
    assert len(rows) == 16
    assert sum(int(row["used"]) for row in rows if row["organization"] == "org_shop") == 1057


def test_the_columns_are_the_same_whatever_is_kept(folder: Folder, kept: Folder) -> None:
    header = kept(export, "--to", "2020-01-01").out.strip().split(",")
    assert header[:7] == [
        "organization", "name", "server", "date", "used", "not_counted", "capped",
    ]  # fmt: skip
    assert header[7:] == list(KNOWN_TYPES)


def test_a_type_nobody_knows_gets_a_column_at_the_end(kept: Folder) -> None:
    rows = read_csv(kept(export, "org_shop").out)
    assert list(rows[0])[-1] == "teleport"
    assert [row["teleport"] for row in rows[:3]] == ["1", "0", "1"]
    assert (rows[0]["used"], rows[0]["not_counted"], rows[0]["capped"]) == ("11", "1", "false")


def test_no_name_is_a_formula(kept: Folder) -> None:
    assert {row["name"] for row in read_csv(kept(export).out)} == {"Shop", "'=1+1"}


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_json_holds_the_same(kept: Folder, kind: str) -> None:
    said = kept(export, "--format", kind, "--from", "2026-03-02", "--to", "2026-03-03")
    rows = (
        said.json["history"]
        if kind == "json"
        else [json.loads(line) for line in said.out.splitlines()]
    )
    assert [(row["organization"], row["date"]) for row in rows] == [
        ("org_shop", "2026-03-02"),
        ("org_shop", "2026-03-03"),
        ("org_gone", "2026-03-02"),
    ]
    assert rows[0]["by_type"] == {"pageview": 20, "teleport": 0}
    assert rows[0]["not_counted"] == {"error": 2}


def test_an_export_of_nothing_is_json_all_the_same(folder: Folder) -> None:
    assert folder(export, "--format", "json").json == {"history": []}


def test_the_ending_of_the_file_names_the_format(kept: Folder) -> None:
    path = kept.path / "days.jsonl"
    said = kept(export, "--output", str(path))
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 16
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert said.out == ""
    assert f"16 days written to {path}" in said.err


def test_a_file_is_replaced_whole_or_not_at_all(kept: Folder) -> None:
    path = kept.path / "days.csv"
    path.write_text("of yesterday")
    with pytest.raises(click.UsageError):
        kept(export, "org_nobody", "--output", str(path))
    assert path.read_text() == "of yesterday"
    kept(export, "--output", str(path))
    assert path.read_text().startswith("organization,")
    assert sorted(file.name for file in kept.path.glob("*days*")) == ["days.csv"]


def test_a_range_the_wrong_way_round_is_bad_usage(kept: Folder) -> None:
    with pytest.raises(click.UsageError, match="is later than"):
        kept(export, "--from", "2026-03-02", "--to", "2026-03-01")


def test_a_month_of_history_sums_its_days(kept: Folder) -> None:
    (month,) = kept(history, "Shop", "--by", "month", "--json").json["history"]
    assert (month["date"], month["used"]) == ("2026-03-01", 1057)


def test_a_day_without_a_mark_has_none(kept: Folder) -> None:
    header, *rows = kept(history, "org_shop").out.splitlines()
    assert header.split()[-1] == "note"
    assert not any(row.endswith("capped") for row in rows)
    assert len(rows) == 14


def test_many_days_are_exported_without_holding_them(folder: Folder) -> None:
    first = date(2016, 3, 1)
    days = [DayCounts(first + timedelta(n), {"pageview": n}) for n in range(3_600)]
    folder.keep(days)
    rows = read_csv(folder(export).out)
    assert [int(row["used"]) for row in rows] == list(range(3_600))
