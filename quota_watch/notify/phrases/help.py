"""What would help: what still fits, what to switch off, which plan would do."""

from collections.abc import Mapping

from quota_watch.domain.remedies import Fit, Part, Remedies, Setting
from quota_watch.domain.usage import percent
from quota_watch.figures import (
    events,
    growth,
    largest_first,
    listed,
    long_day,
    number,
    rough,
    share,
)
from quota_watch.notify.phrases.words import join
from quota_watch.notify.situation import NAME, Situation
from quota_watch.text import one_line

_LARGEST = 3
_LEAST_SHARE = 1.0  # percent; a smaller type is no lever

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


def decide(case: Situation) -> str:
    """Return what to do about a limit that is near, will be passed, or is passed."""
    advice = case.seen.advice
    if case.is_over and case.watch.drops:
        return _accept_or_raise(case)
    if advice is None or case.is_over:
        return join([_choose(case), _plan(case), _types(case)])
    if not advice.high.excess:
        calm = "Nothing needs to be done while it goes on like this."
        return join([calm, _budget(advice), _types(case)])
    first = "To stay under the limit" if advice.likely.excess else "To be safe"
    how = f"{first}, {_raise(case)}, or let less come."
    return join([how, _plan(case), _less(advice), _types(case), _else(case)])


def prevent(case: Situation) -> str:
    """Return what to do so that a period that ended over its limit stays the only one."""
    gone = "Nothing can be done about that period any more."
    how = f"So that the next ones don't end like it, {_raise(case)}, or let less come."
    return join([gone, how, _plan(case), _types(case)])


def _raise(case: Situation) -> str:
    if case.watch.drops:
        return f"raise the plan at {case.server}"
    return "agree on a higher limit and set it in the config"


def _accept_or_raise(case: Situation) -> str:
    again = f"Raise the plan at {case.server}, and Rybbit takes events again within half an hour;"
    end = f"or accept the loss until {long_day(case.period.end)}."
    off = f"Switching off event types helps only from the next period on{_largest(case)}."
    return join([again, end, _plan(case), off, _types(case)])


def _choose(case: Situation) -> str:
    end = (
        "accept that events past the limit are lost"
        if case.watch.drops
        else "accept that this period ends over its limit"
    )
    how = _raise(case)
    off = f"switch off event types you can do without{_largest(case)}"
    return f"{how[0].upper()}{how[1:]}, {off}, or {end}."


def _plan(case: Situation) -> str:
    """Return the smallest plan that fits, where one is known and larger than what there is."""
    fit = case.seen.plan_fit
    if fit is None or not case.watch.drops or fit.limit <= (case.limit or 0):
        return ""
    return (
        f"The smallest plan that fits this period and the next two is {one_line(fit.plan, NAME)}: "
        f"{events(fit.limit)}, where up to {rough(fit.needed)} may come."
    )


def _less(advice: Remedies) -> str:
    """Return by how much less has to come, and what brings that about."""
    fit = advice.likely if advice.likely.excess else advice.high
    if fit.cut_percent is None:
        return _budget(advice)
    return join([_budget(advice, f": {fit.cut_percent} % less has to come"), _switch_off(fit)])


def _budget(advice: Remedies, cut: str = "") -> str:
    """Return what may still come per day, and what is expected to."""
    expected = f"about {rough(advice.expected_a_day)} a day are expected{cut}."
    if not advice.daily_budget:
        return f"Nothing more fits into this period, and {expected}"
    return f"From now on there is room for {events(advice.daily_budget)} a day; {expected}"


def _switch_off(fit: Fit) -> str:
    names = [SWITCHES[each] for each in fit.switch_off if each in SWITCHES]
    if not names:
        return "No setting of Rybbit saves that much, not even all of them together."
    return (
        f"Switching off {listed(names)} now (on every site: Site Settings, Tracking) saves about "
        f"{rough(fit.saves)} and is enough."
    )


def _types(case: Situation) -> str:
    """Return the largest types with their shares, how they grew, and what is behind them."""
    advice = case.seen.advice
    large = [part for part in advice.types if part.share_percent >= _LEAST_SHARE] if advice else []
    if advice is None or not large:
        return ""
    span, shown = number(advice.span_days), large[:_LARGEST]
    grown = any(part.growth_percent is not None for part in shown)
    before = f", against the {span} before" if grown else ""
    return f"Largest types of the last {span} days{before}: {'; '.join(map(_type, shown))}."


def _type(part: Part) -> str:
    behind = ""
    if part.setting is not None:
        switch = SWITCHES.get(part.setting)
        behind = f"setting {switch}" if switch else _OTHER_LEVERS.get(part.setting, "")
    notes = [each for each in (growth(part.growth_percent), behind) if each]
    tail = f" ({', '.join(notes)})" if notes else ""
    return f"{one_line(part.name, NAME)} {share(part.share_percent)}{tail}"


def _else(case: Situation) -> str:
    if case.watch.drops:
        return "Otherwise events past the limit are lost."
    return "Otherwise this period ends over its limit."


def _largest(case: Situation) -> str:
    """Return the types that use most, as a clause, with their shares of what is used."""
    if not case.used or (case.seen.advice and case.seen.advice.types):
        return ""
    top = [
        f"{one_line(type_, NAME)} {share(percent(n, case.used))}"
        for type_, n in largest_first(case.by_type)[:_LARGEST]
        if n * 100 >= _LEAST_SHARE * case.used
    ]
    return f" (the largest: {', '.join(top)})" if top else ""
