"""Words of `blind`: polls fail, so nobody watches the limit."""

import re
from collections.abc import Mapping

from quota_watch.lib.text import (
    events,
    join,
    month,
    plural,
    rough,
    sentence,
)
from quota_watch.messages.words import FIX, Case, Situation, Words, named
from quota_watch.model.period import percent
from quota_watch.model.source import ErrorKind, Trouble
from quota_watch.rules.verdict import Reason

_NEAR = 90
_STATUS = re.compile(r"(?:HTTP |\()(\d{3})\b")

_WHY: Mapping[ErrorKind, str] = {
    ErrorKind.FORBIDDEN: "API key rejected",
    ErrorKind.NO_ACCESS: "API key has no access",
    ErrorKind.INSUFFICIENT_SCOPE: "API key lacks a scope",
    ErrorKind.NOT_FOUND: "wrong address",
    ErrorKind.RATE_LIMITED: "rate limited",
    ErrorKind.UPSTREAM_ERROR: "server error",
    ErrorKind.TIMEOUT: "server too slow",
    ErrorKind.CONNECTION: "server unreachable",
    ErrorKind.BAD_ANSWER: "unusable answer",
    ErrorKind.INTERNAL: "quota-watch failed",
}
"""What is wrong, in a title."""

_NEW_KEY = ("Create an organization key in Rybbit.", "Put it into the config and reload.")
_FIXES: Mapping[ErrorKind, tuple[str, ...]] = {
    ErrorKind.FORBIDDEN: _NEW_KEY,
    ErrorKind.NO_ACCESS: (
        "Use a key that sees all sites: an organization key, or one of an owner or admin.",
        "Put it into the config and reload.",
    ),
    ErrorKind.INSUFFICIENT_SCOPE: ("Give the key the scope analytics:read.",),
    ErrorKind.NOT_FOUND: ("Check that base_url names the server's root.",),
    ErrorKind.RATE_LIMITED: (
        "Poll less often ([poll] interval), or have other programs use this key less.",
    ),
    ErrorKind.UPSTREAM_ERROR: ("If it persists, tell whoever runs the server.",),
    ErrorKind.TIMEOUT: ("Check that the server answers quickly from this machine.",),
    ErrorKind.CONNECTION: ("Check that the server can be reached from this machine.",),
    ErrorKind.BAD_ANSWER: ("Check whether a proxy or an upgrade changed what the server answers.",),
    ErrorKind.INTERNAL: ("Look at the log: the fault is quota-watch's own.",),
}
_REJECTED = "API key rejected: revoked, expired or of another organization; rarely an outage."


def fired(case: Case) -> Words:
    """Say since when polls fail, why, and what was last known."""
    return _one(case) if isinstance(case, Situation) else _all(case)


def ended(case: Case) -> Words:
    """Say that polls work again."""
    whole = "No counts are missing: each poll reads every day of the period."
    lost = "If Rybbit itself was down, events it lost in that time are not in its counts."
    if not isinstance(case, Situation):
        return Words(title=f"Polls at {case.name} work again", lead=whole, note=lost)
    at = f": {case.percent} used" if case.percent else ""
    return Words(
        title=f"Polls of {case.name} work again{at}",
        lead=whole,
        details=(case.figures(),),
        note=lost,
    )


def _trouble(case: Case) -> Trouble | None:
    return case.known.trouble if isinstance(case, Situation) else None


def _kind(case: Case) -> ErrorKind | None:
    trouble = _trouble(case)
    kind = trouble.kind if trouble else case.detail.get("kind")
    return ErrorKind(kind) if kind in set(ErrorKind) else None


def _because(case: Case) -> str:
    kind = _kind(case)
    return f" \N{EN DASH} {_WHY[kind]}" if kind else ""


def _one(case: Situation) -> Words:
    trouble = _trouble(case)
    error = f"Last error: {sentence(trouble.message)}" if trouble else ""
    return Words(
        title=f"Can't read {case.name}{_because(case)}",
        lead=f"{_failing(case)} {_unwatched(case)}",
        preheader=_last_count(case),
        details=(error, _last_count(case), case.figures()),
        heading=FIX,
        steps=(*_steps(case), "Run `quota-watch check`."),
        note=join([_REJECTED if _kind(case) is ErrorKind.FORBIDDEN else "", _usual_end(case)]),
    )


def _failing(case: Case) -> str:
    critical = _became_critical(case) if case.transition.reason is Reason.BECAME_CRITICAL else ""
    trouble = _trouble(case)
    since = trouble.since if trouble else case.since()
    status = _STATUS.search(trouble.message if trouble else str(case.detail.get("error")))
    how = f" ({status[1]})" if status else ""
    return join([critical, f"Polls have failed since {case.brief(since)}{how}."])


def _became_critical(case: Case) -> str:
    if not isinstance(case, Situation):
        return "One of them was near its limit when last seen."
    part = percent(case.used, case.limit) if case.used is not None else None
    if part is not None and part >= _NEAR:
        return f"{case.percent} of the limit was used when last seen."
    return "By the last count the limit may be reached within a day."


def _unwatched(case: Situation) -> str:
    if case.is_over and case.watch.drops:
        return "It was over its limit then: events are being dropped."
    return "Nobody is watching its limit." if case.limit is not None else "Nothing is counted."


def _last_count(case: Situation) -> str:
    at = case.known.measured_at
    if case.used is None or at is None:
        return "Nothing counted in this period yet."
    last = f"{case.percent} of its limit" if case.percent else events(case.used)
    return f"Nothing counted since {case.brief(at)}; the last count was {last}."


def _usual_end(case: Situation) -> str:
    """Say where the period ends at its usual pace: what was expected when it was last seen."""
    forecast, limit = case.known.kept_forecast, case.limit
    if forecast is None or not limit or case.is_over:
        return ""
    name = month(case.period.start)
    return f"At its usual pace {name} ends near {rough(100 * forecast.p50 / limit)} %."


def _all(case: Case) -> Words:
    count, at = case.detail.get("organizations"), case.name
    who = plural(count, "organization") if count is not None else "any organization"
    error, names = case.detail.get("error"), case.detail.get("names")
    limits = f"the limits of {named(names, of=count)}" if names else "their limits"
    return Words(
        title=f"Can't read {who} at {at}{_because(case)}",
        lead=f"{_failing(case)} Nobody is watching {limits}.",
        preheader=f"Nothing is counted at {at}; limits may be exceeded unnoticed.",
        details=(
            "All fail the same way, so the cause is the key or the server, not one organization.",
            f"Last error: {sentence(str(error))}" if error else "",
        ),
        heading=FIX,
        steps=(*_steps(case), "Run `quota-watch check`."),
        note=_REJECTED if _kind(case) is ErrorKind.FORBIDDEN else "",
    )


def _steps(case: Case) -> tuple[str, ...]:
    kind = _kind(case)
    return _FIXES[kind] if kind else ()
