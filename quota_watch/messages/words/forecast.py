"""Words of `forecast`: when the limit is hit, how sure that is, what would help, what is lost.

Messages, commands and pages say the same: the sentences take what they are about, not a message.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from quota_watch.forecast.forecast import Crossing, Forecast, ForecastFacts
from quota_watch.forecast.remedies import Fit, Part, PlanFit, Remedies, Setting
from quota_watch.lib.text import (
    NAME,
    Estimate,
    about,
    aside,
    certainty,
    growth,
    join,
    largest_first,
    listed,
    number,
    one_line,
    plural,
    rough,
    share,
    short_day,
    short_days,
    verb,
    weekday,
)
from quota_watch.messages.words import CHOOSE, Situation, Words
from quota_watch.model.period import percent
from quota_watch.model.watch import Watch
from quota_watch.rules.story import TransitionType
from quota_watch.rules.verdict import Reason

CALM = "Nothing needs to be done at this pace."
"""What to do where the limit is in no danger."""

_LARGEST = 3
_LEAST_SHARE = 1.0  # percent; a smaller type or site is no lever
_SMALL_RISK = 0.1

SWITCH_NAMES: Mapping[Setting, str] = {
    Setting.WEB_VITALS: "Web Vitals",
    Setting.BUTTON_CLICKS: "Button Clicks",
    Setting.COPY: "Copy Events",
    Setting.FORM_INTERACTIONS: "Form Interactions",
    Setting.OUTBOUND_LINKS: "Outbound Links",
}
"""What Rybbit calls the setting, in a site's settings under Tracking."""

_LEVERS: Mapping[Setting | None, str] = {
    **{setting: f"setting {name}" for setting, name in SWITCH_NAMES.items()},
    Setting.BOT_BLOCKING: "bots can be blocked",
    Setting.OWN_CODE: "sent by your own code",
}


def fired(case: Situation) -> Words:
    """Say when the limit is hit, and what is lost past it."""
    return Words(
        title=f"{case.name} {hits(crossing(case), probability(case))}",
        lead=_lead(case),
        preheader=_cost_of_waiting(case),
        details=(pace(case), case.figures()),
        heading=CHOOSE,
        steps=choices(case),
    )


def ended(case: Situation) -> Words:
    """Say that the limit will hold."""
    return Words(
        title=f"{case.name} is back on course to stay under its limit",
        lead=pace(case) or "The limit is no longer likely to be reached.",
        preheader="No longer likely to hit its limit this period.",
        details=(case.figures(),),
        note="You get a new warning if that changes.",
    )


def pace(case: Situation) -> str:
    """Say where the period ends at this pace; nothing where that is unknown or already decided."""
    forecast, limit = case.known.forecast, case.limit
    if forecast is None or limit is None or case.is_over:
        return ""
    return outcome(forecast, limit, crossing(case), case.period.last_day)


def crossing(case: Situation) -> Crossing:
    """Read when the limit is likely to be reached, as far as anything is known of it."""
    forecast = case.known.forecast
    if forecast is not None and forecast.crosses_on is not None:
        return forecast.crosses_on
    early, likely, late = (_day(case.detail.get(key)) for key in ("early", "likely", "late"))
    return Crossing(early=early, likely=likely or _day(case.transition.story.mark), late=late)


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else None


def probability(case: Situation) -> float | None:
    """Read how likely the period is to end over its limit."""
    forecast = case.known.forecast
    odds = forecast.probability_over if forecast is not None else case.detail.get("probability")
    return float(odds) if odds is not None else None


def hits(when: Crossing, odds: float | None) -> str:
    """Say that the limit is hit, how surely, and when: `will hit its limit on Fri 20 March`."""
    how = verb(odds or 0.0)
    if when.likely is None:
        return f"{how} hit its limit this period"
    return f"{how} hit its limit on {day_and_range(when)}"


def _lead(case: Situation) -> str:
    when, odds, end = crossing(case), probability(case), short_day(case.period.end)
    sure = odds is not None and verb(odds) == "will"
    loses = "will" if sure else "would"
    past = f"After {short_day(when.likely)}" if when.likely else "Past the limit"
    what = f"Rybbit {loses} drop every new event until {end}."
    if not case.watch.drops:
        what = "no event is lost, but the agreed limit is passed."
        past = f"{past},"
    return join([_news(case, odds), f"{past} {what}"])


