"""A folder with a config and a database, and commands called on them in this process."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from quota_watch.model.period import DayCounts
from quota_watch.model.source import Organization
from quota_watch.storage import claims
from quota_watch.storage.database import Database
from quota_watch.storage.days import write_days
from support.clock import FakeClock
from support.commands import Said, call
from support.domain import watch
from support.played import KEY, NOON

SERVER = "https://rybbit.example"


class Folder:
    """A config with its database, and the commands called on them."""

    def __init__(self, path: Path, clock: FakeClock) -> None:
        self.path, self.clock = path, clock

    def configure(self, server: str, more: str = "") -> None:
        config = self.path / "config.toml"
        config.write_text(
            f'[rybbit]\nbase_url = "{server}"\napi_key = "env:RYBBIT_API_KEY"\n'
            f'[[organizations]]\nid = "org_shop"\nname = "Shop"\nlimit = 20_000\n{more}'
        )
        config.chmod(0o600)

    def __call__(self, command: click.Command, *args: str, **environ: str) -> Said:
        config, environ = self.path / "config.toml", {"RYBBIT_API_KEY": KEY, **environ}
        return call(command, *args, clock=self.clock, config=config, **environ)

    def open(self) -> Database:
        """Open the database, for the caller to close."""
        return Database(f"sqlite:///{self.path / 'quota-watch.db'}")

    def keep(self, days: list[DayCounts], *, server: str = SERVER, **changes: Any) -> None:
        """Keep days of an organization, `org_shop` unless said, as a poll would."""
        kept = watch(**{"organization": Organization(server, "org_shop"), **changes})
        with (
            closing(self.open()) as database,
            database.write() as connection,
        ):
            pk = claims.register(connection, [kept], now=NOON)[kept.organization]
            if days:
                write_days(connection, pk, days, watch=kept, seen_at=NOON)


@pytest.fixture
def folder(tmp_path: Path, noon: FakeClock, sqlite_template: Path) -> Folder:
    shutil.copy(sqlite_template, tmp_path / "quota-watch.db")
    made = Folder(tmp_path, noon)
    made.configure(SERVER)
    return made
