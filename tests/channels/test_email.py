import base64
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from quota_watch.channels.channel import EMAIL_RETRIES, DeliveryError
from quota_watch.channels.email import EmailChannel
from quota_watch.channels.smtp import own_name
from quota_watch.config.secrets import Secret
from quota_watch.messages.facts import Message
from quota_watch.messages.render import Renderer
from quota_watch.messages.silence_link import SilenceLinks
from quota_watch.model.watch import Severity
from support.domain import ACME, NOON
from support.servers import (
    DRIP,
    DROP,
    HANG,
    PASSWORD,
    USER,
    Dialogue,
    MailServer,
    mail_server,
    raw_server,
)
from support.telling import fired, message, tell

MESSAGE = message(tell(fired()), id="msg_1", recipient="anna@example.com")


def channel(port: int, **changes: Any) -> EmailChannel:
    values: dict[str, Any] = {
        "name": "ops",
        "recipients": ("anna@example.com", "ben@example.com"),
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "username": None,
        "password": None,
        "from_address": "Quota Watch <quota-watch@example.com>",
        "reply_to": None,
        "min_severity": Severity.INFO,
        "renderer": Renderer(),
        "attempt_seconds": 10.0,
    }
    return EmailChannel(**(values | changes))


def send(of: EmailChannel, message: Message = MESSAGE, now: datetime = NOON) -> None:
    try:
        of.send(message, now=now)
    finally:
        of.rest()


