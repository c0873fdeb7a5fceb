"""What a message tells, as the JSON that webhooks get and mails are rendered from.

Facts are those of the moment a transition was decided; a retry sends the same.
"""

from datetime import datetime
from typing import Any

from quota_watch.domain.alerts import Transition
from quota_watch.domain.rules import Observation, Severity, Watch
from quota_watch.domain.shapes import iso, period_json
from quota_watch.domain.usage import percent
from quota_watch.notify.situation import Situation
from quota_watch.notify.wording import Words, words, words_of_test
from quota_watch.text import one_line

VERSION = 1


def facts_of(transition: Transition, *, watch: Watch, seen: Observation) -> dict[str, Any]:
    """Return the webhook's body for a transition, and the `time_zone` its readers live in."""
    case = Situation(transition=transition, watch=watch, seen=seen)
    return {
        "version": VERSION,
        "type": f"alert.{transition.type}",
        "id": transition.id,
        "timestamp": iso(transition.at),
        "alert": _alert(case, words(case)),
        "organization": None if transition.story.organization is None else _organization(watch),
        "period": period_json(case.period),
        "usage": _usage(case),
        "forecast": None,
        "lost": None,
        "links": {"organization": None if transition.story.organization is None else watch.page},
        "time_zone": watch.time_zone,
    }


def test_facts(*, id: str, now: datetime, time_zone: str, channel: str) -> dict[str, Any]:  # noqa: A002 - the name it has in the JSON
    """Return the body of a test message for `channel`: about no organization, marked as a test."""
    text = words_of_test(channel)
    return {
        "version": VERSION,
        "type": "test",
        "id": id,
        "timestamp": iso(now),
        "alert": {
            "id": id,
            "rule": "test",
            "level": None,
            "severity": Severity.INFO.label,
            "reason": "test",
            "title": text.title,
            "summary": text.summary,
            "next_step": text.next_step,
            "started_at": iso(now),
            "ended_at": None,
            "dropping": False,
        },
        "organization": None,
        "period": None,
        "usage": None,
        "forecast": None,
        "lost": None,
        "links": {"organization": None},
        "time_zone": time_zone,
    }


def _alert(case: Situation, text: Words) -> dict[str, Any]:
    story = case.transition.story
    return {
        "id": story.id,
        "rule": story.rule.value,
        "level": story.level,
        "severity": story.severity.label,
        "reason": case.transition.reason.value,
        "title": text.title,
        "summary": text.summary,
        "next_step": text.next_step,
        "started_at": iso(story.started_at),
        "ended_at": iso(story.ended_at),
        "dropping": case.watch.drops and case.is_over,
    }


def _organization(watch: Watch) -> dict[str, Any]:
    return {
        "id": watch.organization.id,
        "name": one_line(watch.name) or one_line(watch.organization.id),
        "plan": None if watch.plan is None else one_line(watch.plan),
        "server": watch.organization.server,
    }


def _usage(case: Situation) -> dict[str, Any] | None:
    if case.used is None:
        return None
    return {
        "used": case.used,
        "limit": case.limit,
        "percent": percent(case.used, case.limit),
        "by_type": case.by_type,
        "measured_at": iso(case.measured_at),
    }
