"""Tables of the config as frozen classes: a key's annotation defines its allowed values.

In `Annotated[kind, check]` the check converts what is in the file, or raises
`InvalidValueError`; `Then(check)` converts what the kind has read. Without a check the kind
decides: a section, a tuple, a frozenset, a mapping, or a union of sections that differ by `type`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    NoReturn,
    Self,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from quota_watch.config.values import (
    InvalidValueError,
    Problem,
    closest,
    key_path,
    kind_of,
    quoted,
)

FORMATS = ("json", "slack", "discord", "teams", "pagerduty")
"""The formats of webhooks."""

_IN_BRACKETS = "put it in brackets: […]"

Location = tuple[str | int, ...]
_Reader = Callable[[object, "_Place"], Any]
S = TypeVar("S", bound="Section")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Section:
    """A table of the config: read-only; unknown keys are errors. `given` are the keys it had.

    Its subclasses are written like dataclasses, with defaults that can't change; `examples` shows
    how each key that must be there is written. These methods do for all of them: a dataclass has
    its own compiled, which takes a while for twenty tables.
    """

    given: frozenset[str] = frozenset()
    examples = MappingProxyType[str, str]({})

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(f"{name} can't be changed")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for _, name in _keys(type(self)))

    __hash__ = None  # type: ignore[assignment]  # as of all that holds mappings

    def __repr__(self) -> str:
        parts = ", ".join(f"{key}={getattr(self, name)!r}" for key, name in _keys(type(self)))
        return f"{type(self).__name__}({parts})"

    def but(self, **changes: Any) -> Self:
        """Copy the table with some keys changed."""
        values = {name: getattr(self, name) for _, name in _keys(type(self))}
        return type(self)(**{"given": self.given} | values | changes)


@dataclass(frozen=True, slots=True)
class Then:
    """A check of what the kind has read; others check what is in the file."""

    check: Callable[[Any], Any]


class InFolder:
    """Marks paths that are relative to the config's folder."""


def read(
    kind: type[S], value: Mapping[str, object], folder: Path = Path()
) -> tuple[S | None, list[Problem]]:
    """Read a mapping as a table, or collect all the problems that it has by itself."""
    place = _Place((), value, kind, folder, [])
    table: Any = kind  # which the cache takes for a key
    section = _reader(table)(value, place)
    return section if isinstance(section, kind) else None, place.problems


def keys_of(kind: type[Section]) -> tuple[str, ...]:
    """The keys of a table as they are written."""
    return tuple(key for key, _ in _keys(kind))


def parts_of(section: Section) -> Iterator[tuple[str, Any]]:
    """Yield each key that a table had, as it is written, with its value."""
    for key, name in _keys(type(section)):
        if name in section.given:
            yield key, getattr(section, name)


def _keys(kind: Any) -> Sequence[tuple[str, str]]:
    """The keys of a table as they are written, with the names of its attributes."""
    return _keys_once(kind)


@cache
def _keys_once(kind: Any) -> Sequence[tuple[str, str]]:
    classes = [each for each in reversed(kind.mro()) if issubclass(each, Section)]
    names = dict.fromkeys(name for each in classes for name in each.__annotations__)
    return [(name.rstrip("_"), name) for name in names if name != "given"]


_BAD = object()
"""What comes of a value that has a problem."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a document of a kind a value stands, and the problems found so far."""

    location: Location
    document: Mapping[str, object]
    kind: type[Section]
    folder: Path
    problems: list[Problem]

    def at(self, key: str | int) -> "_Place":
        location = (*self.location, key)
        return _Place(location, self.document, self.kind, self.folder, self.problems)

    def refuse(self, message: str) -> object:
        self.problems.append(Problem(key_path(self.location, self.document), message))
        return _BAD


@cache
def _reader(kind: Any) -> _Reader:
    origin, of = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _checked(*of)
    if isinstance(kind, type) and issubclass(kind, Section):
        return _section_reader(kind)
    if origin in {Union, UnionType}:
        known = [each for each in of if each is not NoneType]
        return _reader(known[0]) if len(known) == 1 else _by_type(known)
    if origin in {tuple, frozenset}:
        return _list_reader(origin, _reader(of[0]))
    if origin is Mapping:
        return _mapping_reader(*map(_reader, of))
    return lambda value, _: value


def _checked(kind: Any, *checks: Any) -> _Reader:
    readers = [_check_reader(each) for each in checks if not isinstance(each, Then)]
    readers = readers or [_reader(kind)]
    readers += [_check_reader(each.check) for each in checks if isinstance(each, Then)]

    def read_checked(value: object, place: _Place) -> Any:
        for reader in readers:
            value = reader(value, place)
            if value is _BAD:
                break
        return value

    return read_checked


