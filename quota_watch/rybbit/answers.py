"""Reading what Rybbit answers with 200, above all its event counts: days, or nothing at all.

An answer is whole and sane or it is refused with a sentence; nothing in it is guessed.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from quota_watch.lib.text import one_line
from quota_watch.model.period import OTHER, DayCounts, each_day
from quota_watch.model.source import ErrorKind, UpstreamError

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

_SHORT, _SENTENCE = 40, 200  # characters of what is quoted

_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z?)?", re.ASCII)
_TYPE_FIELD = re.compile(r"([a-z][a-z0-9_]{0,39})_count", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,19}")


_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
_PLAIN_ENDINGS = frozenset({"", " 00:00:00"})
"""What follows the date in UTC, as it is always asked for."""


class _PlainRow(msgspec.Struct, forbid_unknown_fields=True):
    """A day as Rybbit's present releases write it; the types are those of `KNOWN_TYPES`."""

    pageview_count: _Count
    custom_event_count: _Count
    performance_count: _Count
    outbound_count: _Count
    error_count: _Count
    button_click_count: _Count
    copy_count: _Count
    form_submit_count: _Count
    input_change_count: _Count
    event_count: _Count
    event_date: str


class _PlainAnswer(msgspec.Struct, forbid_unknown_fields=True):
    data: list[_PlainRow]


_decoder = msgspec.json.Decoder(_PlainAnswer)


def bad_answer(message: str, *, status: int | None = 200) -> UpstreamError:
    """Return the error for an answer that can't be believed; the next one may be better."""
    return UpstreamError(ErrorKind.BAD_ANSWER, message, may_pass=True, status=status)


def parse_range(body: bytes, *, start: date, end: date) -> tuple[DayCounts, ...]:
    """Read the days from `start` to `end`; only that of `end` itself may be missing.

    Days nobody asked for and gaps both mean that something was misunderstood. Raises as
    `parse_days`.
    """
    plain = parse_plain(body, start=start, end=end)
    if plain is not None:
        return plain
    days = parse_days(body)
    got = {counts.day for counts in days}
    outside = [day for day in sorted(got) if not start <= day <= end]
    if outside:
        raise bad_answer(
            f"it has {len(outside)} days outside {start} to {end}, such as {outside[0]}"
        )
    missing = [day for day in each_day(start, end) if day not in got and day != end]
    if missing:
        raise bad_answer(
            f"{len(missing)} days of {start} to {end} are missing, the first is {missing[0]}"
        )
    return days


def parse_plain(body: bytes, *, start: date, end: date) -> tuple[DayCounts, ...] | None:
    """Read in compiled code an answer that is as usual: all days, in order, nothing unknown.

    None for any other, which may be right all the same, or says what is wrong with it, when it is
    read piece by piece. It never accepts what `parse_days` does not.
    """
    try:
        rows = _decoder.decode(body).data
    except msgspec.MsgspecError:
        return None
    days = _written_days(start, end)
    if not len(days) - 1 <= len(rows) <= len(days) or not _is_unambiguous(body, rows):
        return None
    plain = []
    for row, (written, day) in zip(rows, days, strict=False):
        *by_type, total, event_date = msgspec.structs.astuple(row)
        unnamed = total - sum(by_type)
        if unnamed < 0 or event_date[:10] != written or event_date[10:] not in _PLAIN_ENDINGS:
            return None
        counts = {type_: n for type_, n in zip(KNOWN_TYPES, by_type, strict=True) if n}
        if unnamed:
            counts[OTHER] = unnamed
        plain.append(DayCounts(day, counts))
    return tuple(plain)


def parse_days(body: bytes) -> tuple[DayCounts, ...]:
    """Fold the rows of `GET /api/org-event-count/:id` into days, oldest first.

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


def quotable(text: Any) -> str | None:
    """Return upstream's own words on one line, or None where they are none or too many."""
    line = one_line(text, None) if isinstance(text, str) else ""
    return line if 0 < len(line) <= _SENTENCE else None


def looks_like_html(body: bytes) -> bool:
    """Recognize a web page or XML; no JSON begins so."""
    return body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


@lru_cache(maxsize=16)
def _written_days(start: date, end: date) -> tuple[tuple[str, date], ...]:
    return tuple((day.isoformat(), day) for day in each_day(start, end))


def _is_unambiguous(body: bytes, rows: list[_PlainRow]) -> bool:
    """Decide whether no field stands twice in one object, where the decoder takes the last.

    Without escapes each colon of the text is one of a field or one inside of a date.
    """
    fields = 1 + len(rows) * len(_PlainRow.__struct_fields__)
    return b"\\" not in body and body.count(b":") == fields + sum(
        row.event_date.count(":") for row in rows
    )


def read_json(body: bytes) -> Any:
    """Return what the body says; raises `UpstreamError` of kind `bad_answer`."""
    if not body.strip():
        raise bad_answer("it is empty")
    if looks_like_html(body):
        raise bad_answer("it is a web page, not JSON: base_url may not point to Rybbit's API")
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_unambiguous, parse_constant=_no_number
        )
    except UnicodeDecodeError:
        raise bad_answer("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        where = f"at character {error.pos} of {len(error.doc)}"
        raise bad_answer(f"it is not JSON, or was cut short ({error.msg} {where})") from None
    except RecursionError:
        raise bad_answer("it is JSON nested too deeply to come from Rybbit") from None
    except ValueError as error:  # a number of thousands of digits
        raise bad_answer(f"it is not valid JSON: {quotable(str(error))}") from None


def read_object(body: bytes) -> Mapping[str, Any]:
    """Return the object that the body is; raises as `read_json`."""
    answer = read_json(body)
    if not isinstance(answer, dict):
        raise bad_answer(f"it is {excerpt(answer)}, not an object")
    return answer


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, but not one that says two things under one name."""
    built = dict(pairs)
    if len(built) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise bad_answer(f"it has the field {excerpt(name)} twice in one object")
    return built


def _no_number(name: str) -> Any:
    raise bad_answer(f"it has {name} where JSON has no such number")


def _rows(body: bytes) -> list[Any]:
    answer = read_json(body)
    if not isinstance(answer, dict) or "data" not in answer:
        raise bad_answer(f'it is JSON but has no list "data"{own_error(answer)}')
    rows = answer["data"]
    if not isinstance(rows, list):
        raise bad_answer(f'"data" is {excerpt(rows)}, not a list of days')
    return rows


def _day(row: Any, number: int) -> date:
    if not isinstance(row, dict):
        raise bad_answer(f"row {number} is {excerpt(row)}, not an object")
    value = row.get("event_date")
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    try:
        return date.fromisoformat(match[1] if match else "")
    except ValueError:
        written = excerpt(value) if "event_date" in row else "missing"
        raise bad_answer(f"row {number}: event_date is {written}, not a date") from None


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


def as_count(value: Any) -> int | None:
    """Return a JSON value as a number of events, or None where it is none.

    Strings of digits are what older engines send (UPSTREAM.md § 3).
    """
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= MAX_COUNT else None


def own_error(answer: Any) -> str:
    """Return the error an answer of 200 holds all the same, as an addition to a sentence."""
    error = quotable(answer.get("error")) if isinstance(answer, dict) else None
    return f": it says {error!r}" if error else ""


def excerpt(value: Any) -> str:
    """Return how a JSON value looks, in at most about forty characters."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return f'"{one_line(value, _SHORT)}"'
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return one_line(str(value), _SHORT)
