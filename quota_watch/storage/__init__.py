"""The database: its schema, its upkeep, its tables, and whatever writes to them."""

from quota_watch.lib import QuotaWatchError


class StorageError(QuotaWatchError):
    """The database is missing, of another schema, or can't be used."""


class DatabaseUrlError(StorageError):
    """Its URL is malformed or of a database that is not supported."""


class DatabaseUnreachable(StorageError):  # noqa: N818 - reads as what happened
    """Its server does not answer; that may pass."""


class DatabaseLost(StorageError):  # noqa: N818
    """It is no longer the one that this process opened: only a restart helps."""
