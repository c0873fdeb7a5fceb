"""Words of `threshold` and `site_budget`: a level of a limit or a site's budget is reached."""

from datetime import timedelta

from quota_watch.lib.text import (
    NAME,
    about,
    events,
    month,
    number,
    one_line,
    rough,
    share,
    short_day,
)
from quota_watch.messages.words import CHOOSE, DO, Situation, Words
from quota_watch.messages.words.forecast import (
    CALM,
    choices,
    crossing,
    expected_loss,
    hits,
    pace,
    probability,
    upgrade,
)
from quota_watch.model.period import percent
from quota_watch.rules.verdict import Reason

_ENFORCED_WITHIN = timedelta(minutes=30)
_PAST_IT = "Past the limit Rybbit drops every event; dropped events are gone for good."
_KEPT = "No event is lost: this server keeps them all."


def threshold_fired(case: Situation) -> Words:
    """Say which level is reached, or that a closed period was over."""
    if case.transition.reason is Reason.CLOSED_OVER:
        return _closed_over(case)
    if case.used is None or case.limit is None:
        return Words(title=f"{case.name} has reached a level of its limit", lead=case.figures())
    if case.is_full:
        return _full(case)
    steps = choices(case)
    return Words(
        title=f"{case.name} has used {case.percent} of its {events(case.limit)}",
        lead=_ahead(case),
        preheader=_left(case),
        details=(case.figures(), _PAST_IT if case.watch.drops else _KEPT),
        heading=DO if steps[0] == CALM else CHOOSE,
        steps=steps,
    )


def _ahead(case: Situation) -> str:
    """Say what the level means: when the limit is hit, or that it holds."""
    forecast, limit = case.known.forecast, case.limit
    if forecast is None or limit is None:
        return _left(case)
    if forecast.p50 <= limit:
        return pace(case)
    return f"At this pace it {hits(crossing(case), probability(case))}."


def _left(case: Situation) -> str:
    left = (case.limit or 0) - (case.used or 0)
    are = "is" if left == 1 else "are"
    return f"{events(left)} {are} left until {short_day(case.period.end)}."


def _full(case: Situation) -> Words:
    if not case.watch.drops:
        return _over_agreed(case)
    lost = case.known.lost
    title = "is over its limit and losing events" if case.is_over else "has reached its limit"
    return Words(
        title=f"{case.name} {title}",
        lead=_dropping(case),
        preheader=_price_of_waiting(case),
        details=(f"Lost so far: {about(lost)}." if lost and lost.likely else "", case.figures()),
        heading=CHOOSE,
        steps=choices(case),
        note="" if case.watch.lapsed_plan else "Switching event types off won't help this month.",
    )


def _over_agreed(case: Situation) -> Words:
    state = "is over" if case.is_over else "has reached"
    by = f": {number(case.used or 0)} of {events(case.limit or 0)}"
    return Words(
        title=f"{case.name} {state} its agreed limit{by}",
        lead=_KEPT,
        preheader=f"Over the agreed limit until {short_day(case.period.end)}.",
        details=(case.figures(),),
        heading=CHOOSE,
        steps=choices(case),
    )


def _dropping(case: Situation) -> str:
    """Say from when on events are dropped, and how many a day."""
    if not case.is_over:
        end = short_day(case.period.end)
        return f"Within 30 minutes of the next event Rybbit will drop everything until {end}."
    advice, at, usage = case.known.advice, case.known.measured_at, case.known.usage
    a_day = advice.expected_a_day if advice else 0
    each_day = f", about {rough(a_day)} a day" if a_day else ""
    fresh = usage is not None and usage.crossed_on in {None, usage.today} and not case.known.lost
    if at is not None and fresh:
        from_when = f"New events are dropped from {case.brief(at + _ENFORCED_WITHIN)} at the latest"
    else:
        from_when = "New events are being dropped"
    return f"{from_when}{each_day}. They can't be recovered."


def _price_of_waiting(case: Situation) -> str:
    if case.watch.lapsed_plan is not None:
        return "All new events are lost until the plan is renewed."
    lost = expected_loss(case)
    loss = f"All new events are lost until {short_day(case.period.end)}"
    if lost is not None and lost.likely:
        loss = f"About {rough(lost.likely)} lost by {short_day(case.period.last_day)}"
    stops = "an upgrade stops it within 30 minutes" if case.is_over else "an upgrade prevents it"
    return f"{loss}; {stops}."


def _closed_over(case: Situation) -> Words:
    by = f"{number(case.detail['used'])} of {events(case.detail['limit'])}"
    return Words(
        title=f"{case.name} ended {month(case.message_period.start)} over its limit: {by}",
        lead=_closed_loss(case),
        details=("Found when the closed period was counted again.", f"Now: {case.figures()}"),
        heading="So that it doesn't happen again",
        steps=(upgrade(case.known.plan_fit, watch=case.watch), "Cut traffic."),
    )


def _closed_loss(case: Situation) -> str:
    if not case.watch.drops:
        return _KEPT
    lost = case.message_lost
    if lost is not None:
        return f"{about(lost).capitalize()} events were dropped and can't be recovered."
    return "Events dropped past the limit can't be recovered; how many is not known."


def site_budget_fired(case: Situation) -> Words:
    """Say which site used how much of its budget."""
    used, budget = case.detail["used"], case.detail["budget"]
    site, part = one_line(case.detail["site"] or "a site", NAME), share(percent(used, budget))
    id_ = case.watch.organization.id
    return Words(
        title=f"{case.name}: {site} has used {part} of its budget of {events(budget)}",
        lead=f"{events(used)} so far. The budget is your own: Rybbit drops nothing past it.",
        details=(case.figures(),),
        steps=(f"See who used the plan: `quota-watch status {id_} --sites`.",),
    )