def _check_reader(check: Any) -> _Reader:
    if check is InFolder:
        return lambda value, place: place.folder / str(value)

    def read_value(value: object, place: _Place) -> Any:
        try:
            return check(value)
        except InvalidValueError as error:
            return place.refuse(str(error))

    return read_value


def _section_reader(kind: Any) -> _Reader:
    hints = get_type_hints(kind, include_extras=True)
    readers = {key: (name, _reader(hints[name])) for key, name in _keys(kind)}
    needed = {key for key, name in _keys(kind) if not hasattr(kind, name)}

    def read_section(value: Mapping[str, object], place: _Place) -> Any:
        before = len(place.problems)
        parts = {}
        for key, (name, reader) in readers.items():
            if key in value:
                parts[name] = reader(value[key], place.at(key))
            elif key in needed:
                place.at(key).refuse(f"is missing; add {key} = {kind.examples[key]}")
        for key in value:
            if key not in readers:
                place.at(key).refuse(_unknown_key(key, kind, place.kind))
        return kind(**parts, given=frozenset(parts)) if len(place.problems) == before else _BAD

    return _table_reader(read_section, kind.examples)


def _by_type(kinds: Sequence[Any]) -> _Reader:
    """Make a reader of tables whose key `type` decides their kind."""
    types = {str(kind.type): kind for kind in kinds}

    def read_one(value: Mapping[str, object], place: _Place) -> Any:
        type_ = value.get("type")
        kind = types.get(type_) if isinstance(type_, str) else None
        if kind is None:
            return place.at("type").refuse(_bad_type(type_, types))
        return _reader(kind)(value, place)

    return _table_reader(read_one)


def _list_reader(make: Callable[[Any], Any], item: _Reader) -> _Reader:
    def read_list(value: object, place: _Place) -> Any:
        if not isinstance(value, list | tuple):
            is_table = place.location == ("organizations",)
            form = "write [[organizations]], in double brackets" if is_table else _IN_BRACKETS
            return place.refuse(f"not a list but {kind_of(value)}; {form}")
        items = [item(each, place.at(index)) for index, each in enumerate(value)]
        return _BAD if any(each is _BAD for each in items) else make(items)

    return read_list


def _mapping_reader(key: _Reader, item: _Reader) -> _Reader:
    def read_mapping(value: Mapping[str, object], place: _Place) -> Any:
        items = [
            (key(name, place.at(name)), item(each, place.at(name))) for name, each in value.items()
        ]
        return _BAD if any(_BAD in pair for pair in items) else dict(items)

    return _table_reader(read_mapping)


def _table_reader(
    read_table: Callable[[Mapping[str, object], _Place], Any],
    parts: Mapping[str, str] = MappingProxyType({"NAME": "…"}),
) -> _Reader:
    """Make a reader that refuses what is no table, and shows how one with `parts` is written."""

    def read_value(value: object, place: _Place) -> Any:
        if isinstance(value, Mapping):
            return read_table(value, place)
        form = _form(place.location, parts)
        return place.refuse(f"not a table but {kind_of(value)}; write {form}")

    return read_value


def _form(location: Location, parts: Mapping[str, str]) -> str:
    match location:
        case ("channels" | "groups" | "plans" as section,) | (
            "channels" | "groups" | "plans" as section,
            _,
        ):
            return f"[{section}.NAME] and the keys below it"
        case ("organizations", _):
            return "[[organizations]] and the keys below it"
        case (section,):
            return f"[{section}] and the keys below it"
    return f"{{ {', '.join(f'{key} = {value}' for key, value in parts.items())} }}"


def _unknown_key(key: str, kind: type[Section], document: type[Section]) -> str:
    known = keys_of(kind)
    homes = [f"[{name}]" for name, table in _tables(document) if key in keys_of(table)]
    hint = f'"{near}"' if (near := closest(key, known)) else " or ".join(homes)
    return f"unknown key; allowed: {quoted(known)}" + (f"; did you mean {hint}?" if hint else "")


def _tables(kind: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """Yield the tables that a document has once, by name."""
    for name, hint in get_type_hints(kind).items():
        for each in (hint, *get_args(hint)) if isinstance(hint, type | UnionType) else ():
            if isinstance(each, type) and issubclass(each, Section):
                yield name, each


def _bad_type(type_: object, known: Mapping[str, object]) -> str:
    if type_ is None:
        return f"is missing; allowed: {quoted(known)}"
    if isinstance(type_, str) and type_ in FORMATS:
        name = quoted([type_])
        return f'{name} is a format; write type = "webhook" and format = {name}'
    near = closest(type_, known)
    what = "unknown channel type"
    return str(InvalidValueError(what, value=type_, allowed=quoted(known), meant=near))
