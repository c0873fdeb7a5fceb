import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from quota_watch.channels.channel import WEBHOOK_RETRIES, DeliveryError
from quota_watch.channels.webhook import Form, WebhookChannel, compact
from quota_watch.config.values import InvalidValueError
from quota_watch.lib import http
from quota_watch.lib.http import Client, seconds_until
from quota_watch.lib.network import trust
from quota_watch.model.watch import Severity
from support.domain import NOON
from support.http import HttpServer
from support.servers import raw_server, shut
from support.telling import fired, message, tell

OLD, NEW = (
    "whsec_" + base64.b64encode(text).decode()
    for text in (b"canary-old-secret-of-the-hook", b"canary-new-secret-of-the-hook")
)
FACTS = tell(fired()).to_json()
MESSAGE = message(tell(fired()))


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(connections=2) as client:
        yield client


def channel(client: Client, url: str, **changes: Any) -> WebhookChannel:
    values: dict[str, Any] = {
        "name": "hook",
        "url": url,
        "secrets": (),
        "headers": {},
        "min_severity": Severity.INFO,
        "client": client,
        "form": Form(),
        "attempt_seconds": 10.0,
    }
    return WebhookChannel(**(values | changes))


def failure(of: WebhookChannel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        of.send(MESSAGE, now=NOON)
    return caught.value


def answering(client, http_server: HttpServer, status: int, **headers: str) -> DeliveryError:
    """Return how a delivery fails at a receiver that answers so."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    http_server.answers = [(status, named, b"canary-echo")]
    return failure(channel(client, f"{http_server.url}/canary-path?canary-query"))


def test_the_facts_arrive_as_they_are(client, http_server):
    channel(client, f"{http_server.url}/hook?x=1").send(MESSAGE, now=NOON)
    (request,) = http_server.requests
    assert (request.method, request.path) == ("POST", "/hook?x=1")
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"].startswith("quota-watch/")
    assert request.headers["webhook-id"] == "msg_1"
    assert request.headers["webhook-timestamp"] == str(int(NOON.timestamp()))
    assert request.headers["webhook-signature"] is None
    assert request.json() == FACTS


def test_a_channel_says_what_the_outbox_asks(client):
    hook = channel(client, "https://example.com/hook")
    assert (hook.name, hook.recipients) == ("hook", ("",))
    assert (hook.takes_period_ends, hook.batches) == (True, False)
    assert hook.retries is WEBHOOK_RETRIES


@pytest.mark.parametrize("secrets", [(OLD,), (OLD, NEW)])
def test_the_reference_verifier_accepts_each_secret(client, http_server, secrets):
    signed = channel(client, http_server.url, secrets=secrets)
    signed.send(MESSAGE, now=datetime.now(UTC))
    (request,) = http_server.requests
    assert len(request.headers["webhook-signature"].split()) == len(secrets)
    for secret in secrets:
        assert Webhook(secret).verify(request.body, dict(request.headers.items())) == FACTS


def test_a_retry_has_the_same_body_and_id_but_its_own_time(client, http_server):
    hook = channel(client, http_server.url, secrets=(OLD,))
    hook.send(MESSAGE, now=NOON)
    stored = json.loads(json.dumps(dict(reversed(FACTS.items()))))
    hook.send(replace(MESSAGE, bodies=(stored,)), now=NOON + timedelta(minutes=5))
    first, second = http_server.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 300
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_headers_of_the_config_are_sent(client, http_server):
    channel(client, http_server.url, headers={"Authorization": "Bearer t"}).send(MESSAGE, now=NOON)
    assert http_server.requests[0].headers["Authorization"] == "Bearer t"


def test_headers_of_the_config_cannot_replace_the_signature(client, http_server):
    odd = {"Webhook-Id": "other", "webhook-signature": "v1,x", "content-type": "text/plain"}
    channel(client, http_server.url, headers=odd, secrets=(OLD,)).send(MESSAGE, now=NOON)
    headers = http_server.requests[0].headers
    assert headers.get_all("webhook-id") == ["msg_1"]
    assert headers.get_all("content-type") == ["application/json"]
    assert len(headers.get_all("webhook-signature")) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_success(client, http_server, status):
    http_server.answers = [(status, {}, b"")]
    channel(client, http_server.url).send(MESSAGE, now=NOON)


@pytest.mark.parametrize(
    ("status", "permanent", "start_late"),
    [
        (301, False, True),
        (302, False, True),
        (304, False, True),
        (307, False, True),
        (400, False, True),
        (401, False, True),
        (403, False, True),
        (404, False, True),
        (405, False, True),
        (408, False, False),
        (410, True, True),
        (413, True, True),
        (422, False, True),
        (425, False, False),
        (429, False, False),
        (500, False, False),
        (502, False, False),
        (503, False, False),
        (504, False, False),
        (599, False, False),
        (700, False, False),
    ],
)
def test_each_status_has_its_own_patience(client, http_server, status, permanent, start_late):
    error = answering(client, http_server, status)
    assert error.status == status
    assert error.permanent is permanent
    if not permanent:
        assert error.start_late is start_late


def test_an_error_names_host_and_status_and_nothing_else(client, http_server):
    error = answering(client, http_server, 404, x_echo="canary-header")
    assert str(error) == "127.0.0.1 answered 404 Not Found"
    assert "canary" not in repr(error.__dict__)


def test_a_redirect_is_not_followed(client, http_server):
    error = answering(client, http_server, 307, Location=f"{http_server.url}/elsewhere")
    assert error.status == 307
    assert len(http_server.requests) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        (format_datetime(NOON + timedelta(minutes=2)), 120.0),
        ("Sun, 15 Mar 2026 12:02:00 GMT", 120.0),
        ("Sun, 15 Mar 2026 12:02:00 -0000", 120.0),
        ("Sun, 15 Mar 2026 11:00:00 GMT", 0.0),
        ("9" * 5000, 999_999_999.0),
        ("-5", None),
        ("1.5", 1.5),
        ("1800.497", 1800.497),
        ("²", None),
        ("soon", None),
        ("Sun, 99 Mar 2026 12:02:00 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text, seconds):
    assert seconds_until(text, NOON) == seconds


@given(st.text())
def test_any_retry_after_is_seconds_or_nothing(text):
    seconds = seconds_until(text, NOON)
    assert seconds is None or seconds >= 0


def test_retry_after_is_told_with_the_error(client, http_server):
    error = answering(client, http_server, 503, Retry_After="90")
    assert (error.retry_after, error.start_late) == (90.0, False)


def test_nobody_listening_is_tried_again_from_the_first_step(client):
    with raw_server(silent) as port:
        pass
    error = failure(channel(client, f"http://127.0.0.1:{port}/canary"))
    assert (error.permanent, error.start_late, error.status) == (False, False, None)
    assert str(error) == "no connection to 127.0.0.1: Connection refused"


def test_a_host_without_address_is_tried_again(client):
    error = failure(channel(client, "http://no-such-host.invalid/canary"))
    assert not error.permanent
    assert "no-such-host.invalid" in str(error)
    assert "canary" not in str(error)


def silent(client: socket.socket, over: threading.Event) -> None:
    over.wait(30)


def trickling(client: socket.socket, over: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nx: ")
    while not over.wait(0.02):
        client.sendall(b"y")


def hanging_up(client: socket.socket, over: threading.Event) -> None:
    client.recv(100)
    shut(client)


@pytest.mark.parametrize("script", [silent, trickling])
def test_a_receiver_that_stalls_or_trickles_ends_at_the_deadline(client, script):
    with raw_server(script) as port:
        error = failure(channel(client, f"http://127.0.0.1:{port}", attempt_seconds=0.3))
    assert not error.permanent
    assert str(error) == "127.0.0.1 did not answer within 0.3 seconds"


def test_a_receiver_that_hangs_up_is_tried_again(client):
    with raw_server(hanging_up) as port:
        error = failure(channel(client, f"http://127.0.0.1:{port}"))
    assert (error.permanent, error.start_late) == (False, False)
    assert str(error).startswith("the exchange with 127.0.0.1 was interrupted (")


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n"


def endless(client: socket.socket, over: threading.Event) -> None:
    client.recv(100_000)
    client.sendall(HEAD)
    while not over.is_set():
        client.sendall(b"x" * 65_536)


def cut_short(client: socket.socket, over: threading.Event) -> None:
    client.recv(100_000)
    client.sendall(HEAD + b"x")


@pytest.mark.parametrize("script", [endless, cut_short])
def test_once_the_status_is_2xx_the_answers_body_changes_nothing(client, script):
    with raw_server(script) as port:
        channel(client, f"http://127.0.0.1:{port}").send(MESSAGE, now=NOON)


def test_a_slow_body_after_the_status_is_not_waited_for(client):
    def slow(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(100_000)
        connection.sendall(HEAD)
        over.wait(30)

    with raw_server(slow) as port:
        channel(client, f"http://127.0.0.1:{port}", attempt_seconds=0.3).send(MESSAGE, now=NOON)


def test_a_bad_secret_is_refused_at_once(client):
    with pytest.raises(InvalidValueError):
        channel(client, "https://example.com", secrets=("whsec_",))


def test_the_body_is_the_same_however_its_keys_are_ordered():
    assert compact({"b": 1, "a": {"d": "é", "c": None}}) == b'{"a":{"c":null,"d":"\\u00e9"},"b":1}'


def test_check_connects_but_sends_nothing(client):
    heard = []
    done = threading.Event()

    def listen(connection: socket.socket, over: threading.Event) -> None:
        heard.append(connection.recv(100))
        done.set()

    with raw_server(listen) as port:
        hook = channel(client, f"http://127.0.0.1:{port}/canary")
        assert hook.check() == "127.0.0.1 can be reached (nothing was sent)"
        assert done.wait(10)
    assert heard == [b""]


def test_check_shakes_hands_over_tls(client, certificates):
    with raw_server(certificates.accept) as port:
        url = f"https://127.0.0.1:{port}"
        trusting = channel(client, url, tls=certificates.client)
        assert "can be reached" in trusting.check()
        with pytest.raises(DeliveryError, match=r"certificate of 127\.0\.0\.1 was rejected"):
            channel(client, url).check()


def test_a_private_authority_of_the_environment_is_trusted(tmp_path, monkeypatch):
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setattr(http, "usual_certificates", trust)  # not those of an earlier test

    def answer(plain: socket.socket, over: threading.Event) -> None:
        with server.wrap_socket(plain, server_side=True) as secure:
            while piece := secure.recv(100_000):
                if piece.endswith(b"}"):  # the body's end: who hangs up earlier is not heard
                    secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with raw_server(answer) as port, Client(connections=1) as trusting:
        hook = channel(trusting, f"https://127.0.0.1:{port}")
        assert "can be reached" in hook.check()
        hook.send(MESSAGE, now=NOON)


def test_check_says_that_nobody_listens(client):
    with raw_server(silent) as port:
        pass
    with pytest.raises(DeliveryError, match=r"no connection to 127\.0\.0\.1: Connection refused"):
        channel(client, f"http://127.0.0.1:{port}").check()


def test_check_ends_at_the_deadline(client):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        with (
            socket.create_connection((host, port)),
            pytest.raises(DeliveryError, match=r"did not answer within 0\.2 seconds"),
        ):
            channel(client, f"http://{host}:{port}", attempt_seconds=0.2).check()


def test_check_does_not_wait_for_a_handshake_that_never_comes(client, certificates):
    with raw_server(silent) as port:
        url, tls = f"https://127.0.0.1:{port}", certificates.client
        with pytest.raises(DeliveryError, match=r"did not answer within 0\.2 seconds"):
            channel(client, url, tls=tls, attempt_seconds=0.2).check()


def test_a_certificate_nobody_vouches_for_is_tried_again(client, certificates):
    with raw_server(certificates.accept) as port:
        error = failure(channel(client, f"https://127.0.0.1:{port}/canary"))
    assert (error.permanent, error.start_late) == (False, False)
    assert str(error).startswith("the certificate of 127.0.0.1 was rejected: ")


@pytest.mark.parametrize("location", ["http://[::", "//", "http://a:b:c", "\xff\xfe", "canary:x"])
def test_a_redirect_to_nowhere_is_tried_again(client, http_server, location):
    error = answering(client, http_server, 302, Location=location)
    assert not error.permanent
    assert location not in str(error)
