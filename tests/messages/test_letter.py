from dataclasses import replace
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.channels.email import address, compose
from quota_watch.messages.render import Rendered, Renderer
from quota_watch.rules.verdict import Reason
from support.domain import NOON, trouble
from support.samples import sample_facts
from support.telling import BIG, STARTED, fired, resolved, tell

RENDERER = Renderer()
ANNA = address("anna@example.com")
NAMES = [
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To",
    "References", "Auto-Submitted", "X-Quota-Watch-Type", "X-Quota-Watch-Rule",
    "X-Quota-Watch-Severity", "X-Quota-Watch-Organization", "X-Quota-Watch-Alert",
    "MIME-Version", "Content-Type",
]  # fmt: skip


def letter(*facts, rendered: Rendered | None = None, sender: str = "Q W <q@w.example>") -> bytes:
    mail = compose(
        rendered or RENDERER.email(*facts),
        facts,
        id="msg_1",
        sender=address(sender),
        recipient=ANNA,
        reply_to=address("help@w.example"),
        now=NOON,
    )
    return mail.as_bytes()


def read(content: bytes) -> EmailMessage:
    mail = message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    return mail


def test_a_mail_bears_all_its_headers():
    mail = read(letter(tell(fired())))
    alert = fired().story.id
    assert mail["From"] == "Q W <q@w.example>"
    assert mail["To"] == "anna@example.com"
    assert mail["Reply-To"] == "help@w.example"
    assert mail["Date"].datetime == NOON
    assert mail["Message-ID"] == "<msg_1@w.example>"
    assert mail["In-Reply-To"] == mail["References"] == f"<{alert}@w.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Quota-Watch-Type"] == "alert.fired"
    assert mail["X-Quota-Watch-Rule"] == "threshold"
    assert mail["X-Quota-Watch-Severity"] == "warning"
    assert mail["X-Quota-Watch-Organization"] == "org_acme"
    assert mail["X-Quota-Watch-Alert"] == alert


def test_the_end_of_a_story_is_in_the_thread_of_its_beginning():
    story = fired().story
    end = resolved(Reason.LIMIT_CHANGED, started_at=story.started_at)
    beginning, ending = read(letter(tell(fired()))), read(letter(tell(end)))
    assert beginning["References"] == ending["References"]


def test_a_mail_has_a_text_and_an_html_part():
    mail = read(letter(tell(fired())))
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text = mail.get_body(["plain"])
    assert text is not None
    lines = RENDERER.email(tell(fired())).text.splitlines()
    assert text.get_content().splitlines() == lines


@pytest.mark.parametrize("shape", sample_facts(now=NOON))
def test_a_mail_is_ascii_in_short_lines(shape):
    content = letter(sample_facts(now=NOON)[shape])
    content.decode("ascii")
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.count(b"\n") == content.count(b"\r\n")


def test_a_test_has_no_organization():
    mail = read(letter(sample_facts(now=NOON)["test"]))
    assert mail["X-Quota-Watch-Organization"] is None
    assert mail["Subject"] == "Test: Test of the channel ops"


@given(st.text(max_size=120), st.text(max_size=60), st.text(max_size=300))
def test_no_name_can_add_or_break_a_header(name, id_, error):
    organization = replace(BIG.organization, id=f"o{id_}")  # none is empty
    facts = tell(
        fired(None),
        of=replace(
            BIG, name=f"{name}\r\nBcc: all@example.com\r\n\r\nbody", organization=organization
        ),
        trouble=replace(trouble(STARTED), message=error),
    )
    mail = read(letter(facts))
    assert sorted(mail.keys()) == sorted(NAMES)
    assert mail["X-Quota-Watch-Rule"] == "blind"


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=150))
def test_a_subject_arrives_as_it_was_written(name):
    facts = tell(fired(), of=replace(BIG, name=name))
    assert read(letter(facts))["Subject"] == RENDERER.email(facts).subject.strip()


def test_a_subject_with_a_line_break_from_a_template_is_one_line():
    rendered = replace(RENDERER.email(tell(fired())), subject="a\r\nBcc: all@example.com")
    assert read(letter(tell(fired()), rendered=rendered))["Subject"] == "a Bcc: all@example.com"


def test_ids_stay_whole_however_long_the_domain_is():
    domain = ".".join(["a-very-long-label-of-a-domain"] * 5)
    mail = letter(tell(fired()), sender=f"q@{domain}")
    assert f"References: <{fired().story.id}@{domain}>\r\n".encode() in mail
    assert f"Message-ID: <msg_1@{domain}>\r\n".encode() in mail


@pytest.mark.parametrize(
    ("text", "name", "bare"),
    [
        ("anna@example.com", "", "anna@example.com"),
        ("Anna <anna@example.com>", "Anna", "anna@example.com"),
        ('"Müller, Anna" <anna@example.com>', "Müller, Anna", "anna@example.com"),
        ("a@bücher.example", "", "a@xn--bcher-kva.example"),
    ],
)
def test_an_address_is_read_with_its_name_and_an_ascii_domain(text, name, bare):
    read_address = address(text)
    assert (read_address.display_name, read_address.addr_spec) == (name, bare)


@pytest.mark.parametrize(
    "name",
    [
        "Acme, Monitoring of every organization that we have ever looked after, since 1997",
        'Anna "the watch" \\ of Acme',
        "Müller, Söhne und Töchter: Überwachung aller Organisationen, die wir je betreut haben",
        "=?utf-8?b?QWNtZQ==?=",
    ],
)
@pytest.mark.parametrize("header", ["From", "To", "Reply-To"])
def test_an_address_parses_back_as_what_it_was(header, name):
    who = Address(name, "q", "w.example")
    people = {"sender": ANNA, "recipient": ANNA, "reply_to": ANNA}
    role = {"From": "sender", "To": "recipient", "Reply-To": "reply_to"}[header]
    facts = tell(fired())
    mail = compose(RENDERER.email(facts), [facts], id="m", now=NOON, **{**people, role: who})
    shown, bare = parseaddr(message_from_bytes(mail.as_bytes())[header])
    assert (str(make_header(decode_header(shown))), bare) == (name, "q@w.example")


@pytest.mark.parametrize("text", ["", "anna", "anna@", "@example.com", "änna@example.com"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="is not a mail address"):
        address(text)


def test_a_mail_of_several_is_in_all_their_threads_under_the_most_severe():
    blind = fired(None)
    mail = read(letter(tell(fired(100), 104_310), tell(blind), sender="q@w.example"))
    first, second = fired(100).story.id, blind.story.id
    assert mail["In-Reply-To"] == f"<{first}@w.example>"
    assert mail["References"] == f"<{second}@w.example> <{first}@w.example>"
    assert mail["X-Quota-Watch-Severity"] == "critical"
    assert mail["X-Quota-Watch-Organization"] == "org_acme"
    assert mail["X-Quota-Watch-Alert"] == f"{first}, {second}"


def test_the_headers_of_very_many_stay_short():
    facts = [tell(fired(level)) for level in range(1, 100)]
    content = letter(*facts, rendered=RENDERER.email(facts[0]))
    assert max(map(len, content.split(b"\r\n"))) <= 998
