"""Words of `spike` and `stalled`: far more came than should, or next to nothing."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from quota_watch.forecast.remedies import SETTINGS, Setting
from quota_watch.lib.figures import duration, events, long_day, number, rough, share
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.situation import Situation
from quota_watch.messages.words.ahead import told_pace
from quota_watch.messages.words.foretold import SWITCHES
from quota_watch.messages.words.words import Words, state

_MOST_TYPES = 3
_SILENCE_DAYS = 7
_MOVES_OVER = "Without this the period would probably have stayed under its limit."


def spike(case: Situation) -> Words:
    """Say how far above the usual the day is, and which type grew."""
    detail = case.detail
    counted, expected = detail.get("counted"), detail.get("expected")
    day = _day(case)
    grown = _grown(detail)
    if counted is None or expected is None:
        title = f"{case.name} has far more events than usual"
        above = f"{case.name} has far more events on {day} than it should have by now."
    else:
        mostly = f", mostly {_name(grown[0])}" if grown else ""
        times = (
            f"{detail['factor']:,.1f} times the usual events"
            if detail.get("factor")
            else ("far more events than usual")
        )
        title = f"{case.name} has {times}: {number(counted)} instead of {rough(expected)}{mostly}"
        above = _above(case, day, counted, expected)
    summary = [
        above,
        _told_types(grown),
        _MOVES_OVER if detail.get("moves_over") else "",
        told_pace(case),
        case.told_use(),
        case.told_measurement(),
        case.told_reset(),
        case.told_loss(),
    ]
    return Words(title, join(summary), _look(case, grown))


def _day(case: Situation) -> str:
    found = case.detail.get("day")
    return long_day(date.fromisoformat(found) if found else case.known.at.date())


def _above(case: Situation, day: str, counted: int, expected: int) -> str:
    excess, part = case.detail.get("excess"), case.detail.get("excess_percent")
    text = (
        f"{case.name} has counted {events(counted)} on {day} (UTC) so far; "
        f"about {rough(expected)} is what such a day has by now."
    )
    if excess is None or part is None:
        return text
    return f"{text} The {rough(excess)} too many are {share(part)} of the limit."


def _grown(detail: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(detail.get("types") or ())[:_MOST_TYPES]


def _name(grown: Mapping[str, Any]) -> str:
    return one_line(str(grown["type"]), NAME)


def _told_types(grown: list[Mapping[str, Any]]) -> str:
    if not grown:
        return ""
    parts = [
        f"{_name(each)} {number(each['counted'])} instead of {rough(each['expected'])}"
        for each in grown
    ]
    return f"What grew: {'; '.join(parts)}."


def _look(case: Situation, grown: list[Mapping[str, Any]]) -> str:
    server = case.server
    setting = SETTINGS.get(str(grown[0]["type"])) if grown else None
    name = _name(grown[0]) if grown else "the events of today"
    look = f"Look at {name} at {server}: which site and which pages or names it comes from."
    if setting is Setting.BOT_BLOCKING:
        how = "A campaign or a link that spreads is real; bots are not: block them in the site's "
        return f"{look} {how}settings. Wanted or not, it counts."
    if setting is Setting.OWN_CODE or setting is None:
        cause = "A release that sends an event too often, a loop or a test is the usual cause"
        return f"{look} {cause}: take it back, for what is counted stays counted."
    return (
        f"{look} If you can do without it, switch off {SWITCHES[setting]} (Site Settings, "
        "Tracking); what is counted stays counted."
    )


def as_expected_again(case: Situation) -> Words:
    """Say that the day is usual again."""
    told = case.moment(case.transition.story.started_at)
    at = f": {case.percent} of the limit used" if case.percent else ""
    summary = [
        (
            f"What {case.name} counts is as expected again; you were told on {told} that it was "
            "far above."
        ),
        "What was counted meanwhile stays counted.",
        state(case),
        told_pace(case),
    ]
    return Words(
        f"The events of {case.name} are as usual again{at}", join(summary), "Nothing to do."
    )


def stalled(case: Situation) -> Words:
    """Say since when next to nothing comes, and how much should."""
    detail = case.detail
    since, counted = case.since(), detail.get("counted") or 0
    span = duration(case.transition.at - since)
    expected = detail.get("expected")
    due = f", about {rough(expected)} were due" if expected is not None else ""
    came = f"only {events(counted)}" if counted else "no events"
    where = f", where about {rough(expected)} should have come" if expected is not None else ""
    summary = [
        f"{case.name} has had {came} since {case.moment(since)}{where}.",
        _last_rise(case, since),
        "Polls work, so most likely the tracking is broken; what is not tracked can't be got back.",
        state(case),
    ]
    return Words(
        f"{case.name} has had {came} for {span}{due}", join(summary), _check_tracking(case)
    )


def _last_rise(case: Situation, since: datetime) -> str:
    found = case.detail.get("last_seen")
    last = datetime.fromisoformat(found) if found else since
    return f"The count was last seen to rise on {case.moment(last)}." if last != since else ""


def _check_tracking(case: Situation) -> str:
    return (
        "Open one of its sites in a browser and see in the developer tools whether Rybbit's script "
        "loads and its requests to /api/track succeed. Usual causes: a release without the script, "
        "a consent banner or content security policy that blocks it, another domain or site id. "
        f"If the sites are meant to be quiet: `quota-watch silence {case.watch.organization.id} "
        f'--rule stalled --for {_SILENCE_DAYS}d --reason "…"`.'
    )


def events_again(case: Situation) -> Words:
    """Say that events come again."""
    told = case.moment(case.transition.story.started_at)
    summary = [
        f"Counted events of {case.name} come again; you were told on {told} that they had stopped.",
        "What was not tracked in between is missing for good.",
        state(case),
    ]
    return Words(f"Events of {case.name} come again{_now(case)}", join(summary), "Nothing to do.")


def _now(case: Situation) -> str:
    today = case.known.usage.used_today if case.known.usage else None
    return f": {number(today)} today" if today else ""
