"""apprise against a real HTTP server, with one of its own URLs for JSON."""

import logging
import socket
import threading
import traceback
from dataclasses import replace

import pytest

from quota_watch.channels.apprise import AppriseChannel
from quota_watch.channels.channel import WEBHOOK_RETRIES, DeliveryError
from quota_watch.config.values import InvalidValueError
from quota_watch.model.watch import Severity
from support.domain import NOON
from support.http import HttpServer
from support.samples import sample_facts
from support.servers import raw_server
from support.telling import fired, message, tell

CANARY = "canary-7d21"
MESSAGE = message(tell(fired()))


def channel(port: int, *, seconds: float = 10.0) -> AppriseChannel:
    return AppriseChannel(
        name="phone",
        url=f"json://user:{CANARY}@127.0.0.1:{port}/{CANARY}/?+X-Token={CANARY}",
        min_severity=Severity.INFO,
        attempt_seconds=seconds,
    )


def port_of(server: HttpServer) -> int:
    return int(server.url.rpartition(":")[2])


def test_title_and_text_arrive(http_server):
    channel(port_of(http_server)).send(MESSAGE, now=NOON)
    (request,) = http_server.requests
    body = request.json()
    assert request.path.rstrip("/") == f"/{CANARY}"
    assert body["title"] == "Warning: Acme has used 91.2 % of its 100,000 events"
    assert "Upgrade the plan at https://app.rybbit.io." in body["message"]
    assert body["type"] == "warning"


def test_several_facts_are_one_message(http_server):
    samples = sample_facts(now=NOON)
    facts = (samples["dropping"], samples["blind"])
    sent = message(*facts)
    channel(port_of(http_server)).send(sent, now=NOON)
    (request,) = http_server.requests
    assert request.json()["title"].endswith("(and 1 more)")
    assert request.json()["type"] == "failure"
    for each in facts:
        assert each.alert.title in request.json()["title"] + request.json()["message"]


def test_a_name_of_markup_is_only_text(http_server):
    facts = tell(fired())
    facts = replace(facts, alert=replace(facts.alert, title="<b>*x*</b>\r\nBcc: a@b.c"))
    channel(port_of(http_server)).send(message(facts, id="m"), now=NOON)
    assert "<b>*x*</b> Bcc: a@b.c" in http_server.requests[0].json()["title"]


def test_a_channel_says_what_the_outbox_asks():
    phone = channel(1)
    assert (phone.name, phone.recipients) == ("phone", ("",))
    assert (phone.batches, phone.takes_period_ends) == (True, False)
    assert phone.retries is WEBHOOK_RETRIES


def failure(of: AppriseChannel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        of.send(MESSAGE, now=NOON)
    return caught.value


@pytest.mark.parametrize("status", [400, 410, 500])
def test_a_refusal_is_tried_again_and_no_log_shows_the_url(http_server, caplog, capfd, status):
    caplog.set_level(logging.DEBUG)
    http_server.answers = [(status, {}, b"")]
    error = failure(channel(port_of(http_server)))
    assert str(error) == "JSON did not accept the message (apprise gives no reason)"
    assert (error.permanent, error.start_late) == (False, False)
    shown = "".join([*traceback.format_exception(error), caplog.text, *capfd.readouterr()])
    assert CANARY not in shown


def test_nobody_listening_shows_no_url_either(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with raw_server(lambda *_: None) as port:
        pass
    assert "did not accept the message" in str(failure(channel(port)))
    assert CANARY not in "".join([caplog.text, *capfd.readouterr()])


def test_an_attempt_that_hangs_ends_at_the_deadline_and_none_joins_it():
    asked = []

    def hang(client: socket.socket, over: threading.Event) -> None:
        asked.append(client)
        over.wait(30)

    with raw_server(hang) as port:
        phone = channel(port, seconds=0.3)
        assert str(failure(phone)) == "JSON did not answer within 0.3 seconds"
        assert str(failure(phone)) == "an earlier attempt to reach JSON is still hanging"
    assert len(asked) == 1


def test_what_got_through_after_its_deadline_is_not_sent_again(http_server):
    let_go = threading.Event()

    def answer(_):
        let_go.wait(10)
        return 200, {}, b""

    http_server.answers = answer
    phone = channel(port_of(http_server), seconds=0.2)
    failure(phone)
    let_go.set()
    phone._attempt.join(10)
    phone.send(MESSAGE, now=NOON)
    assert len(http_server.requests) == 1
    phone.send(message(*MESSAGE.facts, id="msg_2"), now=NOON)
    assert len(http_server.requests) == 2


def test_check_names_the_service_and_sends_nothing(http_server):
    said = channel(port_of(http_server)).check()
    assert said.startswith("the URL is one for JSON (nothing was sent")
    assert http_server.requests == []


@pytest.mark.parametrize("url", [f"nothing://{CANARY}", f"tgram://{CANARY}"])
def test_a_url_that_apprise_does_not_understand_is_refused_unseen(url, caplog):
    with pytest.raises(InvalidValueError, match="not a URL that apprise understands") as caught:
        AppriseChannel(name="phone", url=url, min_severity=Severity.INFO)
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_no_text_of_a_channel_shows_its_url():
    phone = channel(1)
    assert CANARY not in f"{phone!r}{phone}"
