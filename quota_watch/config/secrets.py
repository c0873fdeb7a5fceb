"""The one type that holds a secret, and the references to where secrets are stored."""

import base64
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from quota_watch.config.values import ConfigError, InvalidValueError, Problem

Check = Callable[[str], object]
"""Refuses a secret's value with an `InvalidValueError` that repeats none of it."""

_REFERENCE = re.compile(r"(env|file|credential):(.*)", re.DOTALL)
_MEANT = (
    (re.compile(""), "an empty string"),
    (
        re.compile(
            r"\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%|.*\$\{[A-Za-z_][A-Za-z0-9_]*\}.*", re.DOTALL
        ),
        'variables are not replaced in here; write "env:NAME" and let the variable hold all of it',
    ),
    (
        re.compile(r"\s*(?:env|file|credential)\s*:.*", re.DOTALL | re.IGNORECASE),
        'write "env:NAME", "file:/path" or "credential:NAME", in lower case, without spaces',
    ),
    (
        re.compile(r"\S+\s+(?:env|file|credential):\S+"),
        'a reference must be the whole value; write "env:NAME" and let the variable hold all of it',
    ),
    (
        re.compile(r"([\"']).+\1", re.DOTALL),
        "there are quotes within the quotes; remove the inner ones",
    ),
)
"""What surely stands for something else than itself, and the right form."""

_MOST_BYTES = 65_536
_SIGNING_PREFIX = "whsec_"


class Secret:
    """A secret, literal or by reference, that shows itself only to who asks with `reveal()`.

    Converted to text, a reference is what was written, a literal is `***`. `key` is the
    path of its key in the config. Two are equal where they were written alike.
    """

    __slots__ = ("_check", "_path", "_text", "key")

    def __init__(self, text: str, *, key: str = "", check: Check = str) -> None:
        self._text = text
        self._check = check
        self._path: Path | None = None
        self.key = key

    def bind(self, path: Path, key: str) -> None:
        """Remember where the secret was written, for its error messages."""
        self._path, self.key = path, key

    @property
    def is_literal(self) -> bool:
        """Whether the value itself stands in the config."""
        return _REFERENCE.fullmatch(self._text) is None

    @property
    def checkable(self) -> bool:
        """Whether it can be read here: a credential only exists inside the systemd service."""
        outside = not os.environ.get("CREDENTIALS_DIRECTORY")
        return not (outside and self._text.startswith("credential:"))

    def reveal(self) -> str:
        """Read the value, anew each time; raises `ConfigError` that doesn't show it."""
        reference = _REFERENCE.fullmatch(self._text)
        try:
            value = _READERS[reference[1]](reference[2]) if reference else self._text
            _FILLED(value)
            self._check(value)
        except InvalidValueError as error:
            complaint = f"{self._text}: {error}" if reference else str(error)
        else:
            return value
        raise ConfigError(self._path, [Problem(self.key, complaint)])

    def __str__(self) -> str:
        return "***" if self.is_literal else self._text

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: the value would leave the process")


def secret(value: object, *, check: Check) -> Secret:
    """Validate a config value that is a secret.

    Literals are checked at once, references when they are revealed.
    """
    if not isinstance(value, str):
        raise InvalidValueError(
            "not a string", allowed='the secret, "env:NAME", "file:/path", "credential:NAME"'
        )
    reference = _REFERENCE.fullmatch(value)
    if reference:
        _NAMES[reference[1]](reference[2])
        return Secret(value, check=check)
    for pattern, advice in _MEANT:
        if pattern.fullmatch(value):
            raise InvalidValueError(advice)
    check(value)
    return Secret(value, check=check)


def signing_secrets(value: object) -> tuple[Secret, ...]:
    """Validate a webhook's signing secret, or a list of two while one replaces the other."""
    several = value if isinstance(value, list) else [value]
    if len(several) not in {1, 2}:
        raise InvalidValueError(f"a list of {len(several)}", allowed="one secret or a list of two")
    return tuple(secret(one, check=signing_key) for one in several)


def shaped(value: str, *, pattern: str, complaint: str) -> None:
    """Check that a value matches `pattern` as a whole."""
    if not re.fullmatch(pattern, value):
        raise InvalidValueError(complaint)


_FILLED = partial(shaped, pattern=r"(?s).+", complaint="it is empty; put the secret there")
API_KEY = partial(
    shaped,
    pattern=r"[!-~]+",
    complaint="not an API key: it holds spaces, line breaks or characters outside ASCII",
)
ROUTING_KEY = partial(
    shaped,
    pattern=r"[A-Za-z0-9_-]{16,64}",
    complaint="not an integration key of PagerDuty: those are 32 letters and digits",
)
HEADER_VALUE = partial(
    shaped,
    pattern=r"[!-~](?:[ -~]*[!-~])?",
    complaint="not a header value: it holds line breaks, outer spaces or characters outside ASCII",
)
PASSWORD = partial(
    shaped,
    pattern=r"[ -~]+",
    complaint="not a password for SMTP: it holds line breaks or characters outside ASCII",
)
WEB_TOKEN = partial(
    shaped,
    pattern=r"[!-~]{16,}",
    complaint="not a usable token: at least 16 printable ASCII characters, no spaces",
)


def signing_key(secret: str) -> bytes:
    """Decode a signing secret, `whsec_` and base64, whose padding may be missing.

    Raises `InvalidValueError`.
    """
    coded = secret.removeprefix(_SIGNING_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except ValueError:
        key = b""
    if not key or not secret.startswith(_SIGNING_PREFIX):
        raise InvalidValueError(
            'not a signing secret; allowed: "whsec_" and then base64 of at least one byte'
        )
    return key


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise InvalidValueError(
            f"the environment variable {name} is not set; "
            "export it, or give it to the service with EnvironmentFile="
        )
    return value


def _from_file(name: str) -> str:
    path = Path(name)
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        value = content.decode()
    except OSError as error:
        raise InvalidValueError(
            f"can't read {path}: {error.strerror}; is it there, and may this user read it?"
        ) from None
    except UnicodeDecodeError:
        raise InvalidValueError(f"{path} is not UTF-8 text; put only the secret into it") from None
    if len(content) > _MOST_BYTES:
        raise InvalidValueError(f"{path} is over 64 KiB; put only the secret into it")
    return value.removesuffix("\n").removesuffix("\r")


def _from_credentials(name: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder:
        return _from_file(f"{folder}/{name}")
    # The unit sets it, or the launcher for commands beside it.
    by_systemd = bool(os.environ.get("INVOCATION_ID"))
    raise InvalidValueError(
        f"$CREDENTIALS_DIRECTORY is not set: the unit needs LoadCredential={name}:FILE"
        if by_systemd
        else "$CREDENTIALS_DIRECTORY is not set; it is set only inside the systemd service; "
        "beside it use deploy/quota-watch, elsewhere env: or file:"
    )


_NAMES = {
    "env": partial(
        shaped,
        pattern=r"[A-Za-z_][A-Za-z0-9_]*",
        complaint='"env:NAME" needs the name of a variable',
    ),
    "file": partial(
        shaped, pattern=r"/[^\x00-\x1f\x7f]+", complaint='"file:/path" needs an absolute path'
    ),
    "credential": partial(
        shaped,
        pattern=r"(?!\.\.?$)[^/\x00-\x1f\x7f]+",
        complaint='"credential:NAME" needs a name without slashes',
    ),
}
_READERS = {"env": _from_environment, "file": _from_file, "credential": _from_credentials}
