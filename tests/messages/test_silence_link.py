from base64 import urlsafe_b64encode
from dataclasses import replace
from datetime import timedelta

import pytest

from quota_watch.config.secrets import Secret
from quota_watch.messages.silence_link import SilenceLink, SilenceLinks
from quota_watch.model.watch import Rule
from quota_watch.rules.verdict import Reason
from support.domain import ACME, MARCH, NOON
from support.telling import about, fired, resolved, tell

API_KEY = "rb_0123456789abcdefghijklmnop"
LINK = SilenceLink(organization=ACME, rule=Rule.SPIKE, period=MARCH, address="anna@example.com")


def links(api_key: str = API_KEY, organization=ACME) -> SilenceLinks:
    return SilenceLinks(
        public_url="https://quota.example.com/x", credentials={organization: Secret(api_key)}
    )


def test_a_link_says_what_was_signed():
    assert links().read(links().token(LINK)) == LINK


def test_the_same_link_is_made_at_every_retry():
    assert links().token(LINK) == links().token(LINK)


@pytest.mark.parametrize(
    "other",
    [
        replace(LINK, rule=Rule.BLIND),
        replace(LINK, address="ben@example.com"),
        replace(LINK, organization=replace(ACME, id="org_other")),
    ],
)
def test_a_signature_is_of_one_link_alone(other):
    signature = links().token(LINK).partition(".")[2]
    own = links(organization=other.organization).token(other).partition(".")[0]
    assert links().read(f"{own}.{signature}") is None


def test_every_changed_character_spoils_it():
    token = links().token(LINK)
    for n, character in enumerate(token[:-1]):
        other = "A" if character != "A" else "B"
        assert links().read(f"{token[:n]}{other}{token[n + 1 :]}") is None


@pytest.mark.parametrize("token", ["", ".", "a.b", "W10.W10", "é", "x" * 5_000, "bnVsbA.AA"])
def test_what_is_no_link_is_none(token):
    assert links().read(token) is None


def test_a_month_that_no_month_follows_is_no_link():
    said = b'["org_acme","blind","9999-12-01","anna@example.com"]'
    assert links().read(f"{urlsafe_b64encode(said).decode()}.AA") is None


def test_another_key_ends_it():
    assert links(API_KEY.upper()).read(links().token(LINK)) is None


def test_another_server_with_the_same_id_is_another_organization():
    moved = replace(ACME, server="https://elsewhere.example")
    assert links(organization=moved).read(links().token(LINK)) is None


def test_nothing_is_signed_with_a_key_that_could_be_guessed():
    assert links("short").token(LINK) is None


def test_nothing_is_signed_with_a_key_that_is_not_there():
    assert links("env:NO_SUCH_VARIABLE").token(LINK) is None


def test_the_key_shows_neither_in_text_nor_in_the_link():
    assert API_KEY not in repr(links()) + links().token(LINK)


def test_it_is_over_with_its_period():
    assert not LINK.is_over(MARCH.resets_at - timedelta(seconds=1))
    assert LINK.is_over(MARCH.resets_at)


def test_an_alert_gets_the_link_of_its_reader():
    facts = links().added_to(tell(fired()), address="anna@example.com")
    start, _, token = facts.links.silence.rpartition("/")
    assert start == "https://quota.example.com/x/silence"
    assert links().read(token) == replace(LINK, rule=Rule.THRESHOLD)


def test_what_is_over_gets_none():
    assert (
        links()
        .added_to(tell(resolved(Reason.PERIOD_ENDED)), address="anna@example.com")
        .links.silence
        is None
    )


@pytest.mark.parametrize("reason", [Reason.CLOSED_OVER, Reason.LEVEL_REACHED])
def test_what_is_reported_once_gets_none_for_there_is_nothing_to_silence(reason):
    once = reason is Reason.CLOSED_OVER
    facts = tell(about(Rule.THRESHOLD, reason, level=100, ended_at=NOON if once else None))
    made = links().added_to(facts, address="anna@example.com")
    assert (made.links.silence is None) is once
