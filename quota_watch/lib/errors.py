"""The root of every error that quota-watch raises itself."""


class QuotaWatchError(Exception):
    """Something went wrong in a way a person can act on; `str()` says how and holds no secret."""
