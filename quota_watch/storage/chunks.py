"""Long lists cut to what one statement can be given."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

_MOST = 10_000  # PostgreSQL takes 65,535 parameters, SQLite 32,766

T = TypeVar("T")


def chunks(values: Sequence[T], most: int = _MOST) -> Iterator[Sequence[T]]:
    """Yield the values in order, at most so many at a time."""
    for start in range(0, len(values), most):
        yield values[start : start + most]
