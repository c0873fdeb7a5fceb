"""Facts as plain values: what JSON can hold."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any


def plain(fact: Any) -> Any:
    """Return a fact as dicts, lists, texts and numbers; dates ISO 8601, times in UTC with `Z`."""
    if is_dataclass(fact) and not isinstance(fact, type):
        return {each.name: plain(getattr(fact, each.name)) for each in fields(fact)}
    if isinstance(fact, Mapping):
        return {str(plain(name)): plain(value) for name, value in fact.items()}
    if isinstance(fact, (list, tuple)):
        return [plain(each) for each in fact]
    if isinstance(fact, datetime):
        return iso(fact)
    if isinstance(fact, date):
        return fact.isoformat()
    return fact.value if isinstance(fact, Enum) else fact


def iso(moment: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC with `Z`; milliseconds only where there are some."""
    if moment is None:
        return None
    moment = moment.astimezone(UTC)
    whole = moment.microsecond == 0
    text = moment.isoformat(timespec="seconds" if whole else "milliseconds")
    return text.replace("+00:00", "Z")
