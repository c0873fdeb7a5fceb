"""Reads Rybbit's answers of 200: event counts, plans, sites, and its own release.

An answer is complete and consistent, or it is rejected with a sentence; nothing is guessed.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from quota_watch.model.period import OTHER, DayCounts, each_day
from quota_watch.model.source import Account, Site, SiteUsage
from quota_watch.rybbit.errors import (
    bad_answer,
    excerpt,
    own_error,
    quotable,
    read_json,
    read_object,
)

MAX_COUNT = 10**17
"""The largest plausible count; beyond it a sum over a month would not fit 64 bits."""

_EXACT = 2**53
_ROUNDING = 128
"""How far ten counts below `MAX_COUNT` can be off together once each was made a double."""

_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z?)?", re.ASCII)
_TYPE_FIELD = re.compile(r"([a-z][a-z0-9_]{0,39})_count", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,19}")
_RELEASE = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})", re.ASCII)

_UNKNOWN_PLAN = "Unknown Plan"  # a price that Rybbit does not list (UPSTREAM.md § 6)
_TAKES_KEYS = (2, 7)  # UPSTREAM.md § 2
_ISO_DATE = len("2026-11-01")

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class _PlainRow(
    msgspec.Struct,
    forbid_unknown_fields=True,
    rename=lambda name: name if name == "event_date" else f"{name}_count",
):
    """A day as Rybbit's present releases write it: its counts by type, their sum and its date."""

    pageview: _Count
    custom_event: _Count
    performance: _Count
    outbound: _Count
    error: _Count
    button_click: _Count
    copy: _Count
    form_submit: _Count
    input_change: _Count
    event: _Count
    event_date: str


KNOWN_TYPES = _PlainRow.__struct_fields__[:-2]
"""The event types whose sum is `event_count` (UPSTREAM.md § 3)."""


class _PlainAnswer(msgspec.Struct, forbid_unknown_fields=True):
    data: list[_PlainRow]


_decoder = msgspec.json.Decoder(_PlainAnswer)


def parse_range(body: bytes, *, start: date, end: date) -> tuple[DayCounts, ...]:
    """Read the days from `start` to `end`; only that of `end` itself may be missing.

    Days outside the range and gaps both mean that something was misunderstood. Raises as
    `parse_days`.
    """
    plain = parse_plain(body, start=start, end=end)
    if plain is not None:
        return plain
    days = parse_days(body)
    dates = {counts.day for counts in days}
    outside = [day for day in sorted(dates) if not start <= day <= end]
    if outside:
        raise bad_answer(
            f"it has {len(outside)} days outside {start} to {end}, such as {outside[0]}"
        )
    missing = [day for day in each_day(start, end) if day not in dates and day != end]
    if missing:
        raise bad_answer(
            f"{len(missing)} days of {start} to {end} are missing, the first is {missing[0]}"
        )
    return days


def parse_plain(body: bytes, *, start: date, end: date) -> tuple[DayCounts, ...] | None:
    """Read a usual answer in compiled code, five times as fast as `parse_days`.

    All days are there, in order, and nothing unknown. None for any other answer, which may be
    valid: `parse_days` reads what older servers and other time zones write, and says what is wrong.
    Never accepts what that rejects.
    """
    try:
        rows = _decoder.decode(body).data
    except (msgspec.MsgspecError, UnicodeDecodeError):  # the latter for a name or date not UTF-8
        return None
    days = _written_days(start, end)
    if not len(days) - 1 <= len(rows) <= len(days):
        return None
    plain = []
    colons = 1 + len(rows) * len(_PlainRow.__struct_fields__)
    for row, (day, midnight, bare) in zip(rows, days, strict=False):
        counts = msgspec.structs.asdict(row)
        written = counts.pop("event_date")
        unnamed = counts.pop("event") - sum(counts.values())
        if unnamed < 0 or written not in (midnight, bare):
            return None
        colons += written.count(":")
        if 0 in counts.values():
            counts = {type_: n for type_, n in counts.items() if n}
        if unnamed:
            counts[OTHER] = unnamed
        plain.append(DayCounts(day, counts))
    # The decoder takes the last of a field that stands twice in one object, which is ambiguous.
    # Without escapes each colon of the text is one of a field or one inside of a date.
    return tuple(plain) if b"\\" not in body and body.count(b":") == colons else None


