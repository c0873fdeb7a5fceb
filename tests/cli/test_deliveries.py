"""`deliveries`: what people and scripts see of the outbox."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from quota_watch.cli.app import cli
from quota_watch.storage.database import Database
from support.clock import START
from support.databases import migrated
from support.posting import FIRED, envelope, failed, later, put, story, take

Run = Callable[..., Result]
CONFIG = '[rybbit]\napi_key = "env:NOT_NEEDED"\n[[organizations]]\nid = "org_acme"\nlimit = 100\n'


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(migrated(f"sqlite:///{tmp_path / 'quota-watch.db'}")) as database:
        yield database


@pytest.fixture
def run(tmp_path: Path, database: Database) -> Run:
    """Run the command in this process, on the database."""
    (tmp_path / "config.toml").write_text(CONFIG)
    options = ["-c", str(tmp_path / "config.toml")]
    return lambda *args: CliRunner().invoke(cli, [*options, *args], standalone_mode=False)


@pytest.fixture
def refused(database: Database) -> str:
    """The id of a delivery that was put off once and then refused for good."""
    put(database, envelope(story(database), recipient="anna@a.example"))
    later(database, take(database), at=START)
    failed(database, take(database))
    return f"msg_1_{FIRED}_hook_anna@a.example"


def test_json_holds_every_attempt_and_the_reason(run: Run, refused: str) -> None:
    (shown,) = json.loads(run("deliveries", "--json").stdout)["deliveries"]
    assert (shown["id"], shown["state"], shown["reason"]) == (refused, "failed", "refused")
    assert [attempt["outcome"] for attempt in shown["attempts_log"]] == ["retry", "refused"]
    assert shown["attempts_log"][1] == {
        "at": "2026-03-01T00:00:00Z",
        "status": 410,
        "error": "gone",
        "outcome": "refused",
    }


def test_the_table_says_state_reason_receiver_and_error(run: Run, refused: str) -> None:
    (headers, line) = run("deliveries").stdout.splitlines()
    assert headers.split()[:3] == ["id", "created", "state"]
    assert line.startswith(refused)
    assert "failed (refused)" in line
    assert line.endswith("hook anna@a.example: gone")


@pytest.mark.parametrize("args", [("deliveries", "-v"), ("-v", "deliveries")])
def test_every_attempt_is_a_line_where_it_is_asked_for(run: Run, refused: str, args) -> None:
    lines = run(*args).stdout.splitlines()
    assert lines[-2:] == [
        "  2026-03-01 00:00:00Z retry 503: refused",
        "  2026-03-01 00:00:00Z refused 410: gone",
    ]


def test_what_is_tried_for_another_channel_says_so(run: Run, database: Database) -> None:
    put(database, envelope(None, channel="phone", fallback_for="hook"))
    assert "phone, as hook failed, next try 2026-03-01 00:00Z" in run("deliveries").stdout


def test_a_table_holds_the_newest_hundred(run: Run, database: Database) -> None:
    put(database, *(envelope(None, f"alert.{n}") for n in range(101)))
    result = run("deliveries")
    assert len(result.stdout.splitlines()) == 101
    assert "the newest 100" in result.stderr
    assert len(json.loads(run("deliveries", "--json").stdout)["deliveries"]) == 101


def test_what_failed_is_tried_again_when_it_is_asked_for(run: Run, refused: str) -> None:
    assert "1 delivery will be retried" in run("deliveries", "retry", refused).stdout
    (shown,) = json.loads(run("deliveries", "--json").stdout)["deliveries"]
    assert (shown["state"], shown["reason"], len(shown["attempts_log"])) == ("pending", None, 2)


def test_what_did_not_fail_is_not_tried_again(run: Run, refused: str) -> None:
    result = run("deliveries", "retry", refused, "msg_nowhere")
    assert result.return_value == 1
    assert "no failed delivery msg_nowhere" in result.stderr
