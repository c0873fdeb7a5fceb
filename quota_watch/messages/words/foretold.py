"""Sentences of a forecast and of what would help: messages, commands and pages say the same."""

from collections.abc import Mapping, Sequence
from datetime import date

from quota_watch.forecast.forecast import Crossing, Forecast
from quota_watch.forecast.remedies import Fit, Part, PlanFit, Remedies, Setting
from quota_watch.lib.figures import (
    Estimate,
    chances,
    estimate,
    events,
    growth,
    listed,
    long_day,
    number,
    rough,
    share,
    short_days,
    weekday,
)
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.model.usage import is_over
from quota_watch.model.watch import Watch

CALM = "Nothing needs to be done while it goes on like this."
"""What to do where the limit is in no danger."""

_LARGEST = 3
_LEAST_SHARE = 1.0  # percent; a smaller type or site is no lever

SWITCHES: Mapping[Setting, str] = {
    Setting.WEB_VITALS: "Web Vitals",
    Setting.BUTTON_CLICKS: "Button Clicks",
    Setting.COPY: "Copy Events",
    Setting.FORM_INTERACTIONS: "Form Interactions",
    Setting.OUTBOUND_LINKS: "Outbound Links",
}
"""What Rybbit calls the setting, in a site's settings under Tracking."""

_OTHER_LEVERS: Mapping[Setting, str] = {
    Setting.BOT_BLOCKING: "bots can be blocked",
    Setting.OWN_CODE: "sent by your own code",
}


def day_and_range(when: Crossing) -> str:
    """Return `Thu 18 March (17-20)`, with a proper dash; the likely day alone without a range."""
    if when.likely is None:
        return ""
    here = weekday(when.likely)
    if when.early is None or when.late is None or when.early == when.late:
        return here
    if when.early.month == when.late.month == when.likely.month:
        return f"{here} ({short_days(when.early, when.late).rsplit(' ', 1)[0]})"
    return f"{here} ({short_days(when.early, when.late)})"


def crossed(when: Crossing) -> str:
    """Return when the limit is passed, as a clause; nothing where that is unknown."""
    if when.likely is None:
        return ""
    text = f"then passed on {weekday(when.likely)} (UTC)"
    if when.early == when.late:
        return text
    if when.late is None:
        early = f"perhaps as soon as {weekday(when.early)}, " if when.early else ""
        return f"{text}, {early}perhaps not at all"
    if when.early is None:
        return text
    return f"{text}, probably between {weekday(when.early)} and {weekday(when.late)}"


def total(seen: Forecast, last_day: date) -> str:
    """Return what the period comes to, as a sentence without its end."""
    return (
        f"If it goes on like this the period comes to about {rough(seen.p50)} events "
        f"({band(seen)}) by {long_day(last_day)}"
    )


def band(seen: Forecast) -> str:
    """Return between what the total will be, and how sure that is."""
    return f"4 chances in 5: {rough(seen.p10)} to {rough(seen.p90)}"


def under(seen: Forecast, last_day: date) -> str:
    """Return that the limit will hold, and the odds that it does not."""
    over = seen.probability_over
    odds = f"; the odds that it does not: {chances(over)}" if over is not None else ""
    return f"{total(seen, last_day)} and stays under the limit{odds}."


def outcome(seen: Forecast, limit: int, when: Crossing, last_day: date) -> str:
    """Return what the period comes to, and when the limit is reached on the way."""
    past = f", {rough(seen.p50 - limit)} more than the limit" if seen.p50 > limit else ""
    day = crossed(when)
    reached = f". The limit is {day}" if day else ""
    return f"{total(seen, last_day)}{past}{reached}."


def loss(seen: Forecast, limit: int) -> str:
    """Return what is dropped of a period that is likely to pass its limit."""
    low, likely, high = (max(0, end - limit) for end in (seen.p10, seen.p50, seen.p90))
    lost = estimate(Estimate(low=low, likely=likely, high=high))
    return f"If nothing is done, Rybbit drops {lost} until then; dropped events are gone for good."


def what_helps(
    advice: Remedies, fit: PlanFit | None, *, watch: Watch, used: int
) -> tuple[str, ...]:
    """Return what to do about what is to come, a sentence or two at a time."""
    larger = fit is not None and fit.limit > (watch.limit or 0)
    plan = [smallest_plan(fit)] if fit and larger and watch.drops else []
    if is_over(used, watch.limit):
        again = [f"{taken_again(watch.organization.server)}."] if watch.drops else []
        return (*again, *plan)
    if advice.high.excess:
        return (less(advice), *plan)
    return (CALM, budget(advice))


def smallest_plan(fit: PlanFit) -> str:
    """Return which plan would do."""
    return (
        f"The smallest plan that fits this period and the next two is {one_line(fit.plan, NAME)}: "
        f"{events(fit.limit)}, where up to {rough(fit.needed)} may come."
    )


def taken_again(server: str) -> str:
    """Return what ends the loss of events, as a sentence without its end."""
    return f"Raise the plan at {server}, and Rybbit takes events again within half an hour"


def less(advice: Remedies) -> str:
    """Return by how much less has to come, and what brings that about."""
    fit = advice.likely if advice.likely.excess else advice.high
    if fit.cut_percent is None:
        return budget(advice)
    return join([budget(advice, f": {fit.cut_percent} % less has to come"), _switch_off(fit)])


def budget(advice: Remedies, cut: str = "") -> str:
    """Return what may still come per day, and what is expected to."""
    expected = f"about {rough(advice.expected_a_day)} a day are expected{cut}."
    if not advice.daily_budget:
        return f"Nothing more fits into this period, and {expected}"
    return f"From now on there is room for {events(advice.daily_budget)} a day; {expected}"


def largest(advice: Remedies) -> str:
    """Return the largest types and sites with their shares, and how they grew."""
    span = number(advice.span_days)
    return join(
        [
            _parts(advice.types, f"Largest types of the last {span} days", f"the {span} before"),
            _parts(advice.sites, "Largest sites of this month", "as much of the last one"),
        ]
    )


def lever(part: Part) -> str:
    """Return what is behind a type: the setting that switches it off, or what else there is."""
    if part.setting is None:
        return ""
    switch = SWITCHES.get(part.setting)
    return f"setting {switch}" if switch else _OTHER_LEVERS.get(part.setting, "")


def _switch_off(fit: Fit) -> str:
    names = [SWITCHES[each] for each in fit.switch_off if each in SWITCHES]
    if not names:
        return "No setting of Rybbit saves that much, not even all of them together."
    return (
        f"Switching off {listed(names)} now (on every site: Site Settings, Tracking) saves about "
        f"{rough(fit.saves)} and is enough."
    )


def _parts(parts: Sequence[Part], title: str, before: str) -> str:
    shown = [part for part in parts if part.share_percent >= _LEAST_SHARE][:_LARGEST]
    if not shown:
        return ""
    grown = any(part.growth_percent is not None for part in shown)
    against = f", against {before}" if grown else ""
    return f"{title}{against}: {'; '.join(map(_part, shown))}."


def _part(part: Part) -> str:
    notes = [each for each in (growth(part.growth_percent), lever(part)) if each]
    tail = f" ({', '.join(notes)})" if notes else ""
    return f"{one_line(part.name, NAME)} {share(part.share_percent)}{tail}"
