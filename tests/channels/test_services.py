"""Webhooks in the services' formats, against a real server that answers as the services do."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from quota_watch.channels.channel import DeliveryError
from quota_watch.channels.services import Discord, PagerDuty, Slack, Teams
from quota_watch.channels.webhook import Form, OwnTemplate, WebhookChannel
from quota_watch.lib.http import Client
from quota_watch.messages.render import Renderer
from quota_watch.model.watch import Severity
from support.domain import NOON
from support.http import HttpServer
from support.samples import sample_facts
from support.telling import fired, message, tell

KEY = "R0canary0canary0canary0canary0R0"
FIRED = message(tell(fired()))
TEST = message(sample_facts(now=NOON)["test"])
RATE_LIMITED = b'{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}'


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(connections=1) as client:
        yield client


def channel(client: Client, url: str, form: Form, **changes: Any) -> WebhookChannel:
    return WebhookChannel(
        name="chat",
        url=url,
        secrets=(),
        headers={},
        min_severity=Severity.INFO,
        client=client,
        form=form,
        hidden=[KEY],
        attempt_seconds=10.0,
        **changes,
    )


@pytest.mark.parametrize(
    ("form", "status", "answer"),
    [
        (Slack(), 200, b"ok"),
        (Discord(), 204, b""),
        (Teams(), 202, b""),
        (PagerDuty(KEY), 202, b'{"status": "success", "dedup_key": "al_1"}'),
    ],
)
def test_what_each_service_answers_is_success(client, http_server, form, status, answer):
    http_server.answers = [(status, {}, answer)]
    channel(client, http_server.url, form).send(FIRED, now=NOON)
    (request,) = http_server.requests
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["webhook-id"] == "msg_1"
    assert "Acme has used 91.2 %" in str(request.json())


@pytest.mark.parametrize(
    ("form", "status", "answer", "words"),
    [
        (Slack(), 404, b"no_service", "404 Not Found: no_service"),
        (Slack(), 400, b"invalid_payload", "400 Bad Request: invalid_payload"),
        (Discord(), 404, b'{"message": "Unknown Webhook"}', "404 Not Found: Unknown Webhook"),
        (Teams(), 400, b'{"error": {"code": "TriggerInput"}}', "400 Bad Request: TriggerInput"),
        (PagerDuty(KEY), 400, b'{"message": "bad", "errors": ["short"]}', "bad; short"),
        (Form(), 404, b"canary", "404 Not Found"),
    ],
)
def test_what_a_service_says_of_a_refusal_is_told(client, http_server, form, status, answer, words):
    http_server.answers = [(status, {}, answer)]
    with pytest.raises(DeliveryError) as caught:
        channel(client, http_server.url, form).send(FIRED, now=NOON)
    assert str(caught.value).endswith(words)
    assert (caught.value.permanent, caught.value.start_late) == (False, True)


@pytest.mark.parametrize(
    ("headers", "answer", "seconds"),
    [
        ({"Retry-After": "65"}, RATE_LIMITED, 65.0),
        ({}, RATE_LIMITED, 64.57),
        ({"Retry-After": "1.337"}, RATE_LIMITED, 64.57),
        ({"Retry-After": "30"}, b"", 30.0),
    ],
)
def test_discord_may_say_in_header_or_body_how_long_to_wait(
    client, http_server, headers, answer, seconds
):
    http_server.answers = [(429, headers, answer)]
    with pytest.raises(DeliveryError) as caught:
        channel(client, http_server.url, Discord()).send(FIRED, now=NOON)
    assert (caught.value.retry_after, caught.value.start_late) == (seconds, False)


def test_a_key_that_a_service_repeats_is_not_told(client, http_server):
    http_server.answers = [(400, {}, json.dumps({"message": f"bad key {KEY}"}).encode())]
    with pytest.raises(DeliveryError) as caught:
        channel(client, http_server.url, PagerDuty(KEY)).send(FIRED, now=NOON)
    assert str(caught.value).endswith("400 Bad Request: bad key ***")


def actions(http_server: HttpServer) -> list[str]:
    return [json.loads(request.body)["event_action"] for request in http_server.requests]


def test_a_test_of_pagerduty_is_a_trigger_and_its_resolve(client, http_server):
    http_server.answers = [(202, {}, b"")]
    channel(client, http_server.url, PagerDuty(KEY)).send(TEST, now=NOON)
    assert actions(http_server) == ["trigger", "resolve"]


def test_where_the_second_of_two_requests_fails_both_are_sent_again(client, http_server):
    http_server.answers = [(202, {}, b""), (500, {}, b""), (202, {}, b"")]
    pager = channel(client, http_server.url, PagerDuty(KEY))
    with pytest.raises(DeliveryError):
        pager.send(TEST, now=NOON)
    pager.send(TEST, now=NOON)
    assert actions(http_server) == ["trigger", "resolve", "trigger", "resolve"]


def test_a_template_that_fails_later_is_tried_again_when_it_may_be_mended(client, tmp_path):
    form = OwnTemplate(Renderer(tmp_path), "my.json.j2", variables={})
    with pytest.raises(DeliveryError, match=r"webhook/my\.json\.j2: there is no file") as caught:
        channel(client, "http://127.0.0.1:9", form).send(FIRED, now=NOON)
    assert (caught.value.permanent, caught.value.start_late) == (False, True)


def test_a_webhook_behind_a_proxy_goes_through_it(http_server):
    # A proxy is asked for whole URLs; what it answers comes from the other end.
    with Client(connections=1, proxy=http_server.url) as client:
        hook = channel(client, "http://hooks.example/x", Form(), proxy=http_server.url)
        hook.send(FIRED, now=NOON)
        told = "the proxy 127.0.0.1, which leads to hooks.example, can be reached"
        assert hook.check() == f"{told} (nothing was sent)"
    (request,) = http_server.requests
    assert request.path == "http://hooks.example/x"


def test_a_proxy_that_is_not_there_is_named():
    proxy = "http://127.0.0.1:9"
    with Client(connections=1, proxy=proxy) as client:
        hook = channel(client, "http://hooks.example/x", Form(), proxy=proxy)
        for attempt in (lambda: hook.send(FIRED, now=NOON), hook.check):
            with pytest.raises(DeliveryError, match=r"no connection to the proxy 127\.0\.0\.1"):
                attempt()
