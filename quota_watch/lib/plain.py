"""Facts as plain values: what JSON can hold."""

from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any


def plain(fact: Any) -> Any:
    """Return a fact as dicts, lists, texts and numbers; dates ISO 8601, times in UTC with `Z`.

    What has a shape of its own says so by a method `to_json`; else it is that of the fields.
    """
    if hasattr(fact, "to_json"):
        return fact.to_json()
    if is_dataclass(fact):
        return by_field(fact)
    if isinstance(fact, Mapping):
        return {str(plain(name)): plain(value) for name, value in fact.items()}
    if isinstance(fact, (list, tuple)):
        return [plain(each) for each in fact]
    if isinstance(fact, date):
        return iso(fact) if isinstance(fact, datetime) else fact.isoformat()
    return fact.value if isinstance(fact, Enum) else fact


def by_field(fact: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass as `plain` has them."""
    names = (each.name for each in fields(fact) if each.name not in without)
    return {name: plain(getattr(fact, name)) for name in names}


def iso(moment: datetime | None) -> str | None:
    """Write a moment as ISO 8601 in UTC with `Z`; milliseconds only where there are some."""
    if moment is None:
        return None
    moment = moment.astimezone(UTC)
    whole = moment.microsecond == 0
    text = moment.isoformat(timespec="seconds" if whole else "milliseconds")
    return text.replace("+00:00", "Z")
