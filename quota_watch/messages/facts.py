"""What a message tells, as the JSON that webhooks get and mails are rendered from.

Facts are those of the moment a transition was decided; a retry sends the same.
"""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from quota_watch.forecast.remedies import Part
from quota_watch.lib.plain import iso, plain
from quota_watch.lib.text import one_line
from quota_watch.messages.daily import daily_of
from quota_watch.messages.situation import Situation
from quota_watch.messages.wording import words, words_of_test
from quota_watch.messages.words.words import Words
from quota_watch.model.period import period_json
from quota_watch.model.rule import Severity
from quota_watch.model.usage import percent
from quota_watch.model.watch import Watch
from quota_watch.rules.known import Known
from quota_watch.rules.story import Transition

VERSION = 1


def facts_of(
    transition: Transition, *, watch: Watch, known: Known, public_url: str | None = None
) -> dict[str, Any]:
    """Return the webhook's body for a transition, and the `time_zone` its readers live in.

    `public_url` is where the status page is reached; without it there is no link. What is about
    no single organization has no organization, period or usage.
    """
    case = Situation(transition=transition, watch=watch, known=known)
    one = case.is_of_one
    return {
        "version": VERSION,
        "type": f"alert.{transition.type}",
        "id": transition.id,
        "timestamp": iso(transition.at),
        "alert": _alert(case, words(case)),
        "organization": _organization(watch) if one else None,
        "period": period_json(case.told_period) if one else None,
        "usage": _usage(case) if one else None,
        "forecast": _forecast(case) if one else None,
        "daily": daily_of(known, case.told_period) if one else None,
        "lost": plain(case.told_lost) if one else None,
        "advice": _advice(case) if one else None,
        "report": None,
        "links": {"organization": _link(watch, public_url) if one else None},
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
        "daily": None,
        "lost": None,
        "advice": None,
        "report": None,
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
        "dropping": case.watch.drops and case.is_over and not case.is_closed,
    }


def _organization(watch: Watch) -> dict[str, Any]:
    return {
        "id": watch.organization.id,
        "name": one_line(watch.name) or one_line(watch.organization.id),
        "plan": None if watch.plan is None else one_line(watch.plan),
        "server": watch.organization.server,
    }


def _usage(case: Situation) -> dict[str, Any] | None:
    if case.is_closed:
        return _closed_usage(case)
    if case.used is None:
        return None
    return {
        "used": case.used,
        "limit": case.limit,
        "percent": percent(case.used, case.limit),
        "by_type": case.by_type,
        "measured_at": iso(case.measured_at),
    }


def _closed_usage(case: Situation) -> dict[str, Any] | None:
    """Return what a closed period came to; its types are not kept with it."""
    used, limit = case.detail.get("used"), case.detail.get("limit")
    if used is None:
        return None
    return {
        "used": used,
        "limit": limit,
        "percent": percent(used, limit),
        "by_type": {},
        "measured_at": iso(case.known.at),
    }


def _forecast(case: Situation) -> dict[str, Any] | None:
    known = case.known.forecast
    if known is None or case.is_closed:
        return None
    names = ("p10", "p50", "p90", "probability_over", "crosses_on")
    return {name: plain(getattr(known, name)) for name in names}


def _advice(case: Situation) -> dict[str, Any] | None:
    """Return what would help; `cut_percent` and `switch_off` are for the likely total."""
    advice, fit = case.known.advice, case.known.plan_fit
    if advice is None or case.is_closed:
        return None
    return {
        "daily_budget": advice.daily_budget,
        "expected_a_day": advice.expected_a_day,
        "days_left": advice.days_left,
        "span_days": advice.span_days,
        "types": [_part(part) for part in advice.types],
        "sites": [_part(part) for part in advice.sites],
        "cut_percent": advice.likely.cut_percent,
        "switch_off": plain(advice.likely.switch_off),
        "saves": advice.likely.saves,
        "plan_that_fits": None if fit is None else plain(fit),
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": one_line(part.name),
        "share": part.share_percent,
        "growth": part.growth_percent,
        "setting": plain(part.setting),
    }


def _link(watch: Watch, public_url: str | None) -> str | None:
    if public_url is None:
        return None
    return f"{public_url.rstrip('/')}/organizations/{quote(watch.organization.id, safe='')}"
