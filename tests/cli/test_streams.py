"""Streams that are closed, or that can't show every letter."""

import json
import re
import subprocess

import pytest

from quota_watch.cli.context import print_table
from support.installation import Installation
from support.terminal import printed_on_terminal

HORSE = "Žluť 🐎"


def shell(installation: Installation, command: str, **environ: str) -> subprocess.CompletedProcess:
    """Run a command line in which `$QW` stands for the program."""
    program = " ".join(installation.command([]))
    return subprocess.run(
        ["/bin/sh", "-c", command.replace("$QW", program)],
        cwd=installation.folder,
        env=installation.environ(environ),
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_reason_to_stop(acme: Installation, closed) -> None:
    acme.upstream.used["org_acme"] = 912
    assert shell(acme, f"$QW poll {closed}").returncode == 0
    assert len(acme.hook.requests) == 1
    assert acme.json("status")["organizations"][0]["used"] == 912


def test_what_a_terminal_can_not_show_is_replaced(installation: Installation) -> None:
    named(installation)
    for command in ("poll", "status", "forecast org_acme", "history org_acme", "check --offline"):
        result = shell(installation, f"$QW {command}", PYTHONIOENCODING="latin-1:strict")
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("encoding", ["latin-1:strict", "ascii", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("status --json", "organizations"),
        ("forecast org_acme --json", "forecasts"),
        ("export --format json", "history"),
        ("export --format jsonl", None),
    ],
)
def test_json_is_whole_whatever_the_output_can_show(
    installation: Installation, encoding, command, key
) -> None:
    named(installation)
    shell(installation, "$QW poll")
    result = shell(installation, f"$QW {command}", PYTHONIOENCODING=encoding)
    text = result.stdout.decode(encoding.partition(":")[0])
    answer = json.loads(text.splitlines()[0] if key is None else text)
    assert (answer if key is None else answer[key][0])["name"] == HORSE


def named(installation: Installation) -> None:
    """Watch an organization whose name few encodings can write."""
    installation.upstream.used["org_acme"] = 1
    installation.configure({"org_acme": 1000})
    config = installation.folder / "config.toml"
    config.write_text(config.read_text().replace("limit = 1000", f'limit = 1000\nname = "{HORSE}"'))


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_table_keeps_its_last_column_whatever_is_long(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [("2026-03-15 12:00Z", "a title " * 20, "ops@example.com")]
    lines = printed_on_terminal(lambda: print_table(("when", "what", "to"), rows))
    assert any("ops@example.com" in line for line in lines)
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in lines) <= columns
