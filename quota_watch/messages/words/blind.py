"""Words of `blind`: polls fail, so nobody watches the limit."""

import re
from collections.abc import Mapping
from dataclasses import replace

from quota_watch.lib.text import (
    events,
    join,
    month,
    plural,
    rough,
    sentence,
)
from quota_watch.messages.words import FIX, Case, Situation, Words, named
from quota_watch.model.period import has_reached
from quota_watch.model.source import ErrorKind
from quota_watch.rules.threshold import WARNING_LEVEL
from quota_watch.rules.verdict import Reason

_STATUS = re.compile(r"(?:HTTP |\()(\d{3})\b")

_WHY: Mapping[str, str] = {
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
_FIXES: Mapping[str, tuple[str, ...]] = {
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
    trouble = case.known.trouble if isinstance(case, Situation) else None
    kind: str = trouble.kind if trouble else case.detail.get("kind") or ""
    error = trouble.message if trouble else case.detail.get("error")
    last_error = f"Last error: {sentence(str(error))}" if error else ""
    words = _one(case, last_error) if isinstance(case, Situation) else _all(case, last_error)
    because = f" \N{EN DASH} {_WHY[kind]}" if kind in _WHY else ""
    critical = _became_critical(case) if case.transition.reason is Reason.BECAME_CRITICAL else ""
    since = case.brief(trouble.since if trouble else case.since())
    status = _STATUS.search(str(error))
    how = f" ({status[1]})" if status else ""
    return replace(
        words,
        title=f"Can't read {words.title}{because}",
        lead=join([critical, f"Polls have failed since {since}{how}.", words.lead]),
        heading=FIX,
        steps=(*_FIXES.get(kind, ()), "Run `quota-watch check`."),
        note=join([_REJECTED if kind == ErrorKind.FORBIDDEN else "", words.note]),
    )


def _one(case: Situation, last_error: str) -> Words:
    """Say what failed polls mean for one organization."""
    lead = "Nobody is watching its limit." if case.limit is not None else "Nothing is counted."
    if case.is_over and case.watch.drops:
        lead = "It was over its limit then: events are being dropped."
    last_count = _last_count(case)
    return Words(
        title=case.name,
        lead=lead,
        preheader=last_count,
        details=(last_error, last_count, case.figures()),
        note=_usual_end(case),
    )


def _all(case: Case, last_error: str) -> Words:
    """Say what they mean for all that a key sees at a server."""
    count, names = case.detail.get("organizations"), case.detail.get("names")
    who = plural(count, "organization") if count is not None else "any organization"
    limits = f"the limits of {named(names, of=count)}" if names else "their limits"
    return Words(
        title=f"{who} at {case.name}",
        lead=f"Nobody is watching {limits}.",
        preheader=f"Nothing is counted at {case.name}; limits may be exceeded unnoticed.",
        details=(
            "All fail the same way, so the cause is the key or the server, not one organization.",
            last_error,
        ),
    )


def _became_critical(case: Case) -> str:
    if not isinstance(case, Situation):
        return "One of them was near its limit when last seen."
    if case.limit and case.used is not None and has_reached(case.used, case.limit, WARNING_LEVEL):
        return f"{case.percent} of the limit was used when last seen."
    return "By the last count the limit may be reached within a day."


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


def ended(case: Case) -> Words:
    """Say that polls work again."""
    title, figures = f"Polls at {case.name} work again", ""
    if isinstance(case, Situation):
        at = f": {case.percent} used" if case.percent else ""
        title, figures = f"Polls of {case.name} work again{at}", case.figures()
    return Words(
        title=title,
        lead="No counts are missing: each poll reads every day of the period.",
        details=(figures,),
        note="If Rybbit itself was down, events it lost in that time are not in its counts.",
    )
