"""What a person reads of a transition: title, summary and next step. Pure.

Written for somebody who must decide what to do: the number that fired, the limit, when it was
measured, when the count starts again, what is lost if nothing is done, and what would help.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from quota_watch.lib.figures import duration, number, short_day, whole_day
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.situation import Situation
from quota_watch.messages.words import ahead, levels, limits, odd, own, sight
from quota_watch.messages.words.ends import resolved
from quota_watch.messages.words.words import Words
from quota_watch.model.rule import Rule, Severity
from quota_watch.rules.reason import Reason
from quota_watch.rules.story import TransitionType

_TITLE = 120
_SUBJECT = 200

_RULES: Mapping[Rule, Callable[[Situation], Words]] = {
    Rule.THRESHOLD: levels.threshold,
    Rule.FORECAST: ahead.forecast,
    Rule.SPIKE: odd.spike,
    Rule.STALLED: odd.stalled,
    Rule.BLIND: sight.blind,
    Rule.LIMIT: limits.limit,
    Rule.MISMATCH: sight.mismatch,
    Rule.DELIVERY: own.delivery,
    Rule.CONFIG: own.config,
    Rule.DISCOVERED: own.discovered,
}


def words(case: Situation) -> Words:
    """Say what happened, what it means and what to do."""
    if case.transition.type is TransitionType.RESOLVED:
        said = resolved(case)
    else:
        said = _as_step(case, _RULES[case.transition.story.rule](case))
    return replace(said, title=one_line(said.title, _TITLE))


def _as_step(case: Situation, said: Words) -> Words:
    """Return what is said of a rule, headed by why it is said now."""
    lead, first = "", ""
    if case.transition.type is TransitionType.REMINDED:
        lead, first = "Still: ", _reminder(case)
    elif case.transition.reason is Reason.SILENCE_ENDED:
        lead = "After a silence: "
        first = "The silence that held this message back has ended, and it is still true."
    elif case.transition.type is TransitionType.ESCALATED:
        first = _worse(case)
    return replace(said, title=f"{lead}{said.title}", summary=join([first, said.summary]))


def _reminder(case: Situation) -> str:
    transition, started = case.transition, case.transition.story.started_at
    return (
        f"This is reminder {number(transition.number)}: it was first true on "
        f"{case.moment(started)}, {duration(transition.at - started)} ago, and still is."
    )


def _worse(case: Situation) -> str:
    transition = case.transition
    if transition.story.rule is Rule.FORECAST:
        return ahead.ESCALATIONS.get(transition.reason, "")
    if transition.reason is not Reason.BECAME_CRITICAL:
        return ""
    blind = transition.story.rule is Rule.BLIND
    return sight.became_critical(case) if blind else "This is critical now."


def subject(facts: Mapping[str, Any], *, now: datetime | None = None, more: int = 0) -> str:
    """Return a mail's subject: the severity, the organization, the one number that matters.

    Sent at `now`, what is late says so; `more` is how many other messages are joined to it.
    """
    alert, period = facts["alert"], facts["period"]
    late = is_late(facts, now)
    if facts["type"] == "report":
        return one_line(alert["title"], _SUBJECT)
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
    if alert["reason"] == Reason.CLOSED_OVER:
        tail = ""
    rest = f" (and {number(more)} more)" if more else ""
    return one_line(f"{head}: {alert['title']}{tail}", _SUBJECT - len(rest)) + rest


def is_late(facts: Mapping[str, Any], now: datetime | None) -> bool:
    """Tell whether a critical message is sent at `now`, after the period it is about has ended."""
    period, going_on = facts["period"], facts["type"] not in {"test", "report", "alert.resolved"}
    if now is None or period is None or not going_on:
        return False
    over = now >= datetime.fromisoformat(period["resets_at"])
    return over and facts["alert"]["severity"] == Severity.CRITICAL.label


def told_late(facts: Mapping[str, Any], now: datetime | None) -> str:
    """Return a sentence that says what a late message is, nothing where it is in time."""
    if not is_late(facts, now):
        return ""
    last_day = whole_day(facts["period"]["end"])
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
