"""What is kept: schema, claims, the record, migrations; all SQL is here."""

from quota_watch.lib import QuotaWatchError


class StorageError(QuotaWatchError):
    """The database is missing, of another schema, or can't be used."""


class DatabaseUrlError(StorageError):
    """Its URL can't be right, whatever is there."""


class DatabaseUnreachable(StorageError):  # noqa: N818 - reads as what happened
    """Its server does not answer, which may pass by itself."""


class DatabaseLost(StorageError):  # noqa: N818
    """It is not the one any more that this process began with: only a new start helps."""
