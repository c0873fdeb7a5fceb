import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_watch.lib.logs import Redactor

SECRET = 'pä/ss+w"or\\d&x'
PLAIN = "abcdef-canary-123456"

secrets = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=6, max_size=40)


@given(secrets, st.text(max_size=7), st.text(max_size=7))
def test_no_text_keeps_a_known_secret(secret, before, after) -> None:
    clean = Redactor([secret])(before + secret + after)
    assert secret not in clean
    assert "***" in clean


@given(secrets, st.binary(max_size=5), st.binary(max_size=5))
def test_base64_of_a_longer_text_is_found_wherever_the_secret_begins(secret, before, after) -> None:
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    assert "***" in Redactor([secret])(encoded)


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(b"user:" + SECRET.encode() + b"@").decode(),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        repr(SECRET.encode()),
    ],
)
def test_encoded_forms_are_found(form) -> None:
    clean = Redactor([SECRET])(f"before {form} after")
    assert "***" in clean
    assert len(clean) <= len("before dXNlcjp***xx after")


@pytest.mark.parametrize("user", ["u", "ux", "uxx", "uxxx"])
def test_a_basic_authorization_header_is_blanked(user) -> None:
    header = base64.b64encode(f"{user}:{PLAIN}".encode()).decode()
    clean = Redactor([PLAIN])(header)
    user_part = 4 * len(f"{user}:") / 3
    assert "***" in clean
    assert len(clean.replace("***", "").rstrip("=")) <= user_part + 3


def test_of_two_secrets_the_longer_goes_first() -> None:
    assert Redactor(["token", "token-of-anna"])("token-of-anna token") == "*** ***"


def test_secrets_can_be_learned_later_and_none_is_forgotten() -> None:
    redact = Redactor(["first-one"])
    redact.add(["second-one"])
    redact.add([])
    assert redact("first-one second-one") == "*** ***"


def test_each_line_of_a_secret_of_several_is_found() -> None:
    assert Redactor(["line-one\nline-two"])("  line-two!") == "  ***!"


def test_a_secret_of_three_characters_blanks_nothing() -> None:
    assert Redactor(["abc", ""])("abc abcd") == "abc abcd"


def test_a_secret_that_was_no_utf8_in_the_environment_is_found() -> None:
    assert Redactor(["pass\udcff"])("pass\udcff") == "***"


def test_a_redactor_does_not_show_what_it_knows() -> None:
    assert PLAIN not in repr(Redactor([PLAIN]))
