"""A secret that stands anywhere in a config comes out nowhere: looked for in all there is."""

import json
import re
from collections.abc import Iterator
from typing import get_type_hints

import pytest

from quota_watch.config import load
from quota_watch.config.settings import all_secrets
from quota_watch.config.tables import Section
from support.http import Answer, HttpServer, Request
from support.installation import Installation
from support.sections import CHANNELS, SECTIONS

SIGNING = "Y2FuYXJ5LXNpZ25pbmctc2VjcmV0LTEyMzQ="
WORDS = (b"canary-", SIGNING.encode(), SIGNING.rstrip("=").encode())
ELSEWHERE = {"database.url", "web.token", "channels.routing_key"}
"""Secret keys that this installation can't do with: see the tests of each."""


def secret_keys(model: type[Section], place: str) -> Iterator[str]:
    for name, kind in get_type_hints(model, include_extras=True).items():
        if "Secret" in str(kind):
            yield f"{place}.{name}"


@pytest.fixture
def heard() -> Iterator[HttpServer]:
    server = HttpServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def secretive(installation: Installation, heard: HttpServer) -> Installation:
    """An installation whose config holds every secret itself, and whose servers tell tales."""
    proxy = installation.server.url.replace("http://", "http://user:canary-proxy@")
    text = f"""
[rybbit]
base_url = "{installation.server.url}"
api_key = "canary-key"
proxy = "{proxy}"
[poll]
interval = "1s"
[alerts]
blind = "1s"
[[organizations]]
id = "org_good"
limit = 1000
[[organizations]]
id = "org_bad"
limit = 1000
api_key = "canary-own-key"
[channels.ops]
type = "email"
to = ["ops@example.com"]
[channels.hook]
type = "webhook"
url = "{installation.hook.url}/canary-path?token=canary-query"
secret = "whsec_{SIGNING}"
headers = {{ Authorization = "Bearer canary-header" }}
[smtp]
host = "{installation.smtp.host}"
port = {installation.smtp.port}
security = "none"
from = "quota-watch@example.com"
username = "watch"
password = "canary-password"
[heartbeat]
url = "{heard.url}/canary-heartbeat"
interval = "1s"
"""
    path = installation.folder / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    installation.upstream.used["org_good"] = 950
    installation.server.answers = lambda request: tell_tales(installation, request)
    installation.hook.answers = tell_back
    return installation


def tell_tales(installation: Installation, request: Request) -> Answer:
    """Answer for the good one; for the other one say what key was sent."""
    if "org_good" not in request.path:
        return 403, {}, json.dumps({"error": str(request.headers)}).encode()
    request.headers.replace_header("Authorization", "Bearer canary-key-4f1d9c2b7a")
    return installation.upstream(request)


def tell_back(request: Request) -> Answer:
    """Refuse, and say what was asked and with what headers."""
    return 500, {}, f"{request.path} {request.headers}".encode()


def test_the_config_of_this_test_holds_every_secret_there_is(secretive: Installation) -> None:
    config = load(secretive.folder / "config.toml")
    tables = {**SECTIONS, "channels": CHANNELS["webhook"]}
    held = [key for name in tables for key, _ in all_secrets(getattr(config, name), name)]
    names = {re.sub(r"\[\d+\][^.]*|\.hook|\.Authorization", "", key) for key in held}
    wanted = {key for name, model in tables.items() for key in secret_keys(model, name)}
    assert wanted - ELSEWHERE <= names


def test_no_secret_comes_out_anywhere(secretive: Installation, heard: HttpServer) -> None:
    process = secretive.start("-v", "--log-format", "json", "run")
    heard.wait_for(1)
    secretive.hook.wait_for(2)
    process.terminate()
    assert process.wait(15) == 0
    secretive.hook.answers = [(200, {}, b"")]
    printed = [
        secretive.run("-v", *command.split())
        for command in (
            "poll",
            "check --json",
            "deliveries --json",
            "test-alert hook --json",
        )
    ]
    shown = [secretive.log, *(each.stdout + each.stderr for each in printed)]
    sent = [request.body for request in secretive.hook.requests]
    assert "canary-heartbeat" in heard.requests[0].path
    assert "org_bad" in shown[0]
    assert len(sent) > 2
    for place in (*(text.encode() for text in shown), *sent, secretive.everything_written()):
        assert [word for word in WORDS if word in place] == []


def test_no_error_shows_the_password_of_a_database(secretive: Installation) -> None:
    config = secretive.folder / "config.toml"
    url = "postgresql://watch:canary-database@127.0.0.1:1/quota?sslpassword=canary-key"
    config.write_text(f'{config.read_text()}[database]\nurl = "{url}"\n')
    result = secretive.run("-v", "poll")
    assert "127.0.0.1" in result.stderr
    assert "canary-" not in result.stdout + result.stderr
