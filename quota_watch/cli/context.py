"""What commands share: the config, the database, logging, and how they choose organizations."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

import click

from quota_watch.lib.machine import Clock, SystemClock

if TYPE_CHECKING:
    from quota_watch.config import Config, Use
    from quota_watch.config.models import OrganizationTable
    from quota_watch.model.watch import Watch
    from quota_watch.storage.database import Database

_TRIES, _LONGEST_WAIT_SECONDS = 20, 2.0
_WORTH_WAITING = 10.0  # seconds that a refusal asks for

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Context:
    """The options before the command, and what follows from them."""

    config_file: Path | None
    level: int
    log_format: Literal["text", "json"]
    clock: Clock = field(default_factory=SystemClock)

    def config(self) -> "Config":
        """Load the config; raises `ConfigError`."""
        from quota_watch.config import find_config, load

        return load(find_config(self.config_file, os.environ))

    def start_logging(self, config: "Config", *uses: "Use") -> None:
        """Log to stderr from now on, free of the secrets that are needed for `uses`.

        Raises `ConfigError` where one of themis not available.
        """
        from quota_watch.lib.logs import setup_logging

        setup_logging(
            log_format=self.log_format,
            level=self.level,
            secrets=chain.from_iterable(map(_forms, config.reveal_all(*uses).values())),
        )

    @contextmanager
    def existing(self, config: "Config") -> Iterator["Database"]:
        """Open the database as it is; raises `StorageError` unless it is of this schema."""
        from quota_watch.storage.migrate import require_current

        with self.unchecked(config) as database:
            require_current(database)
            yield database

    @contextmanager
    def upgraded(self, config: "Config") -> Iterator["Database"]:
        """Open the database, made or migrated where needed; raises `StorageError`."""
        from quota_watch.storage.migrate import upgrade

        with self.unchecked(config) as database:
            refuse_foreign_folder(database)
            upgrade(database)
            yield database

    @contextmanager
    def unchecked(self, config: "Config") -> Iterator["Database"]:
        """Open the database, whatever is there or not."""
        from quota_watch.config.values import ConfigError, Problem
        from quota_watch.storage.database import Database
        from quota_watch.storage.errors import DatabaseUrlError

        try:
            opened = Database(config.database_url())
        except DatabaseUrlError as error:
            raise ConfigError(config.path, [Problem("database.url", str(error))]) from None
        with closing(opened) as database:
            yield database


def refuse_foreign_folder(database: "Database") -> None:
    """Raise `StorageError` where our files would not belong to the owner of the folder."""
    from quota_watch.storage.errors import StorageError

    folder = database.path.parent if database.path is not None else None
    if folder is None or not folder.is_dir():
        return
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise StorageError(
            f"{folder} belongs to user {_user_name(owner)}, and files made by this user would lock "
            f"the service out: run `sudo -u {_user_name(owner)} quota-watch …` instead"
        )


GROUP = click.option("--group", metavar="NAME", help="Only organizations of this [groups.NAME].")
"""The option of commands that can be asked for the organizations of one group."""


def chosen(config: "Config", names: Sequence[str], group: str | None = None) -> tuple["Watch", ...]:
    """Return the organizations named by id or name, all if none is named, of a group if given.

    Raises `click.UsageError` that says what was probably meant.
    """
    if not names and group is None:
        return config.watches()
    tables: Sequence[OrganizationTable] = config.organizations
    if group is not None:
        groups = dict.fromkeys(table.group for table in tables if table.group)
        if group not in groups:
            raise click.UsageError(
                f'no organization in a group "{group}".{meant(group, list(groups))}'
            )
        tables = [table for table in tables if table.group == group]
    if not names:
        return tuple(map(config.watch, tables))
    known = {table.name or table.id: table for table in tables}
    known |= {table.id: table for table in tables}
    for name in names:
        if name not in known:
            hint = meant(name, list(known)) or " See the config's [[organizations]]."
            raise click.UsageError(f'no organization "{name}" in the config.{hint}')
    return tuple(map(config.watch, {known[name].id: known[name] for name in names}.values()))


def meant(word: str, known: Sequence[str]) -> str:
    """Return ` Did you mean "…"?` for the closest of the known words, or nothing."""
    from quota_watch.config.values import closest

    near = closest(word, known)
    return f' Did you mean "{near}"?' if near else ""


def patiently(request: Callable[[], Answer]) -> Answer:
    """Ask, waiting a little where the key's rate budget or the server wants it.

    Raises `NotYet` at last, or the refusal.
    """
    from quota_watch.model.source import ErrorKind, NotYet, UpstreamError

    for _ in range(_TRIES):
        try:
            return request()
        except NotYet as not_yet:
            time.sleep(min(not_yet.seconds, _LONGEST_WAIT_SECONDS))
        except UpstreamError as error:
            asks = error.retry_after
            if error.kind is not ErrorKind.RATE_LIMITED or not asks or asks > _WORTH_WAITING:
                raise
            time.sleep(asks)
    return request()


def _forms(secret: str) -> Iterator[str]:
    """Yield the secret, its words (`Bearer …`), and the password if it is a URL."""
    yield secret
    yield from secret.split()
    password = urlsplit(secret).password if "://" in secret else None
    if password:
        yield password


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
