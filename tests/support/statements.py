"""The statements that something takes."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event


@contextmanager
def statements(of: Connection | type[Engine]) -> Iterator[list[str]]:
    """Collect what is executed meanwhile on a connection, or on all engines."""
    executed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        executed.append(statement)

    event.listen(of, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(of, "before_cursor_execute", note)
