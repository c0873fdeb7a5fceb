"""What is sent over a stream ends at the deadline, wherever it leads."""

import socket
import threading
from contextlib import closing

import pytest

from quota_watch.channels.channel import why_unreached
from quota_watch.lib.network import ConnectError, TimedOut, connect, deadline
from support.servers import raw_server


def greet(client: socket.socket, over: threading.Event) -> None:
    client.sendall(b"hello")
    over.wait(30)


def test_a_name_with_several_addresses_leads_to_the_one_that_listens():
    with raw_server(greet) as port, closing(connect("localhost", port)) as stream:
        assert stream.recv(5) == b"hello"


def test_waiting_for_more_ends_at_the_deadline():
    with (
        raw_server(greet) as port,
        deadline(0.2),
        closing(connect("127.0.0.1", port)) as stream,
        stream.makefile("rb") as lines,
    ):
        assert lines.read(5) == b"hello"
        with pytest.raises(TimedOut):
            lines.readline()


def test_a_host_that_does_not_answer_ends_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        with socket.create_connection(place), deadline(0.2), pytest.raises(TimedOut):
            connect(*place)


def test_when_the_time_is_up_nothing_is_begun():
    with deadline(0), pytest.raises(TimedOut):
        connect("127.0.0.1", 9)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 64 + ".example"])
def test_a_name_without_address_is_explained(host):
    with pytest.raises(ConnectError, match="the name can't be looked up: ") as caught:
        connect(host, 25)
    why = why_unreached(caught.value, place=host, seconds=1.0)
    assert why.startswith(f"no connection to {host}: the name")
