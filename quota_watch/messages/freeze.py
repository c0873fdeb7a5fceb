"""Freeze what is known of a transition into the facts that are sent. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from quota_watch.forecast.forecast import ForecastFacts
from quota_watch.forecast.remedies import Part
from quota_watch.lib.text import NAME, one_line
from quota_watch.messages.facts import (
    TEST,
    AdviceFacts,
    AlertFacts,
    DayFacts,
    Facts,
    LinkFacts,
    OrganizationFacts,
    PartFacts,
    UsageFacts,
)
from quota_watch.messages.words import (
    Case,
    Situation,
    Words,
    blind,
    counts,
    forecast,
    levels,
    period_ended,
    plan,
    service,
    switched_off,
)
from quota_watch.model.period import ONE_DAY, Period, each_day, percent
from quota_watch.model.watch import Rule, Severity, Watch
from quota_watch.rules.enforced import is_dropping
from quota_watch.rules.known import Known
from quota_watch.rules.story import Transition, TransitionType
from quota_watch.rules.verdict import Reason
from quota_watch.views.reports import PeriodFacts

_TITLE = 120
_CLOUD = "https://app.rybbit.io"

Say = Callable[[Any], Words]

_FIRED: Mapping[Rule, Say] = {
    Rule.THRESHOLD: levels.threshold_fired,
    Rule.FORECAST: forecast.fired,
    Rule.SPIKE: counts.spike_fired,
    Rule.STALLED: counts.stalled_fired,
    Rule.BLIND: blind.fired,
    Rule.LIMIT: plan.limit_fired,
    Rule.MISMATCH: counts.mismatch_fired,
    Rule.DELIVERY: service.delivery_fired,
    Rule.CONFIG: service.config_fired,
    Rule.DISCOVERED: service.discovered_fired,
    Rule.ENFORCED: plan.enforced_fired,
    Rule.NO_PLAN: plan.no_plan_fired,
    Rule.SITE_BUDGET: levels.site_budget_fired,
    Rule.MOVED: counts.moved_fired,
}
_ENDED: Mapping[Reason, Say] = {
    Reason.NO_LONGER_LIKELY: forecast.ended,
    Reason.OVERTAKEN: plan.overtaken,
    Reason.AS_EXPECTED_AGAIN: counts.spike_ended,
    Reason.EVENTS_AGAIN: counts.stalled_ended,
    Reason.POLLS_WORK_AGAIN: blind.ended,
    Reason.COUNTS_AGREE_AGAIN: counts.mismatch_ended,
    Reason.CHANNEL_WORKS_AGAIN: service.delivery_ended,
    Reason.CONFIG_ACCEPTED: service.config_ended,
    Reason.RYBBIT_TAKES_EVENTS: plan.enforced_ended,
    Reason.SITES_COLLECT: plan.no_plan_ended,
    Reason.LIMIT_CHANGED: plan.limit_changed,
    Reason.PERIOD_ENDED: period_ended,
    Reason.SWITCHED_OFF: switched_off,
}
"""The words for when a rule becomes true, and for why a story ended."""


def words_of(case: Case) -> Words:
    """Say what happened, what it means and what to do."""
    transition = case.transition
    if transition.type is TransitionType.RESOLVED:
        return _ENDED[transition.reason](case)
    words = _FIRED[transition.story.rule](case)
    if transition.type is TransitionType.REMINDED:
        since = case.brief(transition.story.started_at)
        title, lead = "Still", f"Reminder {transition.number}: true since {since}."
    elif transition.reason is Reason.SILENCE_ENDED:
        title, lead = "After a silence", "The silence has ended, and this is still true."
    else:
        return words
    return replace(words, title=f"{title}: {words.title}", lead=f"{lead} {words.lead}")


def facts_of(transition: Transition, known: Known) -> Facts:
    """Freeze a transition of an organization with what was known when it was decided."""
    case = Situation(transition=transition, time_zone=known.watch.time_zone, known=known)
    forecast = known.forecast
    return replace(
        _facts(case, dropping=_loses_events(case)),
        organization=_organization(known.watch),
        period=PeriodFacts.of(case.message_period),
        usage=_usage(case),
        forecast=ForecastFacts.of(forecast) if forecast and not case.is_closed else None,
        daily=_daily(known, case.message_period),
        lost=case.message_lost,
        advice=_advice(case),
        links=links_of(known.watch, case.transition.story.id),
    )


def facts_of_none(transition: Transition, *, time_zone: str) -> Facts:
    """Freeze a transition that is about no single organization: no period and no usage either."""
    return _facts(Case(transition=transition, time_zone=time_zone), dropping=False)


def test_facts(*, id: str, now: datetime, time_zone: str, channel: str) -> Facts:  # noqa: A002 - the name it has in the JSON
    """Freeze a test message for `channel`: about no organization, marked as a test."""
    name = one_line(channel, NAME)
    words = Words(
        title=f"Test of the channel {name}",
        lead="If you can read this, the channel works. Nothing has happened to any organization.",
        preheader="The channel works.",
        details=("Asked for with `quota-watch test-alert`.",),
    )
    alert = alert_facts(words, id=id, rule=TEST, reason=TEST, started_at=now)
    return Facts(type=TEST, id=id, timestamp=now, alert=alert, time_zone=time_zone)


def alert_facts(
    words: Words,
    *,
    severity: Severity = Severity.INFO,
    level: int | None = None,
    ended_at: datetime | None = None,
    dropping: bool = False,
    **of: Any,
) -> AlertFacts:
    """Put words and what they are `of` together; tests and reports are written like alerts."""
    return AlertFacts(
        level=level,
        severity=severity.label,
        ended_at=ended_at,
        dropping=dropping,
        title=one_line(words.title, _TITLE),
        summary=words.summary,
        next_step=words.next_step or "Nothing to do.",
        preheader=words.preheader,
        lead=words.lead,
        heading=words.heading,
        steps=words.steps,
        note=words.note,
        **of,
    )


def _facts(case: Case, *, dropping: bool) -> Facts:
    transition, story = case.transition, case.transition.story
    alert = alert_facts(
        words_of(case),
        id=story.id,
        rule=story.rule.value,
        level=story.level,
        severity=story.severity,
        reason=transition.reason.value,
        started_at=story.started_at,
        ended_at=story.ended_at,
        dropping=dropping,
    )
    return Facts(
        type=f"alert.{transition.type}",
        id=transition.id,
        timestamp=transition.at,
        alert=alert,
        time_zone=case.time_zone,
    )


def _loses_events(case: Situation) -> bool:
    """Decide whether events are lost now: our count says so, or Rybbit itself does."""
    if case.is_closed:
        return False
    story = case.transition.story
    says_so = story.rule is Rule.ENFORCED and story.is_open
    return says_so or (case.watch.drops and case.is_over) or is_dropping(case.known)


def _organization(watch: Watch) -> OrganizationFacts:
    return OrganizationFacts(
        id=watch.organization.id,
        name=one_line(watch.name) or one_line(watch.organization.id),
        plan=None if watch.plan is None else one_line(watch.plan),
        server=watch.organization.server,
        drops=watch.drops,
    )


def _usage(case: Situation) -> UsageFacts | None:
    used, limit, by_type, at = case.used, case.limit, case.by_type, case.known.measured_at
    if case.is_closed:  # the types of a closed period are not kept with it
        used, limit, by_type, at = (
            case.detail.get("used"),
            case.detail.get("limit"),
            {},
            case.known.at,
        )
    if used is None:
        return None
    return UsageFacts(
        used=used, limit=limit, percent=percent(used, limit), by_type=by_type, measured_at=at
    )


def _daily(known: Known, period: Period) -> tuple[DayFacts, ...] | None:
    """List the days of `period`, those to come with what is expected; None: no day is known."""
    if known.analysis is None:
        return None
    used = {day: n for day, n in known.analysis.past.counted.items() if day in period}
    expected: dict[date, int] = {}
    if known.usage is not None and known.usage.today in period:
        used[known.usage.today] = known.usage.used_today
        if known.forecast is not None:
            for n, to_come in enumerate(known.forecast.path, start=1):
                day = known.forecast.as_of + n * ONE_DAY
                expected[day] = round(to_come) + used.get(day, 0)
    if not used:
        return None
    return tuple(
        DayFacts(date=day, used=used.get(day), expected=expected.get(day))
        for day in each_day(period.start, period.last_day)
    )


def _advice(case: Situation) -> AdviceFacts | None:
    advice, fit = case.known.advice, case.known.plan_fit
    if case.is_closed or advice is None:
        return None
    return AdviceFacts(
        daily_budget=advice.daily_budget,
        expected_a_day=advice.expected_a_day,
        days_left=advice.days_left,
        span_days=advice.span_days,
        types=_parts(advice.types),
        sites=_parts(advice.sites),
        cut_percent=advice.likely.cut_percent,
        switch_off=tuple(each.value for each in advice.likely.switch_off),
        saves=advice.likely.saves,
        plan_that_fits=fit,
    )


def _parts(parts: Sequence[Part]) -> tuple[PartFacts, ...]:
    return tuple(
        PartFacts(
            name=one_line(part.name),
            share=part.share_percent,
            growth=part.growth_percent,
            setting=None if part.setting is None else part.setting.value,
        )
        for part in parts
    )


def links_of(watch: Watch, story: str) -> LinkFacts:
    """Link to what is sure to exist: only the cloud is known to have a subscription page."""
    server, public_url = watch.organization.server, watch.public_url
    plan = f"{server}/settings/organization/subscription" if server == _CLOUD else None
    if public_url is None:
        return LinkFacts(plan=plan)
    page = f"{public_url.rstrip('/')}/organizations/{quote(watch.organization.id, safe='')}"
    return LinkFacts(organization=page, plan=plan, why=f"{page}#{story}")
