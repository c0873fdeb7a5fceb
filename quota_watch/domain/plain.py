"""Facts of the domain as plain values: what JSON can hold."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any

from quota_watch.domain.shapes import iso


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
