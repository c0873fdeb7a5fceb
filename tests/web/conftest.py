"""The status page over a store filled by hand, asked over real HTTP."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quota_watch.storage.database import Database
from support.databases import empty
from support.pages import DAY, SITE, Page, running_page


@pytest.fixture
def sqlite(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    """A SQLite database of the current schema, empty."""
    shutil.copy(sqlite_template, tmp_path / "quota-watch.db")
    opened = Database(f"sqlite:///{tmp_path / 'quota-watch.db'}")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def one_page(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Page]:
    """The page that tests share, as its templates take long to compile."""
    file = tmp_path_factory.mktemp("page") / "quota-watch.db"
    shutil.copy(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    with running_page(database) as running:
        yield running
    database.close()


@pytest.fixture
def page(one_page: Page) -> Page:
    """A page that shows nothing yet and lets everyone in."""
    empty(one_page.filler.database)
    one_page.server.site = SITE
    one_page.reasons.clear()
    return one_page


@pytest.fixture
def acme(page: Page) -> Page:
    """A page that shows one organization, with an alert and what became of it."""
    watched = page.filler.organization("acme", daily=[DAY] * 20)
    pk = page.filler.alert(watched)
    failed = {"channel": "hook", "recipient": "", "state": "failed", "last_error": "503 of hook"}
    page.filler.deliveries(pk, [{}, failed])
    page.show(watched)
    return page
