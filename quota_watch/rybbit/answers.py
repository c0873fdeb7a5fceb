"""Reading the answers of Rybbit's organization event count: days, or nothing at all.

An answer is whole and sane or it is refused with a sentence; nothing in it is guessed.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from quota_watch.model.source import ErrorKind, UpstreamError
from quota_watch.model.usage import OTHER, DayCounts
from quota_watch.rybbit.words import excerpt, looks_like_html, quotable

KNOWN_TYPES = (
    "pageview",
    "custom_event",
    "performance",
    "outbound",
    "error",
    "button_click",
    "copy",
    "form_submit",
    "input_change",
)
"""The event types whose sum is `event_count` (UPSTREAM.md § 3)."""

MAX_COUNT = 10**17
"""The largest believable count; beyond it a sum over a month would not fit 64 bits."""

_EXACT = 2**53
_ROUNDING = 128
"""How far ten counts below `MAX_COUNT` can be off together once each was made a double."""

_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z?)?", re.ASCII)
_TYPE_FIELD = re.compile(r"([a-z][a-z0-9_]{0,39})_count", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,19}")


def parse_days(body: bytes) -> tuple[DayCounts, ...]:
    """Fold the rows of a 200 body into days, oldest first.

    Rows are joined by the first ten characters of `event_date`; the rest is the time zone's
    (UPSTREAM.md § 4). Raises `UpstreamError` of kind `bad_answer`.
    """
    days: dict[date, Counter[str]] = {}
    for number, row in enumerate(_rows(body), start=1):
        day = _day(row, number)
        days.setdefault(day, Counter()).update(_by_type(row, f"row {number} ({day})"))
    for day, by_type in days.items():
        if by_type.total() > MAX_COUNT:
            raise bad_answer(f"the rows of {day} add up to more events than there can be")
    return tuple(
        DayCounts(day, {type_: n for type_, n in days[day].items() if n}) for day in sorted(days)
    )


def bad_answer(message: str, *, status: int | None = 200) -> UpstreamError:
    """Return the error for an answer that can't be believed; the next one may be better."""
    return UpstreamError(ErrorKind.BAD_ANSWER, message, may_pass=True, status=status)


def read_json(body: bytes) -> Any:
    """Return what the body says; raises `UpstreamError` of kind `bad_answer`."""
    if not body.strip():
        raise bad_answer("it is empty")
    if looks_like_html(body):
        raise bad_answer("it is a web page, not JSON: base_url may not lead to Rybbit's API")
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_number
        )
    except UnicodeDecodeError:
        raise bad_answer("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        where = f"at character {error.pos} of {len(error.doc)}"
        raise bad_answer(f"it is not JSON, or was cut short ({error.msg} {where})") from None
    except RecursionError:
        raise bad_answer("it is JSON nested too deeply to be Rybbit's") from None
    except ValueError as error:  # a number of thousands of digits
        raise bad_answer(f"it is not sane JSON: {quotable(str(error))}") from None


def as_count(value: Any) -> int | None:
    """Return a JSON value as a number of events, or None where it is none.

    Strings of digits are what older engines send (UPSTREAM.md § 3).
    """
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= MAX_COUNT else None


def _rows(body: bytes) -> list[Any]:
    answer = read_json(body)
    rows = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(rows, list):
        return rows
    if isinstance(answer, dict) and "data" in answer:
        raise bad_answer(f'"data" is {excerpt(answer["data"])}, not a list of days')
    said = quotable(answer.get("error")) if isinstance(answer, dict) else None
    raise bad_answer(f'it is JSON but has no list "data"{f": it says {said!r}" if said else ""}')


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, but not one that says two things under one name."""
    built = dict(pairs)
    if len(built) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise bad_answer(f"it has the field {excerpt(name)} twice in one object")
    return built


def _no_number(name: str) -> Any:
    raise bad_answer(f"it has {name} where JSON has no such number")


def _day(row: Any, number: int) -> date:
    if not isinstance(row, dict):
        raise bad_answer(f"row {number} is {excerpt(row)}, not an object")
    value = row.get("event_date")
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    try:
        return date.fromisoformat(match[1] if match else "")
    except ValueError:
        said = excerpt(value) if "event_date" in row else "missing"
        raise bad_answer(f"row {number}: event_date is {said}, not a date") from None


def _by_type(row: Mapping[str, Any], where: str) -> Counter[str]:
    """Return the row's counts by type; they sum to its `event_count`."""
    counts = {name: _count(row, name, where) for name in row if name.endswith("_count")}
    if "event_count" not in counts:
        raise bad_answer(f"{where}: event_count is missing")
    total = counts.pop("event_count")
    known = Counter({type_: counts.pop(f"{type_}_count", 0) for type_ in KNOWN_TYPES})
    over = known.total() - total
    if over > (_ROUNDING if total >= _EXACT else 0):
        raise bad_answer(f"{where}: its types add up to {over} more than event_count, {total}")
    new = _new_types(counts)
    if 0 < new.total() <= -over:
        known += new
    known[OTHER] += total - known.total()
    return known


def _new_types(counts: Mapping[str, int]) -> Counter[str]:
    """Return the counts of types that are newer than this program."""
    named = ((_TYPE_FIELD.fullmatch(field), n) for field, n in counts.items())
    return Counter({match[1]: n for match, n in named if match})


def _count(row: Mapping[str, Any], name: str, where: str) -> int:
    value = as_count(row[name])
    if value is not None:
        return value
    raise bad_answer(
        f"{where}: {quotable(name) or 'a count'} is {excerpt(row[name])},"
        " not a whole number from 0 to 10^17"
    )
