"""What commands share: the config, the database, logging, and how they choose organizations."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

import click

from quota_watch.clock import Clock, SystemClock
from quota_watch.config import Config, Use, find_config, load
from quota_watch.domain.rules import Watch
from quota_watch.logs import setup_logging
from quota_watch.storage.database import Database
from quota_watch.storage.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class Context:
    """The options before the command, and what follows from them."""

    config_file: Path | None
    level: int
    log_format: str
    clock: Clock = field(default_factory=SystemClock)

    def config(self) -> Config:
        """Load the config; raises `ConfigError`."""
        return load(find_config(self.config_file, os.environ))

    def log(self, config: Config, *uses: Use) -> None:
        """Send the log to stderr, free of the secrets needed for `uses`; raises `ConfigError`."""
        setup_logging(
            log_format=cast("Literal['text', 'json']", self.log_format),
            level=self.level,
            secrets=chain.from_iterable(map(_forms, config.reveal_all(*uses).values())),
        )

    def existing(self, config: Config) -> Database:
        """Open the database as it is; raises `StorageError` unless it is of this schema."""
        from quota_watch.storage.migrate import require_current

        database = Database(config.database_url())
        require_current(database)
        return database

    def upgraded(self, config: Config) -> Database:
        """Open the database, made or migrated where needed; raises `StorageError`."""
        from quota_watch.storage.migrate import upgrade

        database = Database(config.database_url())
        refuse_foreign_folder(database)
        upgrade(database)
        return database


def _forms(secret: str) -> Iterator[str]:
    """Yield the secret, its words (`Bearer …`), and the password if it is a URL."""
    yield secret
    yield from secret.split()
    password = urlsplit(secret).password if "://" in secret else None
    if password:
        yield password


def refuse_foreign_folder(database: Database) -> None:
    """Raise `StorageError` where our files would not belong to the owner of the folder."""
    folder = database.path.parent if database.path is not None else None
    if folder is None or not folder.is_dir():
        return
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise StorageError(
            f"{folder} belongs to user {_user_name(owner)}, and files made by this user would lock "
            f"the service out: run `sudo -u {_user_name(owner)} quota-watch …` instead"
        )


def chosen(watches: tuple[Watch, ...], names: tuple[str, ...]) -> tuple[Watch, ...]:
    """Return the organizations named by id or name, all if none is named.

    Raises `click.UsageError` that says what was probably meant.
    """
    if not names:
        return watches
    known = {watch.name: watch for watch in watches}
    known |= {watch.organization.id: watch for watch in watches}
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = (
                f' Did you mean "{near[0]}"?' if near else " See the config's [[organizations]]."
            )
            raise click.UsageError(f'no organization "{name}" in the config.{meant}')
    return tuple({known[name].organization: known[name] for name in names}.values())


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
