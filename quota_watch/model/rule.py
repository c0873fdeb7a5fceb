"""What an alert can be about, and how much it matters."""

from enum import IntEnum, StrEnum


class Rule(StrEnum):
    """What an alert is about."""

    THRESHOLD = "threshold"
    FORECAST = "forecast"
    SPIKE = "spike"
    STALLED = "stalled"
    BLIND = "blind"
    LIMIT = "limit"
    MISMATCH = "mismatch"
    DELIVERY = "delivery"
    CONFIG = "config"
    DISCOVERED = "discovered"
    ENFORCED = "enforced"
    NO_PLAN = "no_plan"
    MOVED = "moved"
    SITE_BUDGET = "site_budget"


class Severity(IntEnum):
    """How much an alert matters; ordered."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def label(self) -> str:
        """The word for it, as it stands in JSON, mails and the config."""
        return self.name.lower()

    @classmethod
    def of(cls, label: str) -> "Severity":
        """Return the severity called `label`."""
        return cls[label.upper()]
