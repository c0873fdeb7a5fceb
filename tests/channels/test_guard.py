import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from quota_watch.channels.channel import no_connection
from quota_watch.channels.smtp import SocketGuard
from support.servers import raw_server


@contextmanager
def guarded(seconds: float) -> Iterator[SocketGuard]:
    with closing(SocketGuard(seconds)) as guard, guard:
        yield guard


def greet(client: socket.socket, over: threading.Event) -> None:
    client.sendall(b"hello")
    over.wait(30)


def test_a_name_with_several_addresses_leads_to_the_one_that_listens():
    with (
        raw_server(greet) as port,
        guarded(10) as guard,
        guard.connect("localhost", port) as connection,
    ):
        assert connection.recv(5) == b"hello"


def test_a_connection_is_shut_when_the_time_is_up():
    with (
        raw_server(greet) as port,
        guarded(0.2) as guard,
        guard.connect("127.0.0.1", port) as connection,
    ):
        connection.settimeout(30)
        connection.recv(5)
        assert connection.recv(1) == b""
        assert guard.is_over


def test_a_second_handle_does_not_keep_a_closed_connection_open():
    hung_up = threading.Event()

    def wait_for_end(client: socket.socket, over: threading.Event) -> None:
        client.recv(1)
        hung_up.set()

    with raw_server(wait_for_end) as port:
        with guarded(30) as guard:
            guard.connect("127.0.0.1", port).close()
        assert hung_up.wait(10)


def test_a_host_that_does_not_answer_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        with (
            socket.create_connection(place),
            guarded(0.2) as guard,
            pytest.raises(TimeoutError),
        ):
            guard.connect(*place)


def test_when_the_time_is_up_nothing_is_begun():
    with guarded(0) as guard, pytest.raises(TimeoutError):
        guard.connect("127.0.0.1", 9)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".example"])
def test_a_name_without_address_is_explained(host):
    with guarded(30) as guard:
        with pytest.raises(OSError, match="the name can't be looked up: ") as caught:
            guard.connect(host, 25)
        assert no_connection(host, caught.value).startswith(f"no connection to {host}: the name")
