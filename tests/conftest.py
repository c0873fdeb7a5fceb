"""What tests of every area share: a clock, databases, and servers to talk to, all real."""

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, sync_playwright

from quota_watch.storage.database import Database
from support.clock import FakeClock
from support.databases import database, open_database, postgres_kept, sqlite_template
from support.http import HttpServer
from support.needs import closing_line, program, skip_what_lacks_a_program
from support.post import Post
from support.postgres import Postgres, running_postgres
from support.smtp import SmtpServer
from support.watching import RecordingChannel, Upstream

__all__ = ["database", "open_database", "postgres_kept", "sqlite_template"]

# The same examples at every run and on every machine, however slow; to look for new ones:
# pytest --hypothesis-profile=exploring
settings.register_profile(
    "repeatable",
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("exploring", deadline=None, max_examples=500)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip_what_lacks_a_program(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if line := closing_line():
        terminalreporter.write_line(line)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'quota-watch.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: the test runs on SQLite and on PostgreSQL."""
    return request.getfixturevalue(
        {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Its sandboxis not available as root; it sees our own pages alone.
        started = playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox"]
        )
        yield started
        started.close()


@pytest.fixture
def http_server() -> Iterator[HttpServer]:
    server = HttpServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def smtp_server() -> Iterator[SmtpServer]:
    server = SmtpServer()
    server.start()
    yield server
    server.stop()


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


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def channel() -> RecordingChannel:
    return RecordingChannel()
