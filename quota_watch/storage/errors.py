"""What can go wrong with the database, in words."""

from quota_watch.domain.errors import QuotaWatchError


class StorageError(QuotaWatchError):
    """The database is missing, of another schema, or can't be used."""
