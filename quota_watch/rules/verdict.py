"""What a rule that looks ahead or back can say of now."""

from enum import StrEnum


class Ruling(StrEnum):
    """Whether what a rule is about is true now; unknown neither begins nor ends a story."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"
