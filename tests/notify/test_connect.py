import socket
import threading

import pytest

from notify.servers import raw_server
from quota_watch.notify.connect import Deadline, explain


def greet(client: socket.socket, over: threading.Event) -> None:
    client.sendall(b"hello")
    over.wait(30)


def test_a_name_with_several_addresses_leads_to_the_one_that_listens():
    with (
        raw_server(greet) as port,
        Deadline(10) as deadline,
        deadline.connect("localhost", port) as connection,
    ):
        assert connection.recv(5) == b"hello"


def test_a_connection_is_shut_when_the_time_is_up():
    with (
        raw_server(greet) as port,
        Deadline(0.2) as deadline,
        deadline.connect("127.0.0.1", port) as connection,
    ):
        connection.settimeout(30)
        connection.recv(5)
        assert connection.recv(1) == b""
        assert deadline.is_over


def test_a_second_handle_does_not_keep_a_closed_connection_open():
    hung_up = threading.Event()

    def wait_for_end(client: socket.socket, over: threading.Event) -> None:
        client.recv(1)
        hung_up.set()

    with raw_server(wait_for_end) as port:
        with Deadline(30) as deadline:
            deadline.connect("127.0.0.1", port).close()
        assert hung_up.wait(10)


def test_a_host_that_does_not_answer_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        with socket.create_connection(place), Deadline(0.2) as deadline:
            with pytest.raises(TimeoutError) as caught:
                deadline.connect(*place)
            text = explain(caught.value, "it", deadline=deadline)
            assert text == "it did not answer within 0.2 seconds"


def test_when_the_time_is_up_nothing_is_begun():
    with Deadline(0) as deadline, pytest.raises(TimeoutError):
        deadline.connect("127.0.0.1", 9)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".example"])
def test_a_name_without_address_is_explained(host):
    with Deadline(30) as deadline:
        with pytest.raises(OSError, match="the name can't be looked up: ") as caught:
            deadline.connect(host, 25)
        assert explain(caught.value, host, deadline=deadline).startswith(f"no connection to {host}")
