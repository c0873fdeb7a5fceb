"""Words of `spike`: today is far above the usual."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from quota_watch.forecast.remedies import SETTINGS, Setting
from quota_watch.lib.figures import number, rough, share, short_day
from quota_watch.lib.text import NAME, join, one_line
from quota_watch.messages.words import Situation, Words
from quota_watch.messages.words.forecast import SWITCHES, pace

_MOST_TYPES = 3


def fired(case: Situation) -> Words:
    """Say how far above the usual the day is, and which type grew."""
    grown = list(case.detail.get("types") or ())[:_MOST_TYPES]
    moves = case.detail.get("moves_over")
    return Words(
        title=_title(case, grown),
        lead=join(
            [
                _above(case),
                "Without it the month would probably stay under the limit." if moves else "",
            ]
        ),
        preheader=pace(case),
        details=(_types(grown), pace(case), case.figures()),
        steps=_look(case, grown),
        note="Counted events stay counted.",
    )


def ended(case: Situation) -> Words:
    """Say that the day is usual again."""
    return Words(
        title=f"{case.name}: traffic is back to normal",
        lead=join(["Events counted in the meantime stay counted.", pace(case)]),
        preheader=pace(case),
        details=(case.figures(),),
    )


def _title(case: Situation, grown: list[Mapping[str, Any]]) -> str:
    factor = case.detail.get("factor")
    times = f"{factor:,.1f} times the usual events" if factor else "far more events than usual"
    mostly = f", mostly {_name(grown[0])}" if grown else ""
    return f"{case.name} has {times} today{mostly}"


def _above(case: Situation) -> str:
    counted, expected = case.detail.get("counted"), case.detail.get("expected")
    day = _day(case)
    if counted is None or expected is None:
        return f"Far more than usual on {day}."
    excess = case.detail.get("excess_percent")
    part = "" if excess is None else f": {share(excess)} of the limit on top"
    return f"{number(counted)} so far on {day} (UTC) instead of about {rough(expected)}{part}."


def _day(case: Situation) -> str:
    day = case.detail.get("day")
    return short_day(date.fromisoformat(day) if day else case.known.at.date())


def _name(grown: Mapping[str, Any]) -> str:
    return one_line(str(grown["type"]), NAME)


def _types(grown: list[Mapping[str, Any]]) -> str:
    parts = [
        f"{_name(each)} {number(each['counted'])} instead of {rough(each['expected'])}"
        for each in grown
    ]
    return f"Grew most: {'; '.join(parts)}." if parts else ""


def _look(case: Situation, grown: list[Mapping[str, Any]]) -> tuple[str, ...]:
    name = _name(grown[0]) if grown else "today's events"
    look = f"Look at {name} at {case.server}: which site, which pages."
    setting = SETTINGS.get(str(grown[0]["type"])) if grown else None
    if setting is Setting.BOT_BLOCKING:
        return look, "If it's bots, block them in site settings."
    if setting is Setting.OWN_CODE or setting is None:
        return look, "If a release, a loop or a test sends it too often, roll it back."
    return look, f"If you don't need it, switch off {SWITCHES[setting]} (Site Settings, Tracking)."