@lru_cache(maxsize=16)
def _written_days(start: date, end: date) -> tuple[tuple[date, str, str], ...]:
    """Return the days with the two ways to write them in UTC, as they are always requested."""
    return tuple((day, f"{day} 00:00:00", f"{day}") for day in each_day(start, end))


def parse_days(body: bytes) -> tuple[DayCounts, ...]:
    """Fold the rows of `GET /api/org-event-count/:id` into days, oldest first.

    Rows are joined by the first ten characters of `event_date`; the rest is the time zone's
    (UPSTREAM.md § 4). Raises `UpstreamError` of kind `bad_answer`.
    """
    answer = read_json(body)
    if not isinstance(answer, dict) or "data" not in answer:
        raise bad_answer(f'it is JSON but has no list "data"{own_error(answer)}')
    rows = answer["data"]
    if not isinstance(rows, list):
        raise bad_answer(f'"data" is {excerpt(rows)}, not a list of days')
    days: dict[date, Counter[str]] = {}
    for number, row in enumerate(rows, start=1):
        day = _day(row, number)
        days.setdefault(day, Counter()).update(_by_type(row, f"row {number} ({day})"))
    for day, by_type in days.items():
        if by_type.total() > MAX_COUNT:
            raise bad_answer(f"the rows of {day} add up to more events than there can be")
    return tuple(
        DayCounts(day, {type_: n for type_, n in days[day].items() if n}) for day in sorted(days)
    )


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
    # What is left is of event types that are newer than this program, as far as it is any.
    matches = ((_TYPE_FIELD.fullmatch(field), n) for field, n in counts.items())
    new = Counter({match[1]: n for match, n in matches if match})
    if 0 < new.total() <= -over:
        known += new
    known[OTHER] += total - known.total()
    return known


def _count(row: Mapping[str, Any], name: str, where: str) -> int:
    value = as_count(row[name])
    if value is not None:
        return value
    raise bad_answer(
        f"{where}: {quotable(name) or 'a count'} is {excerpt(row[name])},"
        " not a whole number from 0 to 10^17"
    )


@dataclass(frozen=True, slots=True)
class ListEntry:
    """An organization that a key sees, with its holder's role and the sites visible to it."""

    id: str
    name: str
    role: str | None
    sites: tuple[Site, ...]


def parse_account(body: bytes, *, organization: str) -> Account:
    """Read `GET /api/organizations/:id/sites` of `organization` (UPSTREAM.md § 9).

    Raises `UpstreamError` of kind `bad_answer`, also for a limit that can't be one.
    """
    answer = read_object(body)
    subscription = answer.get("subscription")
    if not isinstance(subscription, dict):
        raise bad_answer(f'it has no object "subscription"{own_error(answer)}')
    record = answer.get("organization")
    record = record if isinstance(record, dict) else {}
    if record.get("id", organization) != organization:
        raise bad_answer(f"it is about another organization, {excerpt(record['id'])}")
    plan = quotable(subscription.get("planName"))
    unknown = plan == _UNKNOWN_PLAN  # the limit beside it is only a default
    over = record.get("overMonthlyLimit")
    return Account(
        limit=0 if unknown else _limit(subscription, "eventLimit"),
        plan=plan,
        status=quotable(subscription.get("status")),
        counted=_counted(subscription, "monthlyEventCount"),
        enforced_over=over if isinstance(over, bool) else None,
        name=quotable(record.get("name")),
        role=quotable(answer.get("role")),
        sites=_sites(answer.get("sites"), "siteId"),
    )


