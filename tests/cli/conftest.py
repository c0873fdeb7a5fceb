"""The installed program against real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.http import HttpServer
from support.installation import Installation, Upstream
from support.smtp import SmtpServer


@pytest.fixture
def installation(tmp_path: Path, smtp_server: SmtpServer) -> Iterator[Installation]:
    upstream = Upstream()
    server, hook = HttpServer(answers=upstream), HttpServer()
    server.start()
    hook.start()
    yield Installation(tmp_path, server, hook, smtp_server, upstream)
    server.stop()
    hook.stop()


@pytest.fixture
def acme(installation: Installation) -> Installation:
    """One organization with a limit of 1,000 events, of which 100 are used."""
    installation.upstream.used["org_acme"] = 100
    installation.configure({"org_acme": 1000})
    return installation
