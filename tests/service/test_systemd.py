import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from quota_watch.service.health import READY, STOPPING, Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path: Path) -> Iterator[tuple[Notifier, Callable[[], str]]]:
    """A notifier and a function that returns the next message systemd gets."""
    if request.param == "path":
        told = listened = str(tmp_path / "notify")
    else:
        name = f"quota-watch-{uuid4()}"
        told, listened = f"@{name}", f"\0{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(listened)
        sock.settimeout(5)
        yield Notifier({"NOTIFY_SOCKET": told}), lambda: sock.recv(4096).decode()


def test_ready_and_stopping_are_told(systemd) -> None:
    notifier, next_message = systemd
    notifier.send(READY)
    notifier.send(STOPPING)
    assert [next_message() for _ in range(2)] == ["READY=1", "STOPPING=1"]


def test_the_status_is_told(systemd) -> None:
    notifier, next_message = systemd
    notifier.status("3 organizations, next poll 12:00: fine and ü")
    assert next_message() == "STATUS=3 organizations, next poll 12:00: fine and ü"


def test_a_status_of_several_lines_becomes_one_and_cannot_say_more(systemd) -> None:
    notifier, next_message = systemd
    notifier.status("polling\nMAINPID=1\r\n  done")
    assert next_message() == "STATUS=polling MAINPID=1 done"


def test_reloading_tells_the_monotonic_time_in_microseconds(systemd) -> None:
    notifier, next_message = systemd
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    match = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", next_message())
    assert match is not None
    assert before <= int(match[1]) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_outside_systemd_nothing_happens(environ, caplog) -> None:
    Notifier(environ).send(READY)
    assert caplog.records == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens", "/" + "x" * 200])
def test_a_socket_that_cannot_be_reached_is_logged_once_and_never_raises(address, caplog) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    with caplog.at_level(logging.WARNING):
        notifier.send(READY)
        notifier.status("x")
    assert [record.getMessage() for record in caplog.records] == ["systemd notification failed"]


def test_a_full_queue_does_not_hold_up_the_watch(tmp_path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        notifier = Notifier({"NOTIFY_SOCKET": path})
        thread = threading.Thread(target=lambda: fill(notifier), daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()


def fill(notifier: Notifier) -> None:
    """Tell until the queue is full, which is once something could not be told."""
    while not notifier._failed:
        notifier.send(READY)


def watched_notifier(tmp_path: Path, **environ: str) -> tuple[Notifier, socket.socket]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "notify"))
    sock.setblocking(False)
    return Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environ}), sock


def test_the_watchdog_is_fed_as_often_as_it_needs_and_no_more(tmp_path: Path) -> None:
    notifier, sock = watched_notifier(tmp_path, WATCHDOG_USEC="60000000")
    with sock:
        for _ in range(100):
            notifier.alive()
        assert sock.recv(100) == b"WATCHDOG=1"
        with pytest.raises(BlockingIOError):
            sock.recv(100)


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"},
     {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}],
)  # fmt: skip
def test_a_watchdog_that_is_none_of_ours_is_not_fed(tmp_path: Path, environ) -> None:
    notifier, sock = watched_notifier(tmp_path, **environ)
    with sock:
        notifier.alive()
        with pytest.raises(BlockingIOError):
            sock.recv(100)


def test_a_long_start_asks_for_more_time_and_says_why(systemd) -> None:
    notifier, next_message = systemd
    notifier.starting("waiting for the database", seconds=60)
    assert next_message() == "EXTEND_TIMEOUT_USEC=60000000"
    assert next_message() == "STATUS=waiting for the database"
