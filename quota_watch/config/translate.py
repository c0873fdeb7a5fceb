"""Pydantic's errors in our words: they show no value but where a validator of ours shows it."""

from collections.abc import Mapping

from pydantic_core import ErrorDetails

from quota_watch.config.models import CHANNELS, SECTIONS, Document, Section
from quota_watch.config.problems import (
    InvalidValueError,
    Problem,
    closest,
    key_path,
    kind_of,
    quoted,
)

Location = tuple[str | int, ...]


def problem_of(details: ErrorDetails, document: Mapping[str, object]) -> Problem:
    """Return the problem that pydantic found in the document, at its key."""
    location, model = _locate(details["loc"])
    error = details.get("ctx", {}).get("error")
    key, given = key_path(location, document), details["input"]
    if isinstance(error, InvalidValueError):
        return Problem(key, str(error))
    match details["type"]:
        case "missing":
            return Problem(key, "is missing")
        case "extra_forbidden":
            return Problem(key, _unknown_key(location[-1], model))
        case "union_tag_not_found" | "union_tag_invalid":
            return Problem(f"{key}.type", _bad_type(given))
        case "tuple_type" | "frozen_set_type":
            return Problem(key, f"not a list but {kind_of(given)}{_list_hint(location)}")
        case _:
            return Problem(key, f"not a table but {kind_of(given)}{_table_hint(location)}")


def keys_of(model: type[Section]) -> tuple[str, ...]:
    """Return the keys of a table as they are written."""
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _locate(location: Location) -> tuple[Location, type[Section]]:
    """Return where an error is, without pydantic's marks, and the model of the table there."""
    section, *rest = location
    if rest and rest[-1] == "[key]":
        rest.pop()
    if section == "channels" and len(rest) > 1:
        model = CHANNELS[str(rest.pop(1))]
        return (section, *rest), model
    return (section, *rest), SECTIONS.get(str(section), Document) if rest else Document


def _unknown_key(key: object, model: type[Section]) -> str:
    known = keys_of(model)
    meant = closest(key, known)
    return f"unknown key; allowed: {quoted(known)}" + (
        f'; did you mean "{meant}"?' if meant else ""
    )


def _bad_type(channel: object) -> str:
    given = channel.get("type") if isinstance(channel, dict) else None
    if given is None:
        return f"is missing; allowed: {quoted(CHANNELS)}"
    meant = closest(given, CHANNELS)
    what = "unknown channel type"
    return str(InvalidValueError(what, value=given, allowed=quoted(CHANNELS), meant=meant))


def _list_hint(location: Location) -> str:
    if location == ("organizations",):
        return "; write [[organizations]], in double brackets"
    return "; put it in brackets: […]"


def _table_hint(location: Location) -> str:
    section, *below = location
    if section in {"channels", "plans"} and len(below) in {0, 1}:
        return f"; write [{section}.NAME] and the keys below it"
    return f"; write [{section}] and the keys below it" if not below else ""
