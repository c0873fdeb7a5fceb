"""Databases of the current schema, an upstream and a channel that do as told."""

import pytest

from support.databases import database, open_database, postgres_kept, sqlite_template
from support.watching import RecordingChannel, Upstream

__all__ = ["database", "open_database", "postgres_kept", "sqlite_template"]


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def channel() -> RecordingChannel:
    return RecordingChannel()
