import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trustme

from notify.posting import Post
from quota_watch.storage.database import Database
from support.clock import FakeClock
from support.databases import database, open_database, postgres_kept, sqlite_template

__all__ = ["certificates", "database", "open_database", "postgres_kept", "sqlite_template"]


@dataclass(frozen=True)
class Certificates:
    """A server's certificate for 127.0.0.1, and a client that trusts who signed it."""

    server: ssl.SSLContext
    client: ssl.SSLContext

    def accept(self, plain: socket.socket, over: threading.Event) -> None:
        """Shake hands with a client and hang up."""
        self.server.wrap_socket(plain, server_side=True).close()


@pytest.fixture(scope="session")
def certificates() -> Certificates:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificates(server, client)


@pytest.fixture
def post(database: Database, clock: FakeClock) -> Iterator[Post]:
    post = Post(database, clock)
    yield post
    post.outbox.stop()
    assert post.outbox.wait_until_idle(10)