def _news(case: Situation, odds: float | None) -> str:
    """Say what is new since the last message, or that this is an early sign."""
    step, when = case.transition.reason, crossing(case)
    if step is Reason.WILL_EXCEED and case.transition.type is TransitionType.ESCALATED:
        return "The days since then confirm it."
    if step is Reason.EARLIER_DATE and when.likely is not None:
        marks = (each.mark for each in case.known.stories if each.key == case.transition.story.key)
        before = _day(next(marks, None))
        was = f" (before: {short_day(before)})" if before else ""
        return f"New date: {short_day(when.likely)}{was}."
    if step is Reason.BECAME_CRITICAL:
        return "Less than 48 hours are left."
    if case.transition.story.tier == Reason.AT_RISK and verb(odds or 0.0) == "might":
        return "Early sign, based on a few days."
    return ""


def _cost_of_waiting(case: Situation) -> str:
    when, lost = crossing(case), expected_loss(case)
    left = (when.likely - case.known.at.date()).days if when.likely else None
    act = "Act today" if left is not None and left <= 0 else "Act in time"
    if left is not None and left > 0:
        act = f"Act in {plural(left, 'day')}"
    if lost is None or not lost.likely:
        return f"{act} to stay under the limit."
    if not case.watch.drops:
        return f"{act} or end about {rough(lost.likely)} events over the agreed limit."
    return f"{act} or lose about {rough(lost.likely)} events."


def expected_loss(case: Situation) -> Estimate | None:
    """Estimate what lies above the limit at the period's end: lost where events are dropped."""
    forecast, limit, used = case.known.forecast, case.limit, case.used
    if forecast is None or limit is None or used is None:
        return None
    return beyond(forecast, max(limit, used), case.known.lost)


def beyond(forecast: ForecastFacts, limit: int, dropped: Estimate | None = None) -> Estimate:
    """Estimate the events beyond `limit`, and add those `dropped` already."""
    low, likely, high = (
        max(0, total - limit) for total in (forecast.p10, forecast.p50, forecast.p90)
    )
    lost = dropped or Estimate(low=0, likely=0, high=0)
    return Estimate(low=low + lost.low, likely=likely + lost.likely, high=high + lost.high)


def choices(case: Situation) -> tuple[str, ...]:
    """List what can be done about the limit, each with its price."""
    advice, plan_fit = case.known.advice, case.known.plan_fit
    if advice is not None and case.used is not None:
        steps = what_helps(advice, plan_fit, watch=case.watch, used=case.used)
    else:
        steps = (upgrade(plan_fit, watch=case.watch), _switch_off_largest(case))
        steps = steps[:1] if case.is_full else steps
    if steps[0] == CALM:
        return steps
    return (*steps, waiting(case))


def waiting(case: Situation) -> str:
    """Say what doing nothing costs."""
    if case.watch.lapsed_plan is not None and case.limit is not None:
        return (
            f"Do nothing: without a paid plan at most {number(case.limit)} events a month are kept."
        )
    lost, end = expected_loss(case), short_day(case.period.end)
    if case.is_over:
        loss = f"{about(lost)} lost" if lost and lost.likely else "everything until then is lost"
        choice = "Do nothing: the period ends over the agreed limit."
        return f"Wait for {end}: {loss}." if case.watch.drops else choice
    if lost is not None and lost.likely:
        extra = f"Do nothing: {about(lost)} events over the agreed limit."
        return doing_nothing(lost) if case.watch.drops else extra
    odds = probability(case)
    if odds is not None and lost is not None:
        what = "losing events" if case.watch.drops else "ending over the agreed limit"
        return f"Do nothing: {risk(odds)} of {what}."
    how = "events past the limit are lost" if case.watch.drops else "the period may end over it"
    return f"Do nothing: {how}."


def doing_nothing(lost: Estimate) -> str:
    """Say what is lost if nothing is done."""
    return f"Do nothing: about {rough(lost.likely)} events lost{aside(lost.low, lost.high)}."


def what_helps(
    advice: Remedies, fit: PlanFit | None, *, watch: Watch, used: int
) -> tuple[str, ...]:
    """List what to do about what is to come, a sentence or two at a time."""
    if watch.limit is not None and used >= watch.limit:  # at it, one more is too many
        return (upgrade(fit, watch=watch, resumes=watch.drops and used > watch.limit),)
    if advice.high.excess:
        return (upgrade(fit, watch=watch), cut(advice))
    return (CALM, room(advice))


def upgrade(fit: PlanFit | None, *, watch: Watch, resumes: bool = False) -> str:
    """Name the plan that would do and its price, or say where to change it."""
    then = ": collection resumes within 30 minutes" if resumes else ""
    if watch.lapsed_plan is not None:
        lapsed = _priced(watch.lapsed_plan, watch.prices.get(watch.lapsed_plan))
        return f"Renew the plan {lapsed} at {watch.organization.server}{then}."
    if not watch.drops:
        return "Agree on a higher limit and set it in the config."
    if fit is None or fit.limit <= (watch.limit or 0):
        return f"Upgrade the plan at {watch.organization.server}{then}."
    plan = _priced(fit.plan, fit.price)
    if resumes:
        return f"Upgrade to {plan}{then}."
    return f"Upgrade to {plan} (fits this period and the next two)."


