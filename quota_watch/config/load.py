"""From a file to a `Config`, or to everything that is wrong with it."""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from quota_watch.config.checks import cross_check
from quota_watch.config.models import Document
from quota_watch.config.problems import ConfigError, Problem
from quota_watch.config.settings import Config
from quota_watch.config.tables import keys_of, read

VARIABLE = "QUOTA_WATCH_CONFIG"
"""The environment variable that names the config file."""

_PLACES = (Path("config.toml"), Path("/etc/quota-watch/config.toml"))
_ORDER = {name: place for place, name in enumerate(keys_of(Document))}
_DEEPEST = 12
_MOST_BYTES = 8 * 2**20


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the config file to use: `explicit`, else the variable's, else the usual places.

    Raises `ConfigError` that names every place where it looked.
    """
    named = environ.get(VARIABLE)
    if explicit is not None or named:
        return explicit or Path(named or "")
    found = next((place for place in _PLACES if os.path.lexists(place)), None)
    if found is None:
        looked = ", ".join(f"./{p}" if not p.is_absolute() else str(p) for p in _PLACES)
        message = f"no config file: ${VARIABLE} is not set and there is none at {looked}"
        raise ConfigError(
            None,
            [Problem("", f"{message}; `quota-watch init` writes one, or use -c FILE")],
        )
    return found


def load(path: Path) -> Config:
    """Read and check the config at `path`; secrets by reference are not read yet.

    Raises `ConfigError` with all problems at once.
    """
    document, is_shared = _read(path)
    return validate(document, path, is_shared=is_shared)


def validate(document: dict[str, object], path: Path, *, is_shared: bool = False) -> Config:
    """Check what a config file at `path` holds; raises `ConfigError` with all problems at once."""
    if _is_deep(document):
        raise ConfigError(path, [Problem("", f"tables nested more than {_DEEPEST} deep")])
    parsed, problems = read(Document, document, path.absolute().parent)
    problems += cross_check(document)
    if parsed is None or problems:
        raise ConfigError(path, sorted(problems, key=_place))
    return Config.of(parsed, path=path, is_shared=is_shared)


def _is_deep(document: dict[str, object]) -> bool:
    """Tell whether a document is nested so deeply that walking through it could fail."""
    level: list[dict[str, object] | list[object]] = [document]
    for _ in range(_DEEPEST):
        tables = [each.values() if isinstance(each, dict) else each for each in level]
        level = [inner for each in tables for inner in each if isinstance(inner, dict | list)]
    return bool(level)


def _place(problem: Problem) -> tuple[int, int]:
    """Return what sorts problems by section and organization."""
    found = re.match(r"(\w+)(?:\[(\d+)\])?", problem.key)
    section, index = found.groups() if found else ("", None)
    return _ORDER.get(section, -1), int(index or 0)


def _read(path: Path) -> tuple[dict[str, object], bool]:
    """Return the document, and whether others than the owner may read the file."""
    try:
        with path.open("rb") as file:
            content, is_shared = file.read(_MOST_BYTES + 1), _is_shared(file)
    except OSError as error:
        raise ConfigError(path, [Problem("", _unreadable(error))]) from None
    except ValueError:
        raise ConfigError(path, [Problem("", "not the path of a file")]) from None
    if len(content) > _MOST_BYTES:
        raise ConfigError(path, [Problem("", "over 8 MiB, which no config is")])
    return _decode(path, content), is_shared


def _decode(path: Path, content: bytes) -> dict[str, object]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 text (at line {line}); save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        what = f"not valid TOML: {error}"
    except RecursionError:
        what = "not valid TOML: nested too deeply"
    except ValueError:
        what = "not valid TOML: a number is too large"
    raise ConfigError(path, [Problem("", what)])


def _unreadable(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; `quota-watch init` writes one, or name another with -c FILE"
    if isinstance(error, IsADirectoryError):
        return "a folder, not a file; name the config file in it"
    if isinstance(error, PermissionError):
        return "this user may not read it; run as its owner or change its permissions"
    return f"can't be read: {error.strerror}"


def _is_shared(file: BinaryIO) -> bool:
    """Tell whether others can read the file.

    A group may where root owns the file: so a service's secrets are kept on many systems.
    """
    status = os.fstat(file.fileno())
    by_group = stat.S_IRGRP if status.st_uid != 0 else 0
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & (stat.S_IROTH | by_group))
