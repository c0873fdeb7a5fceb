"""The heartbeat, against a real server."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from quota_watch.config import load
from quota_watch.lib.http import Client
from quota_watch.service.health import Heartbeat
from quota_watch.service.runtime import Runtime
from quota_watch.storage.database import Database
from support.clock import FakeClock
from support.http import HttpServer

SECRET = "a-secret-path"


@pytest.fixture
def heartbeat(http_server: HttpServer, clock: FakeClock) -> Iterator[Heartbeat]:
    with Client(connections=1) as client:
        url = f"{http_server.url}/{SECRET}?token=x"
        yield Heartbeat(url, interval=timedelta(minutes=5), client=client, clock=clock)


def test_it_asks_for_the_url_at_once_and_then_every_interval(
    heartbeat: Heartbeat, http_server: HttpServer, clock: FakeClock
) -> None:
    for _ in range(21):
        heartbeat.beat([])
        clock.advance(30)
    assert [(each.method, each.path) for each in http_server.requests] == [
        ("GET", f"/{SECRET}?token=x")
    ] * 3


def test_a_doubt_withholds_it_and_it_goes_on_as_soon_as_there_is_none(
    heartbeat: Heartbeat, http_server: HttpServer, clock: FakeClock
) -> None:
    heartbeat.beat([])
    clock.advance(timedelta(hours=1))
    heartbeat.beat(["the database takes no write"])
    assert len(http_server.requests) == 1
    clock.advance(1)
    heartbeat.beat([])
    assert len(http_server.requests) == 2


def test_a_long_doubt_is_logged_once_and_also_its_end(
    heartbeat: Heartbeat, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(200):
        heartbeat.beat(["polls has made no progress for 60 s"])
        clock.advance(1)
    heartbeat.beat([])
    heartbeat.beat([])
    assert [record.message for record in caplog.records if "heartbeat" in record.message] == [
        "heartbeat withheld",
        "heartbeat resumed",
    ]


def test_a_start_that_is_quick_is_no_doubt_worth_a_line(
    heartbeat: Heartbeat, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat.beat(["no organization was polled successfully within two intervals"])
    clock.advance(5)
    heartbeat.beat([])
    assert caplog.text == ""


def test_a_failed_ping_is_logged_once_and_tried_again_after_the_interval(
    heartbeat: Heartbeat,
    http_server: HttpServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    http_server.answers = [(404, {}, b"")] * 3 + [(200, {}, b"OK")]
    for _ in range(4):
        heartbeat.beat([])
        clock.advance(timedelta(minutes=5))
    assert len(http_server.requests) == 4
    assert [record.message for record in caplog.records] == [
        "heartbeat not accepted",
        "heartbeat accepted again",
    ]


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        ((204, {}, b""), True),
        ((200, {}, b"x" * 100_000), True),
        ((302, {"Location": "https://elsewhere.example/"}, b""), False),
        ((500, {}, b""), False),
    ],
)
def test_any_2xx_is_taken_and_nothing_else(
    heartbeat: Heartbeat,
    http_server: HttpServer,
    caplog: pytest.LogCaptureFixture,
    answer,
    taken: bool,
) -> None:
    http_server.answers = [answer]
    heartbeat.beat([])
    assert ("heartbeat not accepted" not in caplog.text) is taken
    assert len(http_server.requests) == 1


def test_the_url_is_never_logged(
    heartbeat: Heartbeat,
    http_server: HttpServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for answer in ((200, {}, b""), (500, {}, b""), (302, {"Location": "http://[bad"}, b"")):
        http_server.answers = [answer]
        heartbeat.beat([])
        clock.advance(timedelta(minutes=5))
    http_server.stop()
    heartbeat.beat([])
    assert "no connection to 127.0.0.1" in str([vars(record) for record in caplog.records])
    assert SECRET not in str([vars(record) for record in caplog.records])


def test_it_leaves_by_the_proxy_that_the_environment_names(
    database: Database,
    clock: FakeClock,
    http_server: HttpServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", http_server.url.removeprefix("http://"))
    config = tmp_path / "config.toml"
    config.write_text(
        '[rybbit]\napi_key = "k123456789"\n[heartbeat]\nurl = "http://beat.example/x"\n'
        '[[organizations]]\nid = "org_a"\n'
    )
    runtime = Runtime(load(config), database=database, clock=clock)
    runtime.beat()
    runtime.close(5)
    assert http_server.requests[0].path == "http://beat.example/x"