def _priced(plan: str, price: str | None) -> str:
    """Name a plan, with its price where the config says one."""
    return one_line(plan, NAME) + (f", {one_line(price, NAME)}" if price else "")


def cut(advice: Remedies) -> str:
    """Say by how much traffic has to fall, and whether settings alone do that."""
    fit = advice.likely
    if not fit.excess or fit.cut_percent is None:
        return room(advice)
    budget, expected = number(advice.daily_budget), rough(advice.expected_a_day)
    a_day = f"{budget} a day instead of {expected}"
    return f"Cut traffic by {fit.cut_percent} %: {a_day}. {_settings(fit)}"


def room(advice: Remedies) -> str:
    """Say what still fits per day, and what is expected."""
    expected = f"about {rough(advice.expected_a_day)} a day expected"
    if not advice.daily_budget:
        return f"No room left in this period; {expected}."
    return f"Room for {number(advice.daily_budget)} a day; {expected}."


def _settings(fit: Fit) -> str:
    names = [SWITCH_NAMES[each] for each in fit.switch_off if each in SWITCH_NAMES]
    if not names:
        return "Switching off every optional event type isn't enough."
    return (
        f"Switching off {listed(names)} (Site Settings, Tracking) is enough: saves about "
        f"{rough(fit.saves)}."
    )


def _switch_off_largest(case: Situation) -> str:
    used = case.used or 0
    top = [
        f"{one_line(type_, NAME)} {share(percent(n, used))}"
        for type_, n in largest_first(case.by_type)[:_LARGEST]
        if n * 100 >= _LEAST_SHARE * used
    ]
    largest_ones = f" (largest: {', '.join(top)})" if top else ""
    return f"Cut traffic: switch off event types you can do without{largest_ones}."


def day_and_range(when: Crossing) -> str:
    """Write `Thu 18 March (17-20)`, with a proper dash; the likely day alone without a range."""
    if when.likely is None:
        return ""
    here = weekday(when.likely)
    if when.early is None or when.late is None or when.early == when.late:
        return here
    if when.early.month == when.late.month == when.likely.month:
        return f"{here} ({short_days(when.early, when.late).rsplit(' ', 1)[0]})"
    return f"{here} ({short_days(when.early, when.late)})"


def total(forecast: Forecast, last_day: date) -> str:
    """Say where the period ends at this pace, as a sentence without its end."""
    end = short_day(last_day)
    return f"At this pace: about {rough(forecast.p50)} by {end}{likely_range(forecast)}"


def likely_range(forecast: Forecast) -> str:
    """Say behind a total between what it will be, and how sure that is."""
    return aside(forecast.p10, forecast.p90, "80 % range: ")


def risk(odds: float) -> str:
    """Say how likely the limit is hit though that is not expected."""
    return "risk below 10 %" if odds < _SMALL_RISK else f"risk {certainty(odds)}"


def outcome(forecast: Forecast, limit: int, when: Crossing, last_day: date) -> str:
    """Say where the period ends, and when the limit is reached or how likely it holds."""
    ends, odds = total(forecast, last_day), forecast.probability_over
    if forecast.p50 <= limit:
        return f"{ends}, under the limit{'' if odds is None else f'; {risk(odds)}'}."
    ends = f"{ends}, {rough(forecast.p50 - limit)} over the limit."
    day = day_and_range(when).removesuffix(")")
    return f"{ends} Limit reached {day}{', ' if '(' in day else ' ('}UTC)." if day else ends


def largest(advice: Remedies) -> str:
    """Name the largest types and sites with their shares, and how they grew."""
    span = number(advice.span_days)
    return join(
        [
            _parts(advice.types, f"Largest types of the last {span} days", f"the {span} before"),
            _parts(advice.sites, "Largest sites of this month", "as much of the last one"),
        ]
    )


def lever(part: Part) -> str:
    """Name what is behind a type: the setting that switches it off, or what else there is."""
    return _LEVERS.get(part.setting, "")


def _parts(parts: Sequence[Part], title: str, before: str) -> str:
    largest = [part for part in parts if part.share_percent >= _LEAST_SHARE][:_LARGEST]
    if not largest:
        return ""
    grown = any(part.growth_percent is not None for part in largest)
    against = f", against {before}" if grown else ""
    return f"{title}{against}: {'; '.join(map(_part, largest))}."


def _part(part: Part) -> str:
    notes = [each for each in (growth(part.growth_percent), lever(part)) if each]
    tail = f" ({', '.join(notes)})" if notes else ""
    return f"{one_line(part.name, NAME)} {share(part.share_percent)}{tail}"
