import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import click
import httpx
import pytest

from quota_watch.cli.demo import demo
from quota_watch.cli.forecast import forecast
from quota_watch.cli.status import status
from quota_watch.demo.scenes import CASTS
from quota_watch.demo.stage import free_port
from quota_watch.lib import QuotaWatchError
from support.clock import FakeClock
from support.commands import Said, call
from support.installation import Installation
from support.played import noon

__all__ = ["noon"]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_demo_plays_keeps_its_mails_and_suggests_what_works_when_pasted(
    installation: Installation, tmp_path: Path, taken: int
) -> None:
    environ = {"TMPDIR": str(tmp_path), "NO_COLOR": "1"}
    how = ("--speed", "1000000", "--port", str(taken))
    result = installation.run("demo", *how, environ=environ)
    assert result.returncode == 0, result.stderr
    assert f"Port {taken} is taken" in result.stdout
    assert "Busy Game is over its limit" in result.stdout
    assert "blind Revoked Agency" in result.stdout
    assert result.stdout.count("100000") >= 5
    (folder,) = tmp_path.glob("quota-watch-demo-*")
    mails, pages = sorted(folder.glob("*.eml")), sorted(folder.glob("*.html"))
    assert len(mails) == len(pages) >= 5
    assert "Busy Game" in "".join(page.read_text() for page in pages)
    ids = [message_from_bytes(mail.read_bytes())["Message-ID"] for mail in mails]
    assert len(set(ids)) == len(ids)
    lines = [each.removeprefix("Try ") for each in result.stdout.splitlines() if "Try " in each[:4]]
    assert len(lines) == 4
    for line in lines:
        pasted = subprocess.run(
            shlex.split(line), env=installation.environ({}), capture_output=True, check=False
        )
        assert (pasted.returncode, pasted.stderr) == (0, b"")


def test_the_page_is_there_as_soon_as_its_address_is_told(
    installation: Installation, tmp_path: Path
) -> None:
    with subprocess.Popen(
        installation.command(["demo", "--for", "60", "--port", str(free_port(18_420))]),
        env=installation.environ({"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2]
        shown = httpx.get(url).text
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert "Growing Shop" in shown


@pytest.mark.parametrize("day", [1, 15, 31])
def test_the_demo_ends_now_whatever_the_day(day: int) -> None:
    clock = FakeClock(datetime(2026, 10, day, 13, 20, tzinfo=UTC))
    port = free_port(18_700 + 10 * day)
    said = call(demo, "--speed", "1000000", "--port", str(port), clock=clock)
    assert f"It is {day:02} October 2026, 13:20 UTC." in said.out
    config = _folder(said) / "config.toml"
    shown = call(status, "--json", clock=clock, config=config).json["organizations"]
    last_ok = {each["name"]: datetime.fromisoformat(each["last_ok"]) for each in shown}
    revoked = last_ok.pop("Revoked Agency")
    assert clock.now() - min(last_ok.values()) < timedelta(minutes=5)
    assert not any(each["interval"]["stretched"] for each in shown)
    assert clock.now() - revoked > timedelta(days=2)
    (ahead,) = call(forecast, "org_busy_game", "--json", clock=clock, config=config).json[
        "forecasts"
    ]
    assert ahead["forecast"]["p50"] > 90_000


@pytest.mark.parametrize("scene", sorted(CASTS.keys() - {"month"}))
def test_every_scene_plays_up_to_now(scene: str) -> None:
    clock = FakeClock(datetime(2026, 10, 22, 13, 20, tzinfo=UTC))
    port = free_port(18_600 + 10 * list(CASTS).index(scene))
    options = ("--scene", scene, "--speed", "1000000", "--port", str(port))
    said = call(demo, *options, clock=clock)
    assert "It is 22 October 2026, 13:20 UTC." in said.out


def test_a_database_in_use_is_refused(
    acme: Installation, postgres_url: str, noon: FakeClock
) -> None:
    acme.configure({"org_acme": 1000}, more=f'[database]\nurl = "{postgres_url}"\n')
    assert acme.run("poll").returncode == 0
    with pytest.raises(QuotaWatchError, match="name an empty database"):
        call(demo, "--postgres", postgres_url, clock=noon)


def _folder(said: Said) -> Path:
    (line,) = (each for each in said.out.splitlines() if each.startswith("config, log and mails"))
    return Path(line.partition(": ")[2])


@pytest.mark.parametrize("url", ["sqlite:///x", "nope"])
def test_only_postgresql_is_taken_as_another_database(noon: FakeClock, url: str) -> None:
    with pytest.raises(click.BadParameter, match="not a PostgreSQL database's URL"):
        call(demo, "--postgres", url, clock=noon)


def test_a_port_that_is_taken_is_passed_over(taken: int) -> None:
    assert free_port(taken) != taken
