import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from quota_watch.demo.stage import free_port
from support.installation import Installation


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_demo_plays_and_keeps_its_mails(
    installation: Installation, tmp_path: Path, taken: int
) -> None:
    environ = {"TMPDIR": str(tmp_path), "NO_COLOR": "1"}
    how = ("--for", "10", "--speed", "260000", "--port", str(taken))
    result = installation.run("demo", *how, environ=environ)
    assert result.returncode == 0, result.stderr
    assert f"Port {taken} is taken" in result.stdout
    assert "Critical: Busy Game is over its limit" in result.stdout
    assert "blind Revoked Agency" in result.stdout
    assert result.stdout.count("100000") >= 5
    (folder,) = tmp_path.glob("quota-watch-demo-*")
    mails, pages = sorted(folder.glob("*.eml")), sorted(folder.glob("*.html"))
    assert len(mails) == len(pages) >= 5
    assert "Busy Game" in "".join(page.read_text() for page in pages)


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


def test_a_port_that_is_taken_is_passed_over(taken: int) -> None:
    assert free_port(taken) != taken
