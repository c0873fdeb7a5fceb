"""What a person reads of a transition: title, summary and next step. Pure.

Written for somebody who must decide what to do: the number that fired, the limit, when it was
measured, when the count starts again, what is lost if nothing is done, and what would help.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from quota_watch.domain.alerts import TransitionType
from quota_watch.domain.reasons import Reason
from quota_watch.domain.rules import FULL, Rule, Severity
from quota_watch.domain.source import ErrorKind
from quota_watch.domain.usage import percent
from quota_watch.notify.situation import NAME, Situation
from quota_watch.phrases import (
    duration,
    events,
    largest_first,
    long_day,
    number,
    sentence,
    share,
    short_day,
)
from quota_watch.text import one_line

_LARGEST = 3
_SUBJECT = 200
_SMALLEST = 100  # a type of less than one event in so many is no lever


@dataclass(frozen=True, slots=True)
class Words:
    """A title for one line, a summary of a few sentences, and what to do next."""

    title: str
    summary: str
    next_step: str


def words(case: Situation) -> Words:
    """Say what happened, what it means and what to do."""
    transition = case.transition
    if transition.type is TransitionType.RESOLVED:
        return _resolved(case, transition.reason)
    if transition.story.rule is Rule.BLIND:
        return _blind(case)
    return _threshold(case)


def subject(facts: Mapping[str, Any], *, now: datetime | None = None, more: int = 0) -> str:
    """Return a mail's subject: the severity, the organization, the one number that matters.

    Sent at `now`, what is late says so; `more` is how many other messages are joined to it.
    """
    alert, period = facts["alert"], facts["period"]
    late = is_late(facts, now)
    if facts["type"] == "test":
        head = "Test"
    elif facts["type"] == "alert.resolved":
        head = "Resolved"
    else:
        head = alert["severity"].capitalize() + (", late" if late else "")
    tail = ""
    if alert["rule"] == Rule.THRESHOLD and head != "Resolved" and period is not None:
        last_day = date.fromisoformat(period["end"])
        first = short_day(last_day + timedelta(days=1))
        tail = f", the period ended {short_day(last_day)}" if late else f", resets {first}"
    rest = f" (and {number(more)} more)" if more else ""
    return one_line(f"{head}: {alert['title']}{tail}", _SUBJECT - len(rest)) + rest


def is_late(facts: Mapping[str, Any], now: datetime | None) -> bool:
    """Tell whether a critical message is sent at `now`, after the period it is about has ended."""
    period, going_on = facts["period"], facts["type"] not in {"test", "alert.resolved"}
    if now is None or period is None or not going_on:
        return False
    over = now >= datetime.fromisoformat(period["resets_at"])
    return over and facts["alert"]["severity"] == Severity.CRITICAL.label


def told_late(facts: Mapping[str, Any], now: datetime | None) -> str:
    """Return a sentence that says what a late message is, nothing where it is in time."""
    if not is_late(facts, now):
        return ""
    last_day = long_day(date.fromisoformat(facts["period"]["end"]))
    return f"This comes late: it was decided before the period ended on {last_day}."


def words_of_test(channel: str) -> Words:
    """Say that this is a test and nothing else."""
    name = one_line(channel, NAME)
    return Words(
        title=f"Test of the channel {name}",
        summary=f"This is a test of the channel {name}, asked for with `quota-watch test-alert`. "
        "Nothing has happened to any organization.",
        next_step="Nothing to do: that you read this shows that the channel works.",
    )


def _threshold(case: Situation) -> Words:
    level = case.transition.story.level
    summary = [
        f"Level {level} % is reached: {case.told_use()}" if level is not None else case.told_use(),
        case.told_measurement(),
        case.told_reset(),
        case.told_loss(),
    ]
    return Words(_threshold_title(case), _join(summary), _decide(case))


def _threshold_title(case: Situation) -> str:
    if case.used is None or case.limit is None:
        return f"{case.name} has reached a level of its limit"
    if case.is_over:
        return f"{case.name} is over its limit: {number(case.used)} of {events(case.limit)}"
    if case.is_full:
        return f"{case.name} has reached its limit of {events(case.limit)}"
    return f"{case.name} has used {case.percent} of {events(case.limit)}"


def _decide(case: Situation) -> str:
    server = case.watch.organization.server
    largest = _largest(case)
    if not case.watch.drops:
        return (
            "Agree on a higher limit and set it in the config, switch off event types you can "
            f"do without{largest}, or accept that this period ends over its limit."
        )
    if case.is_over:
        return (
            f"Raise the plan at {server}, and Rybbit takes events again within half an hour; or "
            f"accept the loss until {long_day(case.period.end)}. Switching off event types helps "
            f"only from the next period on{largest}."
        )
    return (
        f"Raise the plan at {server}, switch off event types you can do without{largest}, or "
        "accept that events past the limit are lost."
    )


def _largest(case: Situation) -> str:
    """Return the types that use most, as a clause, with their shares of what is used."""
    if not case.used:
        return ""
    top = [
        f"{one_line(type_, NAME)} {share(percent(n, case.used))}"
        for type_, n in largest_first(case.by_type)[:_LARGEST]
        if n * _SMALLEST >= case.used
    ]
    return f" (the largest: {', '.join(top)})" if top else ""


def _blind(case: Situation) -> Words:
    known = f" (last known: {case.percent})" if case.percent else ""
    trouble = case.trouble
    since = f" for {duration(case.transition.at - trouble.since)}" if trouble else ""
    seen = case.used is not None
    summary = [
        _failing(case),
        f"When last seen: {case.told_use()}" if seen else _unknown(case),
        case.told_measurement() if seen else "",
        case.told_reset(),
        _unseen(case),
    ]
    return Words(f"Polls of {case.name} have failed{since}{known}", _join(summary), _repair(case))


def _unknown(case: Situation) -> str:
    limit = "" if case.limit is None else f" but its limit, {events(case.limit)}"
    return f"Nothing is known of this period{limit}."


def _unseen(case: Situation) -> str:
    """Return what can go wrong while nobody sees it."""
    if case.is_over:
        return f"Until a poll works again nothing newer is known. {case.told_loss()}"
    if case.limit is None:
        return "Until a poll works again nothing newer is known."
    gone = ", and events past it are gone for good" if case.watch.drops else ""
    return f"Until a poll works again the limit may be passed unseen{gone}."


def _failing(case: Situation) -> str:
    trouble = case.trouble
    if trouble is None:
        return f"Polls of {case.name} fail."
    polls = "1 poll has" if trouble.polls == 1 else f"{number(trouble.polls)} polls in a row have"
    return (
        f"No poll of {case.name} has worked since {case.moment(trouble.since)}: {polls} failed. "
        f"The last error: {sentence(trouble.message)}"
    )


_REPAIRS: Mapping[ErrorKind, str] = {
    ErrorKind.FORBIDDEN: "If the key was revoked, make a new one in Rybbit and put it into the "
    "config.",
    ErrorKind.NO_ACCESS: "Use a key that sees all sites of this organization: an organization "
    "key, or one of an owner or admin.",
    ErrorKind.INSUFFICIENT_SCOPE: "Give the key the scope analytics:read.",
    ErrorKind.NOT_FOUND: "Look whether base_url names the server's root.",
    ErrorKind.RATE_LIMITED: "Poll less often ([poll] interval), or let other programs ask less "
    "with this key.",
    ErrorKind.UPSTREAM_ERROR: "The fault is the server's; if it stays, tell whoever runs it.",
    ErrorKind.TIMEOUT: "Look whether the server is reachable and quick from this machine.",
    ErrorKind.CONNECTION: "Look whether the server is reachable from this machine.",
    ErrorKind.BAD_ANSWER: "Look whether a proxy or an upgrade changed what the server answers.",
    ErrorKind.INTERNAL: "The fault is quota-watch's own; the log says more.",
}


def _repair(case: Situation) -> str:
    check = (
        f"Run `quota-watch check`: it asks {case.watch.organization.server} and names the cause."
    )
    return f"{check} {_REPAIRS[case.trouble.kind]}" if case.trouble else check


def _resolved(case: Situation, reason: Reason) -> Words:
    now = _join([case.told_use(), case.told_measurement(), case.told_reset()])
    if reason is Reason.POLLS_WORK_AGAIN:
        return _seen_again(case, now)
    if reason is Reason.LIMIT_CHANGED:
        return _limit_changed(case, now)
    return _period_ended(case, now)


def _seen_again(case: Situation, now: str) -> Words:
    at = f": {case.percent} of {events(case.limit)}" if case.percent and case.limit else ""
    told = case.moment(case.transition.story.started_at)
    summary = [
        f"Polls of {case.name} work again; that they failed was told on {told}.",
        "No count is missing: each poll brings every day of the period.",
        now,
    ]
    return Words(f"Polls of {case.name} work again{at}", _join(summary), "Nothing to do.")


def _limit_changed(case: Situation, now: str) -> Words:
    old, new = case.transition.story.limit, case.limit
    then = "levels are told anew under the limit that holds now"
    if old is None or new is None:
        what, then = "is no longer known", "no level can be told until it is"
    else:
        verb = "raised" if new > old else "lowered"
        what = f"was {verb} from {number(old)} to {events(new)}"
    at = f": {case.percent} used" if case.percent else ""
    summary = [f"The limit of {case.name} {what}, which ends this alert; {then}.", now]
    return Words(
        f"The limit of {case.name} {what}{at}",
        _join(summary),
        "Nothing to do if that was meant; else look at the plan at "
        f"{case.watch.organization.server} and at the config.",
    )


def _period_ended(case: Situation, now: str) -> Words:
    story = case.transition.story
    dropped = case.watch.drops and (story.level or 0) >= FULL
    again = "Where events were dropped, new ones count again within half an hour of the reset."
    summary = [
        f"The period of {case.name} from {long_day(story.period_start)} is over, so is this alert.",
        again if dropped else "",
        now,
    ]
    return Words(f"A new period began for {case.name}", _join(summary), "Nothing to do.")


def _join(sentences: list[str]) -> str:
    return " ".join(part for part in sentences if part)