def parse_site_usage(body: bytes) -> Account:
    """Read `GET /api/sites/:id/usage`: the limit and the count of the site's organization.

    Raises `UpstreamError` of kind `bad_answer`, also for a limit that can't be one.
    """
    answer = read_object(body)
    return Account(
        limit=_limit(answer, "orgEventLimit"), counted=_counted(answer, "orgEventsThisMonth")
    )


def parse_site_count(body: bytes) -> SiteUsage:
    """Read the site's own count, exact for billing, from `GET /api/sites/:id/usage`.

    Raises `UpstreamError` of kind `bad_answer`.
    """
    answer = read_object(body)
    counted, since = _counted(answer, "siteEventsThisMonth"), answer.get("periodStart")
    try:
        first = date.fromisoformat(str(since)[:_ISO_DATE])
    except ValueError as error:
        raise bad_answer(f"periodStart is {excerpt(since)}, not a date") from error
    if counted is None:
        raise bad_answer(f"siteEventsThisMonth is missing{own_error(answer)}")
    return SiteUsage(
        since=first,
        counted=counted,
        limit=as_count(answer.get("orgEventLimit")),
        of_all=as_count(answer.get("orgEventsThisMonth")),
    )


def parse_organizations(body: bytes) -> tuple[ListEntry, ...]:
    """Read `GET /api/organizations`; raises `UpstreamError` of kind `bad_answer`."""
    answer = read_json(body)
    if not isinstance(answer, list):
        raise bad_answer(f"it is {excerpt(answer)}, not a list of organizations{own_error(answer)}")
    return tuple(_organization(each, number) for number, each in enumerate(answer, start=1))


def parse_version(body: bytes) -> str:
    """Read `GET /api/version`; raises `UpstreamError` of kind `bad_answer`."""
    version = quotable(read_object(body).get("version"))
    if version is None or not _RELEASE.match(version):
        raise bad_answer("it names no Rybbit release: base_url may not point to Rybbit's API")
    return version


def supports_keys(version: str) -> bool:
    """Whether that release accepts keys for event counts; assumed where it can't be read."""
    release = _RELEASE.match(version)
    return release is None or (int(release[1]), int(release[2])) >= _TAKES_KEYS


def _organization(value: Any, number: int) -> ListEntry:
    id_ = quotable(value.get("id")) if isinstance(value, dict) else None
    if id_ is None:
        raise bad_answer(f"organization {number} of the list has no id")
    return ListEntry(
        id=id_,
        name=quotable(value.get("name")) or id_,
        role=quotable(value.get("role")),
        sites=_sites(value.get("sites"), "id"),
    )


def _sites(value: Any, field: str) -> tuple[Site, ...]:
    """Read a list of sites, skipping what is none: nothing is judged by them.

    `field` names the number by which both lists identify a site.
    """
    each = [site for site in value if isinstance(site, dict)] if isinstance(value, list) else []
    ids = ((_site_id(site.get(field)) or _site_id(site.get("id")), site) for site in each)
    return tuple(
        Site(
            id_,
            quotable(site.get("domain")) or quotable(site.get("name")) or id_,
            needs if isinstance(needs := site.get("requiresPlan"), bool) else None,
        )
        for id_, site in ids
        if id_
    )


def _site_id(value: Any) -> str | None:
    number = as_count(value)
    return quotable(value) if number is None else str(number)


def _limit(answer: Mapping[str, Any], name: str) -> int | None:
    """Read a limit: null from a server without limits, 0 from one that does not know its plan."""
    if name not in answer:
        raise bad_answer(f"{name} is missing{own_error(answer)}")
    return _counted(answer, name, "which is not a limit. Set it in the config")


def _counted(
    answer: Mapping[str, Any], name: str, complaint: str = "not a number of events"
) -> int | None:
    value = answer.get(name)
    counted = as_count(value)
    if value is not None and counted is None:
        raise bad_answer(f"{name} is {excerpt(value)}, {complaint}")
    return counted


def as_count(value: Any) -> int | None:
    """Return a JSON value as a number of events, or None where it is none.

    Strings of digits are what older engines send (UPSTREAM.md § 3).
    """
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= MAX_COUNT else None
