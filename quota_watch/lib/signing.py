"""Standard Webhooks signatures, version 1 (standardwebhooks.com)."""

import base64
import hashlib
import hmac
from collections.abc import Iterable

from quota_watch.lib.errors import QuotaWatchError

_PREFIX = "whsec_"


class SigningSecretError(QuotaWatchError):
    """A signing secret that is none; the message does not show it."""


def signing_key(secret: str) -> bytes:
    """Return the key in a secret, `whsec_` and base64, whose padding may be missing.

    Raises `SigningSecretError`.
    """
    coded = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except ValueError:
        key = b""
    if not key or not secret.startswith(_PREFIX):
        raise SigningSecretError(
            'not a signing secret; allowed: "whsec_" and then base64 of at least one byte'
        )
    return key


def signature(keys: Iterable[bytes], *, id: str, timestamp: int, body: bytes) -> str:  # noqa: A002 - the name the specification has for it
    """Return the `webhook-signature` of a body: one entry per key, so that keys can be changed."""
    signed = b".".join((id.encode(), str(timestamp).encode(), body))
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
