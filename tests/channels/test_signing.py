import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from quota_watch.channels.webhook import signature
from quota_watch.config.secrets import signing_key
from quota_watch.config.values import InvalidValueError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of 32 bytes, or so").decode()
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"


def headers(body: bytes, *secrets: str) -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp())
    signed = signature(map(signing_key, secrets), id=ID, timestamp=now, body=body)
    return {"webhook-id": ID, "webhook-timestamp": str(now), "webhook-signature": signed}


def test_the_reference_vector_of_standard_webhooks():
    signed = signature(
        [signing_key(SECRET)], id=ID, timestamp=1614265330, body=b'{"test": 2432232314}'
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.dictionaries(st.text(), st.integers()), st.binary(min_size=1, max_size=64))
def test_the_reference_verifier_accepts_every_body_and_key(value, key):
    import json

    body = json.dumps(value).encode()
    secret = "whsec_" + base64.b64encode(key).decode()
    assert Webhook(secret).verify(body, headers(body, secret)) == value


@pytest.mark.parametrize("kept", [SECRET, OTHER])
def test_while_rotating_either_secret_verifies(kept):
    assert Webhook(kept).verify(b"{}", headers(b"{}", SECRET, OTHER)) == {}


def test_a_changed_byte_is_rejected():
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b'{"used":2}', headers(b'{"used":1}', SECRET))


def test_a_missing_padding_is_accepted():
    assert signing_key("whsec_YWI") == signing_key("whsec_YWI=") == b"ab"


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_====", "whsec_canary!", "whsec_canaré", "canary0w"]
)
def test_a_bad_secret_is_refused_without_showing_it(secret):
    with pytest.raises(InvalidValueError) as caught:
        signing_key(secret)
    assert "canar" not in str(caught.value)
