"""The database's URL: which are taken, and what a relative path is relative to."""

import os
import re
from pathlib import Path

DEFAULT_URL = "sqlite:///quota-watch.db"

_ALLOWED = 'allowed: "sqlite:///FILE", "sqlite:////FOLDER/FILE", "postgresql://USER@HOST/NAME"'
_LAST_PORT = 65_535
_SQLITE = "sqlite:///"
_POSTGRESQL = re.compile(r"postgresql(?:\+psycopg)?://([^?]*)(?:\?.*)?")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")


def complaint(url: str) -> str | None:
    """Complain about a URL that no store can be opened with, without showing it."""
    if not url.isprintable():
        return f"not a database URL: it holds control characters; {_ALLOWED}"
    if url.startswith("sqlite"):
        return _sqlite_complaint(url)
    return _postgresql_complaint(url)


def resolve(url: str, folder: Path) -> str:
    """Return a good URL whole: a relative SQLite file lies in `folder`."""
    if url.startswith(_SQLITE):
        return _SQLITE + str(folder / url.removeprefix(_SQLITE))
    return url


def state_folder(config: Path) -> Path:
    """Return the folder of relative files: $STATE_DIRECTORY, else the config file's."""
    first = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(first) if first.startswith("/") else config.absolute().parent


def holds_password(url: str) -> bool:
    """Tell whether a URL may have a password in it."""
    return "@" in url or "password" in url.lower()


def _sqlite_complaint(url: str) -> str | None:
    file = url.removeprefix(_SQLITE)
    if url == "sqlite://" or file in {"", ":memory:"}:
        return f"a database in memory forgets what was told when the program ends; {_ALLOWED}"
    if not url.startswith(_SQLITE):
        return f"not an SQLite URL: three slashes stand before the file; {_ALLOWED}"
    if "?" in file or file.startswith("file:") or file.endswith("/"):
        return f"not an SQLite file: only its path stands after the slashes; {_ALLOWED}"
    return None


def _postgresql_complaint(url: str) -> str | None:
    found = _POSTGRESQL.fullmatch(url)
    if found is None:
        meant = '; did you mean "postgresql://"?' if url.startswith("postgres") else ""
        return f"not a database URL of a kind that is supported; {_ALLOWED}{meant}"
    if found[1].count("@") > 1:
        return "a password with @ in it is written with %40 in a URL"
    authority = found[1].rpartition("@")[2].partition("/")[0]
    port = _PORT.fullmatch(authority)
    if port is None or (port[1] is not None and not 0 < int(port[1]) <= _LAST_PORT):
        return f"not a database URL: its host or port is wrong; {_ALLOWED}"
    return None
