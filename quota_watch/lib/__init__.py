"""Knows nothing of quotas: text, figures, HTTP, logs, clock; the root of our own errors."""


class QuotaWatchError(Exception):
    """Something went wrong in a way a person can act on; `str()` says how and holds no secret."""
