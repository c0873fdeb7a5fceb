"""A signal that comes while Python still imports is a signal like any other."""

import signal
import subprocess
import sys

import pytest

STOPS_ITSELF = """
import os, signal, sys
class Early:
    def find_spec(self, name, path=None, target=None):
        if name == "quota_watch.cli.app":
            os.kill(os.getpid(), {signal})
            print("went on", flush=True)
sys.meta_path.insert(0, Early())
from quota_watch.cli import main
main({args})
"""


def start(number: signal.Signals, *args: str) -> subprocess.CompletedProcess[str]:
    code = STOPS_ITSELF.format(signal=int(number), args=args)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_told_to_stop_while_it_starts_ends_with_0(number: signal.Signals) -> None:
    ended = start(number, "run")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_daemon_told_to_reload_while_it_starts_goes_on() -> None:
    assert start(signal.SIGHUP, "run", "--help").stdout.startswith("went on")


def test_another_command_ends_by_the_signal() -> None:
    assert start(signal.SIGTERM, "status").returncode == -signal.SIGTERM


def test_another_command_interrupted_while_it_starts_ends_with_130() -> None:
    ended = start(signal.SIGINT, "status")
    assert (ended.returncode, ended.stderr) == (130, "")
