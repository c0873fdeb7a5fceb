"""Tables of the config as frozen classes: a key's annotation defines its allowed values.

Sections, tuples, frozensets, mappings and unions of sections that differ by `type` are read part
by part; anything else stays as it is in the file. Then each check in `Annotated[kind, check]`
converts what was read, or raises `InvalidValueError`. A `Path` is relative to the config's folder.
"""

from collections.abc import Callable, Mapping, Sequence
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

_READ_BY_PART = {Annotated, Mapping, frozenset, tuple}
_NONE: Mapping[str, str] = MappingProxyType({})
_IN_BRACKETS = "put it in brackets: […]"

Location = tuple[str | int, ...]
S = TypeVar("S", bound="Section")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Section:
    """A table of the config: read-only; unknown keys are errors. Its `vars` are what it had.

    Its subclasses are written like dataclasses, with defaults that can't change; `needed` are the
    keys that must be there, each with an example of its value. These methods do for all of them:
    a dataclass has its own compiled, which takes a while for twenty tables.
    """

    needed = _NONE

    def __init_subclass__(cls, needed: Mapping[str, str] = _NONE) -> None:
        cls.needed = needed

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(f"{name} can't be changed")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"

    def but(self, **changes: Any) -> Self:
        """Copy the table with some keys changed."""
        kept = {name: part for name, part in vars(self).items() if not name.startswith("_")}
        return type(self)(**kept | changes)


def read(
    kind: type[S], document: Mapping[str, object], folder: Path = Path()
) -> tuple[S | None, list[Problem]]:
    """Read a mapping as a table, or collect all the problems that it has by itself."""
    reading = _Reading(kind, document, folder, [])
    section = reading.read(kind, document, ())
    return None if reading.problems else section, reading.problems


@cache
def keys_of(kind: Any) -> Mapping[str, tuple[str, Any]]:
    """Map the keys of a section, as they are written, to name and annotation of their attribute."""
    hints = get_type_hints(kind, include_extras=True)
    return {name.rstrip("_"): (name, hint) for name, hint in hints.items()}


@cache
def _shape(kind: Any) -> tuple[Any, Sequence[Any]]:
    """Find how a kind is read, and its parts: as a `Section` of one of them, or by its origin.

    Where that is None, values stay as they are.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        parts = tuple(each for each in parts if each is not NoneType)
        if len(parts) == 1:
            return _shape(parts[0])
        return (Section if all(map(_is_section, parts)) else None), parts
    if _is_section(kind):
        return Section, (kind,)
    return (origin if origin in _READ_BY_PART else None), parts


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A document that is read as a section of a kind, and the problems found so far.

    What comes of a value that has a problem is of no use.
    """

    kind: type[Section]
    document: Mapping[str, object]
    folder: Path
    problems: list[Problem]

    def refuse(self, message: str, location: Location) -> None:
        self.problems.append(Problem(key_path(location, self.document), message))

    def read(self, kind: Any, value: Any, location: Location) -> Any:
        """Read a value as its kind has it."""
        how, parts = _shape(kind)
        if how is None:
            return value
        if how is Annotated:
            return self.read_checked(parts[0], parts[1:], value, location)
        if how is tuple or how is frozenset:
            return self.read_list(how, parts[0], value, location)
        if not isinstance(value, Mapping):
            form = _form(location, parts[0].needed if how is Section else {"NAME": "…"})
            return self.refuse(f"not a table but {kind_of(value)}; write {form}", location)
        if how is Mapping:
            key, item = parts
            return {
                self.read(key, name, (*location, name)): self.read(item, each, (*location, name))
                for name, each in value.items()
            }
        return self.read_section(parts, value, location)

    def read_checked(
        self,
        kind: Any,
        checks: Sequence[Callable[[Any], Any]],
        value: object,
        location: Location,
    ) -> Any:
        before = len(self.problems)
        value = self.read(kind, value, location)
        if len(self.problems) > before:
            return None
        try:
            for check in checks:
                value = check(value)
        except InvalidValueError as error:
            return self.refuse(str(error), location)
        return self.folder / str(value) if kind is Path else value

    def read_list(
        self, make: Callable[[Any], Any], item: Any, value: object, location: Location
    ) -> Any:
        if isinstance(value, list | tuple):
            return make([self.read(item, each, (*location, n)) for n, each in enumerate(value)])
        is_table = location == ("organizations",)
        form = "write [[organizations]], in double brackets" if is_table else _IN_BRACKETS
        return self.refuse(f"not a list but {kind_of(value)}; {form}", location)

    def read_section(
        self, kinds: Sequence[Any], value: Mapping[str, object], location: Location
    ) -> Any:
        """Read a table as the only one of the kinds, or the one whose `type` it has."""
        kind, type_ = kinds[0], value.get("type")
        if len(kinds) > 1:
            types = {each.type: each for each in kinds}
            if not isinstance(type_, str) or type_ not in types:
                return self.refuse(_bad_type(type_, types), (*location, "type"))
            kind = types[type_]
        keys = keys_of(kind)
        parts = {}
        for key, (name, hint) in keys.items():
            if key in value:
                parts[name] = self.read(hint, value[key], (*location, key))
            elif key in kind.needed:
                self.refuse(f"is missing; add {key} = {kind.needed[key]}", (*location, key))
        for key in value:
            if key not in keys:
                self.refuse(_unknown_key(key, kind, self.kind), (*location, key))
        return kind(**parts)


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


def _unknown_key(key: str, kind: Any, document: Any) -> str:
    shapes = {name: _shape(hint) for name, (_, hint) in keys_of(document).items()}
    tables = {name: parts[0] for name, (how, parts) in shapes.items() if how is Section}
    homes = [f"[{name}]" for name, table in tables.items() if key in keys_of(table)]
    known = keys_of(kind)
    hint = f'"{near}"' if (near := closest(key, known)) else " or ".join(homes)
    text = f"unknown key; allowed: {quoted(sorted(known))}"
    return text + (f"; did you mean {hint}?" if hint else "")


def _bad_type(type_: object, known: Mapping[str, object]) -> str:
    if type_ is None:
        return f"is missing; allowed: {quoted(known)}"
    if isinstance(type_, str) and type_ in FORMATS:
        name = quoted([type_])
        return f'{name} is a format; write type = "webhook" and format = {name}'
    error = InvalidValueError(
        "unknown channel type", value=type_, allowed=quoted(known), meant=closest(type_, known)
    )
    return str(error)