def failure(of: EmailChannel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        send(of)
    return caught.value


def failure_of(answers: dict[str, str], **changes: Any) -> DeliveryError:
    """Return how a mail fails at a server that answers so."""
    with raw_server(Dialogue(answers)) as port:
        return failure(channel(port, **changes))


def content(server: MailServer) -> EmailMessage:
    (envelope,) = server.envelopes
    assert envelope.content is not None
    mail = message_from_bytes(bytes(envelope.content), policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


def test_a_mail_arrives_at_its_one_recipient():
    with mail_server() as server:
        send(channel(server.port), MESSAGE)
        mail = content(server)
        assert server.envelopes[0].mail_from == "quota-watch@example.com"
        assert server.envelopes[0].rcpt_tos == ["anna@example.com"]
        assert mail["To"] == "anna@example.com"
        assert mail["Message-ID"] == "<msg_1@example.com>"
        assert mail["Subject"].startswith("Warning: Acme has used 91.2 %")


def test_each_reader_gets_a_link_of_their_own_to_silence_the_alert():
    made = SilenceLinks(
        public_url="https://quota.example.com",
        credentials={ACME: Secret("rb_0123456789abcdefghijklmnop")},
    )
    for reader in ("anna@example.com", "ben@example.com"):
        with mail_server() as server:
            note = message(tell(fired()), id="msg_1", recipient=reader)
            send(channel(server.port, silence_links=made), note)
            parts = [part.get_content() for part in content(server).iter_parts()]
        for part in parts:
            (token,) = re.findall(r"https://quota.example.com/silence/([\w.-]+)", part)
            assert made.read(token).address == reader


def test_a_channel_says_what_the_outbox_asks():
    ops = channel(25)
    assert ops.name == "ops"
    assert ops.recipients == ("anna@example.com", "ben@example.com")
    assert ops.retries is EMAIL_RETRIES
    assert (ops.takes_period_ends, ops.batches) == (False, True)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_encrypted_with_a_login(certificates, security):
    tls = {"tls" if security == "tls" else "starttls": certificates.server}
    with mail_server(**tls, login=True) as server:
        secure = channel(
            server.port,
            security=security,
            username=USER,
            password=PASSWORD,
            tls=certificates.client,
        )
        send(secure)
        assert server.logins == 1
        assert content(server)["Message-ID"] == "<msg_1@example.com>"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_nobody_vouches_for_is_refused(certificates, security):
    tls = {"tls" if security == "tls" else "starttls": certificates.server}
    with mail_server(**tls) as server:
        error = failure(channel(server.port, security=security, username=USER, password=PASSWORD))
        assert "certificate of the mail server 127.0.0.1" in str(error)
        assert not error.permanent
        assert server.logins == 0


def test_a_certificate_for_another_host_is_refused(certificates):
    with mail_server(starttls=certificates.server) as server:
        error = failure(
            channel(server.port, host="localhost", security="starttls", tls=certificates.client)
        )
        assert "certificate" in str(error)


def test_tls_to_a_server_that_speaks_none_is_explained():
    error = failure_of({"HELLO": "220 ready"}, security="tls")
    assert str(error).startswith("no TLS with the mail server 127.0.0.1:")
    assert not error.permanent


def test_without_starttls_nothing_is_sent_in_clear():
    with mail_server() as server:
        error = failure(channel(server.port, security="starttls", username=USER, password=PASSWORD))
        assert "STARTTLS extension not supported" in str(error)
        assert (server.logins, server.envelopes) == (0, [])


def test_a_refused_login_is_retried_and_does_not_show_the_password(certificates):
    with mail_server(starttls=certificates.server, login=True) as server:
        error = failure(
            channel(
                server.port,
                security="starttls",
                username=USER,
                password="canary-wrong",
                tls=certificates.client,
            )
        )
        assert (error.status, error.permanent) == (535, False)
        assert "refused the login: 535" in str(error)
        assert "canary" not in str(error)


def echoes() -> list[str]:
    plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    return [PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), plain]


@pytest.mark.parametrize("echo", echoes())
def test_a_server_that_repeats_the_password_is_not_quoted_with_it(echo):
    answers = {"EHLO": "250 AUTH PLAIN", "AUTH": f"535 {'x' * 170} you said {echo}"}
    answers["EHLO"] = "250-here\r\n250 AUTH PLAIN"
    error = failure_of(answers, username=USER, password=PASSWORD)
    assert error.status == 535
    assert "you said" in str(error)
    assert not [part for part in (echo, PASSWORD[:6], echo[-8:]) if part in str(error)]


@pytest.mark.parametrize(
    ("verb", "answer", "permanent"),
    [
        ("HELLO", "421 too many connections", False),
        ("HELLO", "554 go away", False),
        ("HELO", "421 shutting down", False),
        ("HELO", "550 go away", False),
        ("MAIL", "450 later", False),
        ("MAIL", "553 sender not allowed", False),
        ("RCPT", "421 shutting down", False),
        ("RCPT", "450 greylisted", False),
        ("RCPT", "550 no such user", True),
        ("DATA", "451 disk full", False),
        ("DATA", "554 no", True),
        (".", "451 try later", False),
        (".", "552 too big", True),
    ],
)
def test_only_5xx_to_recipient_or_content_is_permanent(verb, answer, permanent):
    hello = {"EHLO": "502 what?"} if verb == "HELO" else {}
    error = failure_of({verb: answer, **hello})
    assert (error.status, error.permanent) == (int(answer[:3]), permanent)
    assert answer[:3] in str(error)


@pytest.mark.parametrize(
    ("answers", "status"), [({"RCPT": "550 unknown"}, 550), ({"DATA": "452 full"}, 452)]
)
def test_a_real_servers_refusal_is_understood(answers, status):
    with mail_server(answers=answers) as server:
        error = failure(channel(server.port))
        assert (error.status, error.permanent) == (status, status == 550)
        assert server.envelopes == []


def test_a_servers_words_are_quoted_short_and_printable():
    error = failure_of({"RCPT": "550 \x1b[31mno\x07 " + "x" * 500})
    assert str(error).isprintable()
    assert len(str(error)) < 300


@pytest.mark.parametrize("verb", ["HELLO", "EHLO", "MAIL", "RCPT", "DATA", "."])
def test_a_server_that_hangs_up_is_tried_again(verb):
    error = failure_of({verb: DROP})
    assert not error.permanent
    assert "closed the connection" in str(error)


@pytest.mark.parametrize("how", [HANG, DRIP])
@pytest.mark.parametrize("verb", ["HELLO", "RCPT", "."])
def test_a_server_that_stalls_or_trickles_ends_at_the_deadline(verb, how):
    begun = time.monotonic()
    error = failure_of({verb: how}, attempt_seconds=0.3)
    assert time.monotonic() - begun < 5
    assert not error.permanent
    assert "did not answer within 0.3 seconds" in str(error)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_stalled_handshake_ends_at_the_deadline(security):
    answers = {"HELLO": HANG} if security == "tls" else {}
    answers |= {"EHLO": "250-here\r\n250 STARTTLS", "STARTTLS": f"220 go on|{HANG}"}
    error = failure_of(answers, security=security, attempt_seconds=0.3)
    assert "did not answer within 0.3 seconds" in str(error)


@pytest.mark.parametrize("answer", ["garbage", "9", "abc def", "2\x00"])
def test_an_answer_that_is_no_smtp_is_tried_again(answer):
    assert not failure_of({"RCPT": answer}).permanent


def test_a_line_without_end_is_tried_again():
    assert not failure_of({"RCPT": "550 " + "x" * 20_000}).permanent


def test_what_was_accepted_stays_so_however_the_server_says_goodbye():
    for goodbye in (DROP, "500 what?"):
        with raw_server(Dialogue({"QUIT": goodbye})) as port:
            send(channel(port), MESSAGE)


def test_nobody_listening_is_tried_again():
    with raw_server(Dialogue({})) as port:
        pass
    error = failure(channel(port))
    assert not error.permanent
    assert str(error) == (f"no connection to the mail server 127.0.0.1:{port}: Connection refused")


def test_a_host_without_address_is_tried_again():
    error = failure(channel(25, host="no-such-host.invalid"))
    assert not error.permanent
    assert "no-such-host.invalid:25: the name can't be looked up" in str(error)


def test_a_retry_is_the_same_mail_by_its_id():
    with mail_server(answers={"DATA": "451 later"}) as server:
        failure(channel(server.port))
        del server.answers["DATA"]
        send(channel(server.port), MESSAGE)
        assert content(server)["Message-ID"] == "<msg_1@example.com>"


def test_a_username_smtp_cannot_carry_is_a_clear_error():
    answers = {"EHLO": "250-here\r\n250 AUTH PLAIN"}
    error = failure_of(answers, username="müller", password="x")
    assert "the username holds characters SMTP can't carry" in str(error)


def test_a_password_smtp_cannot_carry_is_not_blamed_on_the_username():
    answers = {"EHLO": "250-here\r\n250 AUTH PLAIN"}
    error = failure_of(answers, username="mail", password="schlüssel")
    assert "the password holds characters SMTP can't carry" in str(error)


def verbs(dialogue: Dialogue) -> list[str]:
    return [line.partition(" ")[0].upper() for line in dialogue.heard]


def test_a_server_that_says_done_before_it_has_the_message_has_not_accepted_it():
    error = failure_of({"DATA": "250 OK"})
    assert "answered 250 before the message was sent" in str(error)
    assert not error.permanent


def test_messages_that_are_due_go_out_in_one_session():
    dialogue = Dialogue({})
    with raw_server(dialogue) as port, closing_channel(port) as ops:
        ops.send(MESSAGE, now=NOON)
        ops.send(MESSAGE, now=NOON)
        ops.rest()
    one = ["MAIL", "RCPT", "DATA"]
    assert verbs(dialogue) == ["EHLO", *one, "RSET", *one, "QUIT"]


@pytest.mark.parametrize("goodbye", ["421 enough for now", DROP])
@pytest.mark.parametrize("verb", ["RSET", "MAIL", "RCPT"])
def test_a_session_that_the_server_ended_is_replaced_by_a_fresh_one(verb, goodbye):
    dialogue = Dialogue({})
    with raw_server(dialogue) as port, closing_channel(port) as ops:
        ops.send(MESSAGE, now=NOON)
        dialogue.once[verb] = goodbye
        ops.send(MESSAGE, now=NOON)
    assert verbs(dialogue).count("EHLO") == 2
    assert verbs(dialogue).count("DATA") == 2


def test_a_recipient_who_is_refused_does_not_end_the_session():
    dialogue = Dialogue({})
    with raw_server(dialogue) as port, closing_channel(port) as ops:
        dialogue.once["RCPT"] = "550 no such user"
        with pytest.raises(DeliveryError):
            ops.send(MESSAGE, now=NOON)
        ops.send(MESSAGE, now=NOON)
    assert verbs(dialogue).count("EHLO") == 1


def test_content_whose_answer_was_lost_is_not_sent_again_by_itself():
    dialogue = Dialogue({})
    with raw_server(dialogue) as port, closing_channel(port) as ops:
        ops.send(MESSAGE, now=NOON)
        dialogue.once["."] = DROP
        with pytest.raises(DeliveryError):
            ops.send(MESSAGE, now=NOON)
    assert verbs(dialogue).count("DATA") == 2


@contextmanager
def closing_channel(port: int) -> Iterator[EmailChannel]:
    of = channel(port)
    try:
        yield of
    finally:
        of.rest()


def test_a_broken_template_of_the_user_does_not_stop_an_alert(tmp_path, caplog):
    (tmp_path / "email").mkdir()
    (tmp_path / "email" / "alert.txt.j2").write_text("{{ no_such_thing }}")
    with mail_server() as server:
        send(channel(server.port, renderer=Renderer(tmp_path)), MESSAGE)
        assert "91,234" in str(content(server).get_body(["plain"]))
    assert "template failed, the built-in one is used" in caplog.text


def test_check_connects_logs_in_and_sends_nothing(certificates):
    with mail_server(starttls=certificates.server, login=True) as server:
        found = channel(
            server.port,
            security="starttls",
            username=USER,
            password=PASSWORD,
            tls=certificates.client,
        ).check()
        assert found == (
            f"the mail server 127.0.0.1:{server.port} answers (STARTTLS), login accepted"
        )
        assert server.envelopes == []


def test_check_says_only_noop_between_hello_and_goodbye():
    dialogue = Dialogue({})
    with raw_server(dialogue) as port:
        channel(port).check()
    assert [line.partition(" ")[0].upper() for line in dialogue.heard] == ["EHLO", "NOOP", "QUIT"]


@pytest.mark.parametrize(
    ("server", "how", "remedy"),
    [
        ({}, {"security": "starttls"}, "none"),
        ({"starttls": True}, {"security": "tls"}, '"tls" goes with 465'),
        ({"tls": True}, {"attempt_seconds": 0.5}, 'needs smtp.security = "tls"'),
        ({"tls": True}, {"security": "tls", "tls": None}, "set SSL_CERT_FILE"),
        ({"tls": True}, {"security": "tls", "host": "localhost"}, "set smtp.host to the name"),
        (
            {"starttls": True, "login": True},
            {"security": "starttls", "username": USER, "password": "wrong"},
            "check smtp.username and smtp.password",
        ),
    ],
    ids=["no STARTTLS", "no TLS", "only TLS", "own authority", "other name", "login"],
)
def test_each_failure_has_its_own_remedy(certificates, server, how, remedy):
    tls = {name: certificates.server for name in ("tls", "starttls") if name in server}
    login = {"login": True} if "login" in server else {}
    with mail_server(**tls, **login) as running:
        error = failure(channel(running.port, **{"tls": certificates.client} | how))
    assert remedy in (error.remedy or "")


def test_a_server_that_takes_no_logins_has_a_remedy_too():
    error = failure_of({}, username=USER, password=PASSWORD)
    assert "remove smtp.username and smtp.password" in (error.remedy or "")


def test_check_fails_as_sending_would():
    with raw_server(Dialogue({"NOOP": "421 busy"})) as port, pytest.raises(DeliveryError):
        channel(port).check()


def test_we_introduce_ourselves_as_mail_servers_expect():
    dialogue = Dialogue({})
    with raw_server(dialogue) as port:
        channel(port).check()
    assert dialogue.heard[0].split()[1] == own_name(socket.gethostname(), "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "address", "expected"),
    [
        ("watch.example.com", "10.0.0.7", "watch.example.com"),
        ("watch", "10.0.0.7", "[10.0.0.7]"),
        ("web_1.docker_default", "10.0.0.7", "[10.0.0.7]"),
        ("watch.example.com.", "10.0.0.7", "[10.0.0.7]"),
        ("bücher.example", "10.0.0.7", "[10.0.0.7]"),
        ("-web.example", "10.0.0.7", "[10.0.0.7]"),
        ("10.0.0.7", "10.0.0.7", "[10.0.0.7]"),
        (f"{'x' * 64}.example", "10.0.0.7", "[10.0.0.7]"),
        ("watch", "fe80::1%eth0", "[IPv6:fe80::1]"),
    ],
)
def test_a_whole_name_is_told_else_the_address(name, address, expected):
    assert own_name(name, address) == expected


@pytest.mark.parametrize("changes", [{"from_address": "nobody"}, {"reply_to": "x@"}])
def test_values_that_make_no_channel_are_refused_at_once(changes):
    with pytest.raises(ValueError, match="not a mail"):
        channel(25, **changes)


def test_certificates_are_verified_by_default():
    from quota_watch.lib.network import trust

    assert trust().verify_mode is ssl.CERT_REQUIRED
    assert trust().check_hostname


def test_several_facts_are_one_mail_headed_by_the_first():
    facts = (tell(fired(100), 104_310), tell(fired()))
    joined = message(*facts, id="msg_2", recipient="anna@example.com")
    with mail_server() as server:
        send(channel(server.port), joined)
        mail = content(server)
        assert mail["Message-ID"] == "<msg_2@example.com>"
        assert mail["Subject"].startswith("Critical: Acme is over its limit")
        assert mail["Subject"].endswith("(and 1 more)")


def test_a_critical_mail_that_comes_late_says_so():
    late = message(tell(fired(100), 104_310), id="msg_3", recipient="anna@example.com")
    with mail_server() as server:
        send(channel(server.port), late, NOON + timedelta(days=20))
        assert content(server)["Subject"].startswith("Critical, late: Acme")
