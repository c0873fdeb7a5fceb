"""Text, HTTP, logs, files and clocks, independent of quotas; the base class of our errors."""


class QuotaWatchError(Exception):
    """A failure that a person can act on; `str()` describes it and holds no secret."""
