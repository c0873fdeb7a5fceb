"""The one type that holds a secret, and the references to where secrets are stored."""

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from quota_watch.config.values import ConfigError, InvalidValueError, Problem

Check = Callable[[str], str | None]
"""Complains about a secret's value without repeating any of it; None where it is good."""

_REFERENCE = re.compile(r"(env|file|credential):(.*)", re.DOTALL)
_NAMES = {
    "env": (re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), '"env:NAME" needs the name of a variable'),
    "file": (re.compile(r"/[^\x00-\x1f\x7f]+"), '"file:/path" needs an absolute path'),
    "credential": (
        re.compile(r"(?!\.\.?$)[^/\x00-\x1f\x7f]+"),
        '"credential:NAME" needs a name without slashes',
    ),
}
_MEANT = (
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
"""What was surely meant as something else than itself, and the right form."""

_MOST_BYTES = 65_536
_SIGNING_PREFIX = "whsec_"


class Secret:
    """A secret, literal or by reference, that shows itself only to who asks with `reveal()`.

    Converted to text, a reference is what was written, a literal is `***`. `key` is the
    path of its key in the config. Two are equal where they were written alike.
    """

    __slots__ = ("_check", "_path", "_text", "key")

    def __init__(self, text: str, *, key: str = "", check: Check | None = None) -> None:
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
        value, complaint = _read(self._text)
        if complaint is None and not value:
            complaint = "it is empty; put the secret there"
        if complaint is None and self._check is not None:
            complaint = self._check(value)
        if complaint is not None:
            where = "" if self.is_literal else f"{self._text}: "
            raise ConfigError(self._path, [Problem(self.key, where + complaint)])
        return value

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


def secret(check: Check | None = None) -> Callable[[object], Secret]:
    """Return a validator that makes a `Secret` of a config value.

    Literals are checked at once, references when they are revealed.
    """

    def validate(value: object) -> Secret:
        if not isinstance(value, str):
            raise InvalidValueError(
                "not a string", allowed='the secret, "env:NAME", "file:/path", "credential:NAME"'
            )
        reference = _REFERENCE.fullmatch(value)
        complaint = _bad_reference(reference) if reference else _bad_literal(value, check)
        if complaint is not None:
            raise InvalidValueError(complaint)
        return Secret(value, check=check)

    return validate


def signing_secrets(value: object) -> tuple[Secret, ...]:
    """Validate a webhook's signing secret, or a list of two while one replaces the other."""
    several = value if isinstance(value, list) else [value]
    if len(several) not in {1, 2}:
        raise InvalidValueError(f"a list of {len(several)}", allowed="one secret or a list of two")
    return tuple(secret(signing_secret)(one) for one in several)


def shaped(pattern: str, complaint: str) -> Check:
    """Make a check that a value matches `pattern` as a whole."""
    return lambda value: None if re.fullmatch(pattern, value) else complaint


API_KEY = shaped(
    r"[!-~]+", "not an API key: it holds spaces, line breaks or characters outside ASCII"
)
ROUTING_KEY = shaped(
    r"[A-Za-z0-9_-]{16,64}",
    "not an integration key of PagerDuty: those are 32 letters and digits",
)
HEADER_VALUE = shaped(
    r"[!-~](?:[ -~]*[!-~])?",
    "not a header value: it holds line breaks, outer spaces or characters outside ASCII",
)
PASSWORD = shaped(
    r"[ -~]+", "not a password for SMTP: it holds line breaks or characters outside ASCII"
)
WEB_TOKEN = shaped(
    r"[!-~]{16,}", "not a usable token: at least 16 printable ASCII characters, no spaces"
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


def signing_secret(value: str) -> str | None:
    """Complain about a secret that is not of the Standard Webhooks kind."""
    try:
        signing_key(value)
    except InvalidValueError as error:
        return str(error)
    return None


def _bad_literal(value: str, check: Check | None) -> str | None:
    if not value:
        return "an empty string"
    meant = next((advice for pattern, advice in _MEANT if pattern.fullmatch(value)), None)
    return meant or (check(value) if check else None)


def _bad_reference(reference: re.Match[str]) -> str | None:
    pattern, complaint = _NAMES[reference[1]]
    return None if pattern.fullmatch(reference[2]) else complaint


def _read(text: str) -> tuple[str, str | None]:
    """Read the value of a secret or, where there is none, what is wrong and what to do."""
    reference = _REFERENCE.fullmatch(text)
    if reference is None:
        return text, None
    source, name = reference.groups()
    if source == "env":
        return _from_environment(name)
    if source == "file":
        return _from_file(Path(name))
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return "", _no_credentials(name)
    return _from_file(Path(folder, name))


def _no_credentials(name: str) -> str:
    """Explain who sets the folder: the unit, or the launcher for commands beside it."""
    if os.environ.get("INVOCATION_ID"):  # systemd runs us
        return f"$CREDENTIALS_DIRECTORY is not set: the unit needs LoadCredential={name}:FILE"
    return (
        "$CREDENTIALS_DIRECTORY is not set; it is set only inside the systemd service; "
        "beside it use deploy/quota-watch, elsewhere env: or file:"
    )


def _from_environment(name: str) -> tuple[str, str | None]:
    value = os.environ.get(name)
    if value is None:
        return "", (
            f"the environment variable {name} is not set; "
            "export it, or give it to the service with EnvironmentFile="
        )
    return value, None


def _from_file(path: Path) -> tuple[str, str | None]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        value = content.decode()
    except OSError as error:
        return "", f"can't read {path}: {error.strerror}; is it there, and may this user read it?"
    except UnicodeDecodeError:
        return "", f"{path} is not UTF-8 text; put only the secret into it"
    if len(content) > _MOST_BYTES:
        return "", f"{path} is over 64 KiB; put only the secret into it"
    return value.removesuffix("\n").removesuffix("\r"), None
